import pytest

from keras_transfer.core import checks, lookup


def test_known_name_is_found():
    assert lookup.find("b", {"a": 1, "b": 2}, argument="x") == 2


def test_unknown_name_shows_the_close_ones():
    with pytest.raises(
        checks.InputError,
        match=r"`backbone` must be a known name. Given: 'mobilenet2'. Close names: 'Mob",
    ):
        lookup.find("mobilenet2", {"MobileNetV2": 1, "VGG16": 2}, argument="backbone")


def test_name_like_none_shows_all():
    with pytest.raises(checks.InputError, match="Known: 'avg', 'max'."):
        lookup.find("zzzzzz", {"max": 1, "avg": 2}, argument="pooling")


def test_close_ignores_case():
    assert lookup.close("resnet50", ["ResNet50", "VGG16"]) == ["ResNet50"]


def test_many_names_are_cut_short():
    assert lookup.some(list("abcdefg")) == "'a', 'b', 'c', 'd', 'e' and 2 more"
