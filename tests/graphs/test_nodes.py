"""Cutting and joining are proved by equality: upper(lower(x)) == model(x), to the bit."""

import keras
import numpy as np
import pytest

from keras_transfer.core import checks
from keras_transfer.graphs import nodes


def pixels(size=64):
    return np.random.default_rng(0).uniform(-1, 1, (2, size, size, 3)).astype("float32")


@pytest.fixture(scope="module")
def mobilenet():
    return keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=(64, 64, 3), alpha=0.35
    )


def residual(size=8):
    """A small residual network whose `+` is an operation, not a layer."""
    inputs = keras.Input((size, size, 3), name="in")
    x = keras.layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    y = keras.layers.Conv2D(4, 3, padding="same", name="branch1")(x)
    y = keras.layers.Conv2D(4, 3, padding="same", name="branch2")(y)
    x = keras.layers.ReLU(name="after")(x + y)
    return keras.Model(
        inputs, {"a": keras.layers.Dense(2, name="a")(x), "b": keras.layers.Dense(3, name="b")(x)}
    )


@pytest.mark.parametrize(
    ("at", "tensors"),
    [
        ("block_13_expand", 1),
        ("block_13*", 1),
        ("block_12_depthwise", 2),
        ("block_5_expand_BN", 2),
        ("out_relu", 1),
    ],
)
def test_the_parts_of_a_cut_reproduce_the_model(mobilenet, at, tensors):
    lower, upper = nodes.cut(mobilenet, at)
    x = pixels()
    expected = np.asarray(mobilenet(x))
    assert len(lower.outputs) == tensors
    np.testing.assert_array_equal(np.asarray(upper(lower(x))), expected)


def test_parts_share_their_layers_with_the_whole(mobilenet):
    lower, upper = nodes.cut(mobilenet, "block_13_expand")
    assert upper.get_layer("block_13_expand") is mobilenet.get_layer("block_13_expand")
    assert {id(v) for v in lower.weights + upper.weights} == {id(v) for v in mobilenet.weights}


def test_a_cut_inside_a_residual_hands_over_both_tensors():
    model = residual()
    lower, upper = nodes.cut(model, "branch2")
    assert len(lower.outputs) == 2
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    expected, found = model(x), upper(lower(x))
    assert set(found) == {"a", "b"}
    for name in expected:
        np.testing.assert_array_equal(np.asarray(found[name]), np.asarray(expected[name]))


def test_a_cut_above_a_plain_operation():
    model = residual()
    lower, _ = nodes.cut(model, "after")
    assert len(lower.outputs) == 1
    assert [tuple(t.shape) for t in lower.outputs] == [(None, 8, 8, 4)]


@pytest.mark.parametrize("at", ["in", "stem"])
def test_a_cut_needs_both_sides(at):
    with pytest.raises(checks.InputError, match="both sides"):
        nodes.cut(residual(), at)


def test_tap_gives_what_submodels_give(mobilenet):
    names = ["block_5_add", "block_12_depthwise"]
    taps = nodes.tap(mobilenet, names)(pixels())
    for name in names:
        single = keras.Model(mobilenet.input, mobilenet.get_layer(name).output)
        np.testing.assert_array_equal(np.asarray(taps[name]), np.asarray(single(pixels())))


def test_tap_reaches_into_nested_models(mobilenet):
    nested = keras.Sequential(
        [keras.Input((64, 64, 3)), mobilenet, keras.layers.Flatten(name="flat")]
    )
    taps = nodes.tap(nested, ["block_5_add", "flat"])
    assert set(taps.output) == {f"{mobilenet.name}/block_5_add", "flat"}
    inner = keras.Model(mobilenet.input, mobilenet.get_layer("block_5_add").output)
    np.testing.assert_array_equal(
        np.asarray(taps(pixels())[f"{mobilenet.name}/block_5_add"]), np.asarray(inner(pixels()))
    )


def test_tap_of_an_unknown_layer(mobilenet):
    with pytest.raises(
        checks.InputError,
        match=r"`layers` must match a layer. Given: 'blok_5_add'. Close: 'block_5_add'",
    ):
        nodes.tap(mobilenet, "blok_5_add")


def test_flatten_equals_the_nested_model(mobilenet):
    nested = keras.Sequential(
        [keras.Input((64, 64, 3)), mobilenet, keras.layers.Flatten(name="flat")]
    )
    flat = nodes.flatten(nested)
    assert flat.get_layer("block_5_add") is mobilenet.get_layer("block_5_add")
    np.testing.assert_array_equal(np.asarray(flat(pixels())), np.asarray(nested(pixels())))
    assert nodes.flatten(flat) is flat


def test_flatten_refuses_two_layers_of_one_name():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="dense")], name="inner")
    with pytest.raises(checks.InputError, match="'dense' twice"):
        nodes.flatten(keras.Sequential([inner, keras.layers.Dense(2, name="dense")]))


