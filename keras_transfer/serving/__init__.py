"""Leaving Keras: one export format a file, and the check that it answers as the model does."""

from keras_transfer.serving.export import FORMATS, export
from keras_transfer.serving.verify import ParityError, verify

__all__ = ["FORMATS", "ParityError", "export", "verify"]
