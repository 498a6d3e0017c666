import importlib
import types

import pytest

from keras_transfer import data


@pytest.mark.parametrize(
    ("name", "module"),
    [("glyphs", "sources.glyphs"), ("mix", "mixture"), ("scenes", "sources.scenes")],
)
def test_the_function_is_found_also_after_its_module_was_imported(name, module):
    module = importlib.import_module(f"keras_transfer.data.{module}")
    assert getattr(data, name) is getattr(module, name)
    assert callable(getattr(data, name))


def test_public_names_are_there():
    assert [
        name for name in data.__all__ if isinstance(getattr(data, name, data), types.ModuleType)
    ] == []
