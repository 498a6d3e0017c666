"""What a frozen network sees in images, as arrays."""

from typing import TYPE_CHECKING

from keras_transfer.core import lookup
from keras_transfer.features.caches import CacheFolder, Entry
from keras_transfer.features.extraction import extract
from keras_transfer.features.rows import FileRows, reader
from keras_transfer.features.scores import SCORES
from keras_transfer.features.similarity import cka, neighbours
from keras_transfer.features.store import Features, load

__all__ = [
    "SCORES", "CacheFolder", "Entry", "Features", "FileRows", "cka", "extract", "load", "neighbours", "reader",
]  # fmt: skip

if not TYPE_CHECKING:  # type checkers know the names, and would take any other for one of them
    __getattr__ = lookup.no_such_name(__name__, __all__)
