"""Whatever changes what a network gives changes its key."""

import functools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.graphs import nodes
from keras_transfer.machine import kernels
from keras_transfer.training.cache import keys

pytestmark = pytest.mark.compiled

SCALE = 1.0
TABLE = np.ones(3, "float32")


def helper(pixels, more=0.0):
    return pixels * SCALE + more


def outer(pixels):
    return helper(pixels) + TABLE[0]


class Base(keras.layers.Layer):
    def call(self, inputs):
        return outer(inputs)


class Derived(Base):
    def build(self, shape):
        self.built = True


class Known(keras.layers.Layer):
    """A layer whose settings do not tell all."""

    def __init__(self, scale, **options):
        super().__init__(**options)
        self.scale = scale

    def call(self, inputs):
        return inputs * self.scale


def key(layer):
    model = keras.Sequential(
        [keras.Input((4,)), layer, keras.layers.Dense(2, kernel_initializer="ones")]
    )
    return keys.network(nodes.nodes(model), model.outputs)


ACTIVATED = lambda: keras.layers.Dense(3, kernel_initializer="ones", activation=outer)  # noqa: E731


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.layers.Lambda(outer),
        Derived,
        ACTIVATED,
        lambda: keras.layers.Activation(outer),
    ],
)
def test_what_code_uses_is_in_the_key(make, monkeypatch):
    first = key(make())
    assert key(make()) == first
    with monkeypatch.context() as changed:
        changed.setitem(globals(), "SCALE", -3.0)
        assert key(make()) != first
    with monkeypatch.context() as changed:
        changed.setitem(globals(), "TABLE", np.full(3, 2.0, "float32"))
        assert key(make()) != first
    assert key(make()) == first


def test_attributes_and_layers_within_code_are_in_the_key():
    assert key(Known(1.0)) == key(Known(1.0)) != key(Known(2.0))
    inner = keras.layers.Dense(3, kernel_initializer="ones")
    inner.build((None, 4))
    first = key(keras.layers.Lambda(lambda x: inner(x)))
    assert key(keras.layers.Lambda(lambda x: inner(x))) != first  # of another line
    found = []
    for scale in (1.0, 1.0, 2.0):
        inner.kernel.assign(scale * np.ones((4, 3)))
        found.append(key(keras.layers.Lambda(lambda x: inner(x))))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    "functions",
    [
        (keras.ops.sin, keras.ops.cos),
        (tf.math.sin, tf.math.cos),
        (functools.partial(helper, 1.0), functools.partial(helper, 2.0)),
        (functools.partial(outer), functools.partial(helper)),
        (Known(1.0).call, Known(2.0).call),
    ],
    ids=["Keras", "TensorFlow", "arguments", "partial", "method"],
)
def test_functions_are_told_apart(functions):
    first, second = (
        [key(keras.layers.Lambda(each, output_shape=(4,))) for _ in range(2)] for each in functions
    )
    assert first[0] == first[1] != second[0] == second[1]


SCRIPT = """
import dataclasses, keras
from keras_transfer.graphs import nodes as graph
from keras_transfer.training.cache import keys

@dataclasses.dataclass
class Settings:
    width: int = 3

class Plain:
    width = 2

SKIP, THING = {"a", "b", "c"}, Plain()

def within(x):
    return x if "d" in SKIP else x * THING.width * Settings().width

def make():
    inner = lambda x: within(x)
    return keras.layers.Lambda(lambda x: inner(x), output_shape=(4,))

dense = keras.layers.Dense(2, kernel_initializer="ones", activation=within)
model = keras.Sequential([keras.Input((4,)), make(), dense])
print(keys.network(graph.nodes(model), model.outputs))
"""


def test_another_process_has_the_same_key(tmp_path):
    file = tmp_path / "script.py"
    file.write_text(SCRIPT)
    found = [
        subprocess.run([sys.executable, file], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert len({each.stdout for each in found}) == 1
    assert len(found[0].stdout) == 65


def test_what_computes_is_in_the_key(monkeypatch):
    first = keys.joined("a")
    assert keys.joined("a") == first
    for name, value in (("in_use", lambda: "others"), ("_flags", lambda: {"avx2", "fma"})):
        with monkeypatch.context() as changed:
            changed.setattr(kernels, name, value)
            assert keys.joined("a") != first
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    assert keys.joined("a") != first
