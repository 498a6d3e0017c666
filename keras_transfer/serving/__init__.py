"""Leaving Keras: one export format a file, and the check that it answers as the model does."""

from keras_transfer.serving.formats import FORMATS, export
from keras_transfer.serving.parity import ParityError, verify

__all__ = ["FORMATS", "ParityError", "export", "verify"]
