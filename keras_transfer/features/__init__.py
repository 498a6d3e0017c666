"""What a frozen network sees in images, as arrays."""

from keras_transfer.features.extract import extract
from keras_transfer.features.store import Features, load

__all__ = ["Features", "extract", "load"]
