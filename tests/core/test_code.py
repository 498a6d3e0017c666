"""What code uses is found, however it comes to it."""

import importlib.util
import sys

import numpy as np
import pytest

from keras_transfer.core import code

SCALE = 2.0


def helper(x):
    return x * SCALE


class Base:
    def above(self, x):
        return helper(x)


class Derived(Base):
    @staticmethod
    def plain(x):
        return x

    @classmethod
    def of(cls, x):
        return cls

    @property
    def width(self):
        return np.sqrt(4.0)

    def call(self, x):
        return [self.plain(y) for y in x]


def found(each):
    return {part.code.__qualname__ for part in code.parts(each)}


def test_classes_bring_their_bases_and_all_kinds_of_methods():
    methods = {"Base.above", "Derived.plain", "Derived.of", "Derived.width", "Derived.call"}
    assert found(Derived) == {"Derived", "Base", "helper"} | methods
    (part,) = (part for part in code.parts(Derived) if part.code is helper)
    assert part.values == {"SCALE": 2.0}


def test_functions_within_functions_defaults_and_variables_around():
    width = 3

    def around(x, twice=helper, *, times=width):
        return [width + each for each in map(lambda y: y * SCALE, twice(x))]  # noqa: C417

    (part, *others) = code.parts(around)
    assert part.values == {"width": 3, "SCALE": 2.0, "default times": 3}
    assert [each.code for each in others] == [helper]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A script's own module beside it."""
    (tmp_path / "beside_it.py").write_text(
        "RATE = 4\n\n\ndef blur(x):\n    return x * RATE\n\n\ndef unused():\n    pass\n"
    )
    spec = importlib.util.spec_from_file_location("beside_it", tmp_path / "beside_it.py")
    made = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "beside_it", made)
    spec.loader.exec_module(made)
    return made


def test_modules_that_are_not_installed_are_followed(module, monkeypatch):
    monkeypatch.setitem(globals(), "beside", module)

    def through(x):
        return beside.blur(x) + beside.RATE + np.mean(x)  # noqa: F821

    first, second = code.parts(through)
    assert first.values == {"beside": "beside_it", "beside.RATE": 4, "np": "numpy"}
    assert first.uses == {"beside.blur": module.blur}
    assert second == (module.blur, {"RATE": 4}, {})
    monkeypatch.setitem(globals(), "blur", module.blur)
    assert module.blur in {part.code for part in code.parts(lambda x: blur(x))}  # noqa: F821


def test_what_is_installed_is_a_name():
    from scipy.special import comb

    (part,) = code.parts(lambda x: comb(x, 2))
    assert part.values == {"comb": "scipy.special._basic.comb"}
    (part,) = code.parts(comb)  # it is not looked into
    assert part == (comb, {}, {})


def test_what_is_known_is_not_followed():
    import keras

    assert (
        code.parts(keras.layers.Dense)
        == code.parts(keras.activations.relu)
        == code.parts(code.parts)
        == []
    )


def test_code_is_of_the_module_where_it_was_written():
    """What a decorator copies says otherwise."""
    import functools

    import keras

    @functools.wraps(keras.activations.relu)
    def mine(x):
        return helper(x)

    del mine.__wrapped__
    assert found(mine) == {"relu", "helper"}


def test_decorated_and_bound_code_is_found():
    import functools

    import tensorflow as tf

    wrapped = (
        tf.function(helper),
        functools.partial(helper, 3),
        functools.cache(helper),
        Derived().above,
    )
    assert [code.unwrapped(each).__name__ for each in wrapped] == [
        "helper",
        "helper",
        "helper",
        "above",
    ]
    assert all("helper" in found(each) for each in wrapped)


class Touchy(dict):
    __getattr__ = dict.__getitem__


class Settings:
    width = 5


TOUCHY, LOWER = Touchy(scale=2), str.lower


def test_values_that_do_not_want_to_be_looked_at():
    def uses(x, fold=LOWER):
        return fold(x) * TOUCHY.scale + Settings.width

    first, second = code.parts(uses)
    assert first.values == {"TOUCHY": {"scale": 2}, "default 0": "None.str.lower"}
    assert second.values == {"width": 5}
