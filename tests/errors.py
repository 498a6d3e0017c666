"""What tests ask of errors."""

import pytest

from keras_transfer.core import checks


def told(call, *parts):
    """Asserts that a call raises the package's error, in one line that holds all parts; returns the line."""
    with pytest.raises(checks.InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message
