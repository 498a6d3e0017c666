"""Two questions about a graph, asked of graphs made by hand."""

import pytest
import tensorflow as tf

from keras_transfer.training.cache import graph_key

pytestmark = pytest.mark.compiled


def graph_of(function, *, name="x"):
    spec = tf.TensorSpec((None, 3), name=name)
    traced = tf.function(function).get_concrete_function(spec)
    definition = traced.graph.as_graph_def()
    functions = {each.signature.name: each for each in definition.library.function}
    return definition.node, functions, [each.name for each in traced.outputs]


def key(function, **options):
    nodes, functions, ends = graph_of(function, **options)
    known = {node.name: "input" for node in nodes if node.op == "Placeholder"}
    return graph_key.hash_graph(nodes, functions, ends, known)


def state(function):
    nodes, functions, _ = graph_of(function)
    return graph_key.find_stateful(nodes, functions)


def test_names_do_not_count_and_wiring_does():
    first = key(lambda x: tf.add(2.0 * x, x, name="sum"))
    assert key(lambda x: tf.add(2.0 * x, x, name="other"), name="y") == first
    assert key(lambda x: tf.add(x, 2.0 * x)) != first
    assert key(lambda x: tf.add(3.0 * x, x)) != first
    assert key(lambda x: tf.subtract(2.0 * x, x)) != first


def test_which_output_of_an_operation_is_used_counts():
    first, second = (lambda x, at=at: tf.split(x, 3, axis=1)[at] for at in (0, 1))
    assert key(first) != key(second)


def test_functions_count_by_what_they_do():
    def looping(step):
        return lambda x: tf.while_loop(lambda x: tf.reduce_sum(x) < 9.0, lambda x: x + step, [x])[0]

    assert key(looping(1.0)) == key(looping(1.0)) != key(looping(2.0))
    inner, other = tf.function(lambda x: x * 2.0), tf.function(lambda x: x * 2.0)
    assert key(lambda x: inner(x)) == key(lambda x: other(x))


def test_state_is_found_within_functions():
    variable = tf.Variable(1.0)
    assert state(lambda x: x * variable) is None
    assert state(lambda x: x * variable.assign_add(1.0))[1] == "AssignAddVariableOp"
    assert state(tf.function(lambda x: x * variable)) is None
    inner = tf.function(lambda x: x + tf.random.normal((3,)))
    assert state(lambda x: inner(x))[1] == "RandomStandardNormal"
    assert state(lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: inner(x), lambda: x))[1] == (
        "RandomStandardNormal"
    )
    assert state(lambda x: x + tf.cast(tf.timestamp(), tf.float32))[1] == "Timestamp"


def test_a_data_set_within_the_graph_is_a_state():
    """Reducing it is a stateful operation that also calls a function without a state."""
    data = tf.data.Dataset.range(3).shuffle(3)

    def total(x):
        return x + tf.cast(data.reduce(tf.constant(0, tf.int64), lambda a, b: a * 2 + b), "float32")

    assert state(total) is not None
