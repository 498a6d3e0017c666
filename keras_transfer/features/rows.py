"""Reading rows of arrays in any order, from within a data set."""

import functools
import io
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["FileRows", "reader"]


class FileRows:
    """Rows of an array in a `.npy` file, read one by one.

    Not mapped: pages of a mapped file count as this process's memory once they were touched. The file stays open, so
    that it can be read on after somebody has removed it.

    Args:
        array: Of `np.load(..., mmap_mode="r")`.

    Example:
        >>> np.save("/tmp/doc_rows.npy", np.arange(6.0).reshape(3, 2))
        >>> FileRows(np.load("/tmp/doc_rows.npy", mmap_mode="r"))([2, 0])
        array([[4., 5.],
               [0., 1.]])
    """

    def __init__(self, array: np.memmap) -> None:
        self.count, self.shape, self.dtype, self.start = (
            len(array),
            array.shape[1:],
            array.dtype,
            array.offset,
        )
        self.size = int(np.prod(self.shape)) * self.dtype.itemsize
        self.file: io.FileIO = open(str(array.filename), "rb", buffering=0)  # noqa: SIM115
        self.lock = threading.Lock()

    def __call__(self, places: Sequence[int]) -> np.ndarray:
        """Returns some rows."""
        rows = np.empty((len(places), *self.shape), self.dtype)
        view = memoryview(rows.reshape(-1).view(np.uint8).data)
        for number, place in enumerate(places):
            at, to = number * self.size, (number + 1) * self.size
            offset = self.start + int(place) * self.size
            while at < to:
                read = self._read(view[at:to], offset)
                if not read:
                    raise OSError(f"row {place} is not in {self.file.name}: the file was cut off")
                at, offset = at + read, offset + read
        return rows

    def _read(self, view: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self.file.fileno(), [view], offset)
        with self.lock:  # Windows: two calls, and data sets read from several threads
            self.file.seek(offset)
            return self.file.readinto(view)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self(range(self.count)).astype(dtype or self.dtype, copy=False)

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()


def reader(array: FileRows | tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function from places to rows, for graphs.

    Args:
        array: Rows of a file; or a tensor, whose rows are gathered without Python.

    Example:
        >>> reader(tf.constant([[1.0], [2.0]]))(tf.constant([1])).numpy()
        array([[2.]], dtype=float32)
    """
    if not isinstance(array, FileRows):
        return functools.partial(tf.gather, array)
    dtype, shape = tf.as_dtype(array.dtype), (None, *array.shape)
    return lambda places: tf.ensure_shape(tf.numpy_function(array, [places], dtype), shape)
