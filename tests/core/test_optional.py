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