def test_flatten_refuses_two_operations_of_one_name():
    def inner(name):
        image = keras.Input((4,), name=f"{name}_in")
        add = keras.layers.Dense(4, name=f"{name}_dense")(image) + image
        add._keras_history.operation.name = "plus"
        return keras.Model(image, add, name=name)

    with pytest.raises(checks.InputError, match="'plus' twice"):
        nodes.flatten(keras.Sequential([keras.Input((4,)), inner("one"), inner("two")]))


def test_flatten_does_not_mind_what_the_inputs_are_called():
    inner = keras.Sequential(
        [keras.Input((4,), name="image"), keras.layers.Dense(4, name="dense")], name="inner"
    )
    outer = keras.Sequential(
        [keras.Input((4,), name="image"), inner, keras.layers.Dense(2, name="head")]
    )
    assert [layer.name for layer in nodes.flatten(outer).layers] == ["image", "dense", "head"]


def test_flatten_calls_a_shared_model_where_it_was_called():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="dense")], name="inner")
    image = keras.Input((4,))
    model = keras.Model(image, keras.layers.Dense(2, name="head")(inner(inner(image))))
    flat = nodes.flatten(model)
    assert [node.operation.name for node in nodes.nodes(flat)][1:] == ["dense", "dense", "head"]
    x = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    np.testing.assert_array_equal(np.asarray(flat(x)), np.asarray(model(x)))


class Doubled(keras.Model):
    def call(self, inputs, training=None):
        return 2 * super().call(inputs, training=training)


def test_a_model_that_does_more_than_its_graph_is_not_dissolved():
    image = keras.Input((4,))
    inner = Doubled(inputs=image, outputs=keras.layers.Dense(4, name="dense")(image), name="inner")
    model = keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(2)])
    assert [nodes.is_functional(each) for each in (model, inner, Subclassed(), inner.get_layer("dense"))] == [
        True, False, False, False,
    ]  # fmt: skip
    assert nodes.flatten(model) is model


def test_replay_on_another_input_shares_or_swaps():
    model = residual()
    end = model.get_layer("after").output
    (shared,) = nodes.replay(model, [keras.Input((12, 12, 3), name="other")], [end])
    assert shared.shape == (None, 12, 12, 4)
    assert shared._keras_history.operation is model.get_layer("after")
    swapped = []

    def swap(operation):
        swapped.append(operation.name)
        return operation

    nodes.replay(model, [keras.Input((8, 8, 3))], [model.get_layer("branch1").output], swap=swap)
    assert swapped == ["stem", "branch1"]
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    part = keras.Model(model.input, end)
    image = keras.Input((8, 8, 3))
    again = keras.Model(image, nodes.replay(model, [image], [end])[0])
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(part(x)))


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def test_a_subclassed_model_has_no_graph():
    with pytest.raises(checks.InputError, match="functional or built sequential"):
        nodes.nodes(Subclassed())


def test_nodes_come_after_what_they_need(mobilenet):
    made = set()
    for node in nodes.nodes(mobilenet):
        assert all(id(tensor) in made for tensor in node.inputs)
        made |= {id(tensor) for tensor in node.outputs}


def test_private_names_that_this_room_stands_on_exist():
    """Fails first when a new Keras renames them."""
    model = residual()
    assert model._nodes_by_depth
    assert set(model._outputs_struct) == {"a", "b"}
    assert model._inputs_struct is not None
    node = model.get_layer("stem")._inbound_nodes[0]
    assert callable(node.arguments.fill_in)
    assert keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])._functional is not None


def test_replay_keeps_what_it_is_told_to():
    model = residual()
    after = model.get_layer("after").output
    called = []

    def swap(operation):
        called.append(operation.name)
        return operation

    stem, branch = (model.get_layer(name).output for name in ("stem", "branch1"))
    nodes.replay(model, model.inputs, [after], swap=swap, kept=[stem, branch])
    assert called[0] == "branch2"
    assert called[-1] == "after"
    assert not {"stem", "branch1"} & set(called)


class Swapped(keras.layers.Layer):
    mixes_lanes = True

    def call(self, inputs):
        return list(inputs)


def test_lanes_are_walked_apart():
    image = keras.Input((3,))
    outputs = Swapped(name="mix")([keras.layers.Dense(3, name=name)(image) for name in "ab"])
    model = keras.Model(image, outputs)
    assert [nodes.mixes_lanes(node.operation) for node in nodes.nodes(model)].count(True) == 1
    for order, expected in (
        (nodes.nodes(model), {"a", "b"}),
        (nodes.lanes(nodes.nodes(model)), {"a"}),
    ):
        below = {order[position].operation.name for position in nodes.ancestors(order, outputs[:1])}
        assert below & {"a", "b"} == expected
