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
    wanted = {"Derived", "Base", "Base.above", "Derived.plain", "Derived.of", "Derived.width", "Derived.call", "helper"}
    assert found(Derived) == wanted
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
    assert second == (module.blur, {"RATE": 4})
    monkeypatch.setitem(globals(), "blur", module.blur)
    assert {part.code for part in code.parts(lambda x: blur(x))} >= {module.blur}  # noqa: F821


def test_what_is_installed_is_a_name():
    from numpy import mean

    (part,) = code.parts(lambda x: mean(x))
    assert part.values == {"mean": "numpy.mean"}


def test_what_is_known_is_not_followed():
    import keras

    assert code.parts(keras.layers.Dense) == code.parts(keras.activations.relu) == code.parts(code.parts) == []


def test_methods_are_told_from_functions():
    class Local:
        def method(self):
            pass

    assert code.is_method(Local.method)
    assert code.is_method(Derived.call)
    assert not code.is_method(helper)
    assert not code.is_method(found.__globals__["test_methods_are_told_from_functions"])
