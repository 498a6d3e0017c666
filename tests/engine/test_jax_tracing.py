"""What JAX's programs tell of frozen layers: whether they are the same in every epoch, and their key."""

import re

import jax
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.training.cache import frozen, jax_tracing, jaxpr_key

pytestmark = pytest.mark.engine


def trace(*layers, **options):
    """Traces frozen layers below a head that trains, with what may be cached of them."""
    head = keras.layers.Dense(2, name="head")
    model = keras.Sequential([keras.Input((4,)), *layers, head])
    for layer in model.layers[:-1]:
        layer.trainable = False
    candidates = frozen.candidates(model)
    made = jax_tracing.Trace(model, candidates.positions, tf.TensorSpec((None, 4)), **options)
    return made, frozen.find(model, candidates, made.unstable)


def dense(value=1.0):
    return keras.layers.Dense(3, kernel_initializer=keras.initializers.Constant(value))


def key(*layers):
    made, part = trace(*layers)
    assert made.unstable == {}
    return made.key(part.crossing)


class Callback(keras.layers.Layer):
    def call(self, inputs):
        shape = jax.ShapeDtypeStruct(inputs.shape, inputs.dtype)
        return jax.pure_callback(lambda values: np.asarray(values), shape, inputs)


class Counter(keras.layers.Layer):
    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, inputs):
        self.count.assign(self.count + 1.0)
        return inputs + self.count


class InTraining(keras.layers.Layer):
    def call(self, inputs, training=False):
        return 2 * inputs if training else inputs


class Loss(keras.layers.Layer):
    def call(self, inputs):
        self.add_loss(keras.ops.mean(inputs))
        return inputs


REASONS = {
    "dropout": (lambda: keras.layers.Dropout(0.5, name="it"), "'it' draws at random in training"),
    "noise": (lambda: keras.layers.GaussianNoise(0.1, name="it"), "with its `stddev` set to 0"),
    "Python": (lambda: Callback(name="it"), "'it' calls Python code .*pure_callback"),
    "state": (lambda: Counter(name="it"), "'it' has a state that may change"),
    "mode": (lambda: InTraining(name="it"), "'it' gives something else in training"),
    "loss": (lambda: Loss(name="it"), "'it' adds a loss of its own"),
    "draw": (
        lambda: keras.layers.Lambda(lambda x: x + np.random.default_rng().normal(), name="it"),
        "'it' gives something else in training, or each time",
    ),
}


@pytest.mark.parametrize("case", REASONS)
def test_layers_that_change_by_themselves_are_told(case):
    make, reason = REASONS[case]
    made, part = trace(dense(), make(), dense())
    (found,) = made.unstable.values()
    assert re.search(reason, found), found
    assert part.reason == found  # the layer above has weights, and is lost


def test_stable_layers_can_be_kept_and_give_what_the_model_gives():
    layers = [dense(0.5), keras.layers.BatchNormalization(), keras.layers.Dropout(0.0)]
    made, part = trace(*layers, keras.layers.ReLU(name="end"))
    assert made.unstable == {}
    assert made.gives(part.crossing)
    images = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    run = made.function({"end": part.crossing[0]})
    expected = images
    for layer in layers[:2]:
        expected = layer(expected, training=False) if layer is layers[1] else layer(expected)
    for count in (5, 3):  # the smaller batch is filled up
        given = run(images[:count])["end"]
        np.testing.assert_allclose(given, np.maximum(expected[:count], 0), rtol=1e-5, atol=1e-6)


def test_a_layer_that_reads_what_trains_is_told():
    layer = dense()
    made, _ = trace(keras.layers.Lambda(lambda x: x * 1.0), layer)
    assert made.unstable == {}
    made, _ = trace(layer, dense(), changing=layer.variables)
    assert [
        reason.endswith("reads variables that change") for reason in made.unstable.values()
    ] == [True]


def test_the_key_is_of_programs_and_values():
    first = key(dense(), keras.layers.ReLU(name="other name"))
    assert key(dense(), keras.layers.ReLU()) == first
    changed = [
        key(dense(2.0), keras.layers.ReLU()),
        key(dense(), keras.layers.ReLU(max_value=6.0)),
        key(dense(), keras.layers.Activation("tanh")),
        key(dense(), keras.layers.ReLU(), dense()),
    ]
    assert len({first, *changed}) == 5


def test_constants_are_in_the_hash_and_names_are_not():
    table = np.arange(3.0)

    def program(constant):
        return jax.make_jaxpr(lambda x, y: jax.nn.relu(x * constant) + 0 * y)(1.0, 2.0)

    one, same, other = program(table), program(table.copy()), program(table + 1)
    assert jaxpr_key.hash_program(one) == jaxpr_key.hash_program(same)
    assert jaxpr_key.hash_program(one) != jaxpr_key.hash_program(other)
    assert jaxpr_key.find_python_call(one) is None


def test_calls_of_python_have_no_key():
    made, _ = trace(dense(), Callback(), inference=True)
    (tensor,) = [layer.output for layer in made.model.layers if isinstance(layer, Callback)]
    assert not made.gives([tensor], inference=True)
    with pytest.raises(NotImplementedError, match="calls Python"):
        made.key([tensor])
