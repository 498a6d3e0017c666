import json

import pytest

from keras_transfer.core import optional


def test_present_module_is_imported():
    assert optional.require("json", extra="none", purpose="JSON") is json


def test_absent_module_names_the_extra():
    with pytest.raises(
        optional.MissingExtraError,
        match=r'Drawing needs the package `no_such_thing`.*"keras-transfer\[art\]"',
    ):
        optional.require("no_such_thing", extra="art", purpose="Drawing")


def test_a_package_that_is_always_installed_is_named_itself():
    with pytest.raises(
        optional.MissingExtraError,
        match=r"Reading needs .* Install it with: pip install no-such\.$",
    ):
        optional.require("no_such.part", purpose="Reading")


def test_what_a_package_warns_of_at_import_is_not_shown(tmp_path, monkeypatch, recwarn):
    (tmp_path / "noisy.py").write_text("import warnings\nwarnings.warn('old', UserWarning)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert optional.require("noisy", purpose="Noise").__name__ == "noisy"
    assert not recwarn.list
