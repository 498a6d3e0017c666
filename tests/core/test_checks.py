import pytest

from keras_transfer.core import checks


def test_error_says_what_was_expected_given_and_how_to_fix_it():
    error = checks.error(
        "`labels` must lie in [0, 5)", given="7 at index 12", fix="Set `classes=8`."
    )
    assert str(error) == "`labels` must lie in [0, 5). Given: 7 at index 12. Set `classes=8`."
    assert isinstance(error, ValueError)


@pytest.mark.parametrize("value", [0, -1, 1.0, "3", True, None])
def test_integer_refuses(value):
    with pytest.raises(checks.InputError, match="`epochs` must be a whole number of at least 1"):
        checks.integer(value, name="epochs")


@pytest.mark.parametrize("value", [1, 1.5, -0.1, float("nan"), float("inf"), "0.2", True])
def test_share_refuses(value):
    with pytest.raises(
        checks.InputError, match="`validation` must be a number at least 0 and below 1"
    ):
        checks.share(value, name="validation")


def test_what_is_right_comes_back():
    assert checks.integer(3, name="n") == 3
    assert checks.share(0, name="s") == 0.0
    assert checks.image_size(160) == (160, 160)
    assert checks.image_size([32, 48]) == (32, 48)
    assert checks.choice("avg", ("avg", "max"), name="pooling") == "avg"


@pytest.mark.parametrize("value", [0, (32,), (32, 32, 3), (32, 0), "160"])
def test_image_size_refuses(value):
    with pytest.raises(checks.InputError, match="image_size"):
        checks.image_size(value)


def test_note_prints_and_returns(capsys):
    assert checks.note("2 files skipped") == "2 files skipped"
    assert capsys.readouterr().out == "keras_transfer: 2 files skipped\n"


def test_the_line_of_keras_is_found_below_its_config():
    error = TypeError(
        "could not be deserialized.\n\nconfig={'a': 1}.\n\nException encountered: no\nmore"
    )
    assert checks.first_line(error) == "no"
    assert checks.first_line(ValueError("\n  one \ntwo")) == "one"
    assert checks.first_line(KeyError()) == "KeyError"
