"""Where images are read from in every pass when they do not fit in memory."""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from keras_transfer.data.sources import decoding
from keras_transfer.machine import streams
from keras_transfer.storage import names

__all__ = ["Files", "Joined", "Store", "joined", "reading"]

FIX = 'Repair or remove it; corrupt="skip" reads all files once before and leaves such ones out.'


class Store(Protocol):
    """Images by number, of which some are read at a time."""

    @property
    def dtype(self) -> np.dtype:
        """Of the images in a batch, before they become float32."""
        ...

    @property
    def form(self) -> str:
        """What `contents` returns: the bytes of a "file", or of an "array"."""
        ...

    def __len__(self) -> int: ...

    def read(self, rows: np.ndarray, size: tuple[int, int], channels: int) -> np.ndarray:
        """Returns the images with these numbers, `(b, *size, channels)` of `dtype`."""
        ...

    def contents(self, rows: np.ndarray) -> list[bytes]:
        """Returns them as they are stored."""
        ...


class Files:
    """Image files.

    Args:
        paths: Strings or paths.

    Example:
        >>> Files(["a.jpg"]).read(np.array([0]), (8, 8), 3)
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: every file ... Given: 1 file is not, of 1: a.jpg (No such file ...
    """

    dtype = np.dtype(np.uint8)
    form = "file"

    def __init__(self, paths: Sequence[str | os.PathLike]) -> None:
        if not isinstance(paths, names.Paths):
            paths = names.Paths(names.Names(os.fspath(path) for path in paths))
        self.paths = paths

    @classmethod
    def of_tensor(cls, paths: tf.Tensor) -> "Files":
        """The files that a tensor of strings names."""
        return cls([os.fsdecode(path) for path in paths.numpy()])

    def __len__(self) -> int:
        return len(self.paths)

    def contents(self, rows: np.ndarray) -> list[bytes]:
        """Reads some files; one that cannot be read is an error."""
        found, failures = [], {}
        for row in rows:
            path = self.paths.names[row]
            try:
                found.append(decoding.read_bytes(path))
            except (OSError, ValueError) as problem:
                failures[path] = decoding.why_not_read(problem)
        if failures:
            raise decoding.unreadable(failures, len(rows), fix=FIX)
        return found

    def read(self, rows: np.ndarray, size: tuple[int, int], channels: int) -> np.ndarray:
        """Reads and decodes some files; one that cannot be read is an error that names it."""
        decoded = decoding.decode_contents(self.contents(rows), size, channels=channels)
        if decoded.failures:
            failures = {str(self.paths[rows[at]]): why for at, why in decoded.failures.items()}
            raise decoding.unreadable(failures, len(rows), fix=FIX)
        return decoded.pixels


class Joined:
    """Several stores, one after the other."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self.stores = list(stores)
        self.starts = np.cumsum([0, *map(len, self.stores)])
        self.dtype = np.result_type(*(store.dtype for store in self.stores))

    @property
    def form(self) -> str:
        """What `contents` returns."""
        return "file" if all(store.form == "file" for store in self.stores) else "array"

    def __len__(self) -> int:
        return int(self.starts[-1])

    def read(self, rows: np.ndarray, size: tuple[int, int], channels: int) -> np.ndarray:
        """Reads images of all stores."""
        result = np.empty((len(rows), *size, channels), self.dtype)
        for store, places, own in self._parts(rows):
            result[places] = store.read(own, size, channels)
        return result

    def contents(self, rows: np.ndarray) -> list[bytes]:
        """Reads files of all stores."""
        result = [b""] * len(rows)
        for store, places, own in self._parts(rows):
            for place, content in zip(places, store.contents(own), strict=True):
                result[place] = content
        return result

    def _parts(self, rows: np.ndarray) -> list[tuple[Store, np.ndarray, np.ndarray]]:
        """By store, the places in `rows` of the images that it has and their numbers there."""
        numbers = np.searchsorted(self.starts, rows, side="right") - 1
        parts = []
        for number in np.unique(numbers):
            places = np.flatnonzero(numbers == number)
            parts.append((self.stores[number], places, rows[places] - self.starts[number]))
        return parts


def joined(stores: Sequence[Store]) -> Store:
    """Returns one store of all images."""
    return stores[0] if len(stores) == 1 else Joined(stores)


def reading(store: Store, size: tuple[int, int], channels: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function for `map` from the numbers of some images to the images, one call a batch."""
    read = functools.partial(store.read, size=size, channels=channels)

    @streams.plain
    def load(rows: tf.Tensor) -> tf.Tensor:
        pixels = tf.numpy_function(read, [rows], tf.as_dtype(store.dtype))
        return tf.ensure_shape(pixels, (None, *size, channels))

    return load
