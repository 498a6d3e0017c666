"""Whatever changes what a network gives changes its key."""

import keras
import numpy as np
import pytest

from keras_transfer.core import graph, kernels
from keras_transfer.training import keys

SCALE = 1.0
TABLE = np.ones(3, "float32")


def helper(pixels):
    return pixels * SCALE


def outer(pixels):
    return helper(pixels) + TABLE[0]


class Base(keras.layers.Layer):
    def call(self, inputs):
        return outer(inputs)


class Derived(Base):
    pass


def key(layer):
    model = keras.Sequential([keras.Input((4,)), layer, keras.layers.Dense(2, kernel_initializer="ones")])
    return keys.network(graph.nodes(model), model.outputs)


ACTIVATED = lambda: keras.layers.Dense(3, kernel_initializer="ones", activation=outer)  # noqa: E731


@pytest.mark.parametrize(
    "make", [lambda: keras.layers.Lambda(outer), Derived, ACTIVATED, lambda: keras.layers.Activation(outer)]
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


def test_what_computes_is_in_the_key(monkeypatch):
    first = keys.joined("a")
    assert keys.joined("a") == first
    for name, value in (("in_use", lambda: "others"), ("_flags", lambda: {"avx2", "fma"})):
        with monkeypatch.context() as changed:
            changed.setattr(kernels, name, value)
            assert keys.joined("a") != first
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    assert keys.joined("a") != first
