"""What a frozen network sees in images, as arrays."""

from keras_transfer.features.caches import CacheFolder, Entry
from keras_transfer.features.extraction import extract
from keras_transfer.features.rows import FileRows, reader
from keras_transfer.features.store import Features, load

__all__ = ["CacheFolder", "Entry", "Features", "FileRows", "extract", "load", "reader"]
