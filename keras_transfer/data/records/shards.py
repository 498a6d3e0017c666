"""Reads single examples out of shards, in any order."""

import functools
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf
from google.protobuf import message

from keras_transfer.core import checks
from keras_transfer.data.records import index as records
from keras_transfer.data.sources import decoding
from keras_transfer.storage.remote import Folder

__all__ = ["FRAME", "HEAD", "Shards", "pack", "unpack"]

HEAD, FRAME = (
    12,
    16,
)  # bytes before a record's content, and around it: TFRecord's lengths and checksums
T = TypeVar("T")
REQUESTS = 16  # records that are asked for at a time where each answer takes long


class Shards:
    """The images of a folder of records: a store (`data/stores.py`).

    Args:
        folder: The folder.
        index: What it holds.

    Raises:
        InputError: If the shards or the indexes beside them are not those that the index tells of.
    """

    def __init__(self, folder: Folder, index: records.Index) -> None:
        self.folder, self.index = folder, index
        self.dtype = np.dtype(index.image.dtype)
        self.starts = np.cumsum([0, *(shard.count for shard in index.shards)])
        parts = list(_map(folder, self._positions, index.shards))
        self.ends = np.concatenate([part["end"] for part in parts])
        self.checks = np.concatenate([part["check"] for part in parts])

    @property
    def form(self) -> str:
        """What `contents` returns: the bytes of a "file", or of an "array"."""
        return self.index.image.form

    def __len__(self) -> int:
        return len(self.ends)

    def _positions(self, shard: records.Shard) -> np.ndarray:
        """Returns the index beside a shard if it can be that of the shard."""
        file = f"{shard.name}.index"
        try:
            size = self.folder.size(f"{shard.name}.tfrecord")
            room = self.folder.size(file)
            content = (
                self.folder.read(file) if room == shard.count * records.RECORD.itemsize else b""
            )
        except OSError as problem:
            raise records.damaged(self.folder, f"{shard.name} ({_why(problem)})") from problem
        if size != shard.size:
            what = f"{shard.name}.tfrecord has {size} of {shard.size} bytes"
            raise records.damaged(self.folder, what)
        if not content or records.hash_of(content) != shard.check:
            raise records.damaged(self.folder, f"{file} was changed or cut off")
        positions = np.frombuffer(content, records.RECORD)
        lengths = np.diff(positions["end"], prepend=0)
        if lengths.min() < FRAME or positions["end"][-1] != size:
            raise records.damaged(self.folder, f"{file} tells of records that cannot be")
        return positions

    def read(self, rows: np.ndarray, size: tuple[int, int], channels: int) -> np.ndarray:
        """Returns images, decoded and resized if they are files."""
        contents = self.contents(rows)
        if self.index.image.form == "file":
            decoded = decoding.decode_contents(contents, size, channels=channels)
            for at, why in decoded.failures.items():
                raise self._bad(rows[at], why)
            return decoded.pixels
        found = np.empty((len(rows), *self.index.image.shape), self.dtype)
        for at, content in enumerate(contents):
            if len(content) != found[at].nbytes:
                raise self._bad(rows[at], f"{len(content)} bytes for an image")
            found[at] = np.frombuffer(content, self.dtype).reshape(found.shape[1:])
        return found

    def contents(self, rows: np.ndarray) -> list[bytes]:
        """Returns the images as they are in the records: files, or the bytes of arrays."""
        found = []
        for row, example in zip(rows, self.examples(rows), strict=True):
            found.append(self._value(row, example, records.IMAGE))
        return found

    def column(self, column: records.Column, rows: np.ndarray) -> np.ndarray:
        """Returns values that are in the records only."""
        found = np.empty((len(rows), *column.shape), column.dtype)
        for at, example in enumerate(self.examples(rows)):
            content = unpack(self._value(rows[at], example, column.key), column.size)
            if content is None:
                raise self._bad(rows[at], f"no {column.key} of shape {column.shape}")
            found[at] = np.frombuffer(content, column.dtype).reshape(column.shape)
        return found

    def examples(self, rows: np.ndarray) -> Iterator[tf.train.Example]:
        """Reads records, whose checksums must be right."""
        return _map(self.folder, self._example, rows)

    def _example(self, row: int) -> tf.train.Example:
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        start = int(self.ends[row - 1]) if row > self.starts[number] else 0
        length = int(self.ends[row]) - start - FRAME
        file = f"{self.index.shards[number].name}.tfrecord"
        try:
            content = self.folder.read(file, start=start + HEAD, length=length)
        except OSError as problem:
            raise self._bad(row, _why(problem)) from problem
        if zlib.crc32(content) != self.checks[row]:
            raise self._bad(row, "its checksum is wrong")
        try:
            return tf.train.Example.FromString(content)
        except message.DecodeError as problem:
            raise self._bad(row, "it is no tf.train.Example") from problem

    def _value(self, row: int, example: tf.train.Example, key: str) -> bytes:
        values = example.features.feature[key].bytes_list.value
        if len(values) != 1:
            raise self._bad(row, f"it has no {key}")
        return values[0]

    def _bad(self, row: int, why: str) -> checks.InputError:
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        shard = self.index.shards[number]
        where = f"record {row - self.starts[number]} of {shard.name}.tfrecord"
        return records.damaged(self.folder, f"{where} ({why})")


class TargetReader:
    """Reads targets that are in the records only: a reader of `data/targets/columns.py`.

    Args:
        store: The records.
        column: Which targets.
    """

    def __init__(self, store: Shards, column: records.Column) -> None:
        self.store, self.column = store, column
        self.shape, self.dtype = column.shape, np.dtype(column.dtype)

    def fetch(self, path: bytes) -> np.ndarray:
        """Returns the target of the record with this number."""
        return self.store.column(self.column, np.array([int(path)]))[0]

    def blank(self) -> np.ndarray:
        """Returns what stands for a missing target: for masks, which are two-dimensional, pixels that do not count."""
        is_mask = len(self.shape) == 2 and self.dtype == np.uint8
        return np.full(self.shape, 255 if is_mask else 0, self.dtype)

    def __repr__(self) -> str:
        return f"records of {self.column.key}"


def pack(values: np.ndarray) -> bytes:
    """Makes an array bytes for a record; masks, for example, become a fiftieth of their size.

    Example:
        >>> unpack(pack(np.arange(3)), 24) == np.arange(3).tobytes()
        True
    """
    return zlib.compress(np.ascontiguousarray(values).tobytes(), 1)


def unpack(content: bytes, size: int) -> bytes | None:
    """Returns the bytes of an array if there are as many as expected; no more are ever made."""
    decompress = zlib.decompressobj()
    try:
        values = decompress.decompress(content, size + 1)
    except zlib.error:
        return None
    return values if len(values) == size else None


def _map(folder: Folder, function: Callable[[Any], T], items: Iterable[Any]) -> Iterator[T]:
    """Calls a function for each item: at once where each call waits for a network."""
    if not folder.is_remote:
        return map(function, items)
    return _pool().map(function, items)


@functools.cache
def _pool() -> futures.ThreadPoolExecutor:
    return futures.ThreadPoolExecutor(REQUESTS)


def _why(problem: OSError) -> str:
    return problem.strerror or str(problem)
