"""What tells the arguments of studies apart, so that a study goes on only with what it began with."""

import functools
import pathlib
import types

import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.studies import rows


def train(data, seed, rate=0.1):
    return rate


def made_with(rate, *, default=0):
    def inner(data, seed, default=default):
        return rate if seed else inner(data, 1)

    return inner


class Way:
    def __init__(self, rate):
        self.rate = rate
        self.model = object()

    def __call__(self, data, seed):
        return self.rate

    def run(self, data, seed):
        return self.rate


PAIRS = {
    "partials": [functools.partial(train, rate=rate) for rate in (1, 2)],
    "closures": [made_with(rate) for rate in (1, 2)],
    "defaults": [made_with(1, default=value) for value in (1, 2)],
    "objects": [Way(rate) for rate in (1, 2)],
    "methods": [Way(rate).run for rate in (1, 2)],
    "scalars": [np.float32(0.1), np.float32(0.2)],
    "arrays": [np.zeros(2), np.array([0.0, 1.0])],
    "paths": [pathlib.Path("a"), pathlib.Path("b")],
    "sets": [{"a"}, {"b"}],
}


@pytest.mark.parametrize("name", PAIRS)
def test_arguments_that_differ_have_descriptions_that_differ(name):
    one, other = PAIRS[name]
    assert rows.describe(one) != rows.describe(other)
    assert rows.describe(one) == rows.describe(one)


def test_a_model_that_a_function_trains_does_not_change_its_description():
    trunk = kt.backbone("tiny", weights=None)

    def own(data, seed):
        return trunk

    before = rows.describe(own)
    trunk.set_weights([value + 1 for value in trunk.get_weights()])
    assert rows.describe(own) == before


def test_the_order_in_which_a_set_lies_in_memory_changes_nothing():
    """It may differ from process to process, and 0 and 8 change places as well."""

    def one(data, seed):
        return seed in {0, 8}

    consts = [frozenset([8, 0]) if each == {0, 8} else each for each in one.__code__.co_consts]
    code = one.__code__.replace(co_consts=tuple(consts))
    other = types.FunctionType(code, {}, "one")
    other.__qualname__ = one.__qualname__
    assert repr(one.__code__.co_consts) != repr(other.__code__.co_consts)
    assert rows.describe(one) == rows.describe(other)
