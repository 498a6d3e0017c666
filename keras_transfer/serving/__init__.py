"""Leaving Keras: one export format a file, and the check that it answers as the model does."""

from typing import TYPE_CHECKING

from keras_transfer.core import lookup
from keras_transfer.serving.formats import FORMATS, export
from keras_transfer.serving.parity import ParityError, verify

__all__ = ["FORMATS", "ParityError", "export", "verify"]

if not TYPE_CHECKING:  # type checkers know the names, and would take any other for one of them
    __getattr__ = lookup.no_such_name(__name__, __all__)
