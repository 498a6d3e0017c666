"""Columns of masks and target images that come from files: kept in memory, or read in every pass as pixels are."""

import dataclasses
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.data.targets import missing, pictures
from keras_transfer.machine import memory, progress
from keras_transfer.storage import planes

__all__ = ["DIGEST", "FileColumn", "Reader", "content", "files_of", "join", "read_all"]

DIGEST = 16  # bytes of a hash
TOGETHER = 16  # files that a thread reads before it takes the next ones


class Reader(Protocol):
    """How a file becomes a target.

    One whose targets are in no files of their own has `fetch(path)`, which returns the target itself; what a path is,
    it knows.

    Attributes:
        shape: Of one target.
        dtype: Of the targets.
    """

    shape: tuple[int, ...]
    dtype: np.dtype

    def read(
        self, content: bytes, size: tuple[int, int] | None = None, *, whole: bool = True
    ) -> np.ndarray:
        """Returns the target in a file's content; raises `storage.planes.UnreadableError`, and says why.

        Args:
            content: Of the file.
            size: Height and width that the file must have; None for any.
            whole: Whether all values are checked, as when a file is read for the first time, or those that are used.
        """
        ...

    def count(self, target: np.ndarray) -> np.ndarray | None:
        """Returns how many pixels of each class a target has; None for what has no classes."""
        ...

    def blank(self) -> np.ndarray:
        """Returns what stands for a missing target."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class FileColumn:
    """Targets in files, one an image, which can be used as an array in many ways.

    It has a length, a shape and a type; `column[rows]` are some of its rows, `column[3]` is one target and
    `np.asarray(column)` all of them.

    Attributes:
        files: Path of each file as bytes, empty where a label is missing.
        readers: What makes targets of files, of one shape and type.
        rows: Of each target its place in `kept` and in `digests`.
        digests: Hash of each file's content, uint8 `(m, 16)`.
        kept: All targets decoded, `(m, ...)`, which several columns share; None where they are read in every pass.
        reader_of: Of each target the number of its reader.
        counts: How many pixels of each class a mask has, `(m, classes)`; None for what has no classes.
    """

    files: np.ndarray
    readers: tuple[Any, ...]  # each a `Reader`
    rows: np.ndarray
    digests: np.ndarray
    kept: tf.Tensor | None = None
    reader_of: np.ndarray | None = None
    counts: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the targets, as of an array."""
        return (len(self.files), *self.readers[0].shape)

    @property
    def dtype(self) -> np.dtype:
        """Of the targets."""
        return np.dtype(self.readers[0].dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, chosen: Any) -> Any:
        if isinstance(chosen, int | np.integer):
            return self.load(np.array([chosen]))[0]
        own = None if self.reader_of is None else self.reader_of[chosen]
        return dataclasses.replace(
            self, files=self.files[chosen], rows=self.rows[chosen], reader_of=own
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        needed, free = int(np.prod(self.shape)) * self.dtype.itemsize, memory.free_memory()
        if self.kept is None and needed > free / 2:
            given = f"{needed / 1e9:.1f} GB of {free / 1e9:.1f} GB that are free"
            fix = "Read some rows at a time: column[start:stop]."
            raise checks.error(
                "the targets must fit in memory to be one array", given=given, fix=fix
            )
        values = self.load(np.arange(len(self)))
        return values if dtype is None else values.astype(dtype, copy=False)

    def some_rows(self, most: int) -> np.ndarray:
        """Returns at most so many of the targets, evenly spread."""
        rows = np.linspace(0, len(self) - 1, min(most, len(self))).astype(int)
        return self.load(rows)

    def load(self, index: np.ndarray) -> np.ndarray:
        """Returns the targets of some rows: one for a single index, else one on each row."""
        if np.ndim(index) == 0:
            return self.load(np.array([index]))[0]
        if self.kept is not None:
            return tf.gather(self.kept, self.rows[index]).numpy()
        result = np.empty((len(index), *self.shape[1:]), self.dtype)
        for place, row in enumerate(index):
            result[place] = self._read(int(row))
        return result

    def _read(self, row: int) -> np.ndarray:
        path = self.files[row]
        reader = self.readers[0 if self.reader_of is None else self.reader_of[row]]
        if not path:
            return reader.blank()
        if hasattr(reader, "fetch"):
            return reader.fetch(path)
        try:
            with open(path, "rb") as file:
                return reader.read(file.read(), whole=False)
        except (OSError, planes.UnreadableError) as problem:
            given = f"'{os.fsdecode(path)}' ({checks.first_line(problem)})"
            raise checks.error("the files of targets must stay as they were", given=given) from None

    def gather(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns a function from one index or several to targets, for `tf.data`."""
        if self.kept is not None:
            kept = self.kept
            with tf.device("CPU:0"):
                rows = tf.constant(self.rows)
            return lambda index: tf.gather(kept, tf.gather(rows, index))

        def load(index: tf.Tensor) -> tf.Tensor:
            # Pillow decodes outside of Python's lock, so `map` reads several files at a time.
            values = tf.numpy_function(self.load, [index], self.dtype)
            return tf.ensure_shape(values, [*index.shape, *self.shape[1:]])

        return load

    def digest(self) -> str:
        """Returns a hash of what all files hold, the same whether they are kept or not."""
        own = np.ascontiguousarray(self.digests[self.rows])
        result = hashlib.blake2b(f"{self.shape} {self.readers}".encode(), digest_size=DIGEST)
        for part in (own, self.reader_of):
            if part is not None:
                result.update(np.ascontiguousarray(part).data)
        return result.hexdigest()

    @classmethod
    def joined(cls, columns: Sequence["FileColumn"]) -> "FileColumn":
        """Returns the targets of several columns, one column after the other."""
        readers = list(
            {id(reader): reader for column in columns for reader in column.readers}.values()
        )
        number_of = {id(reader): number for number, reader in enumerate(readers)}
        sources = list({id(column.digests): column for column in columns}.values())
        starts = np.cumsum([0, *(len(source.digests) for source in sources)])
        start_of = {
            id(source.digests): start for source, start in zip(sources, starts, strict=False)
        }

        rows, reader_of = [], []
        for column in columns:
            rows.append(column.rows + start_of[id(column.digests)])
            numbers = np.array([number_of[id(reader)] for reader in column.readers])
            own = np.zeros(len(column), int) if column.reader_of is None else column.reader_of
            reader_of.append(numbers[own])
        kept = [source.kept for source in sources]
        counts = [source.counts for source in sources if source.counts is not None]
        with tf.device("CPU:0"):
            are_kept = all(part is not None for part in kept)
            tensor = tf.concat(kept, axis=0) if are_kept and len(kept) > 1 else kept[0]
        return cls(
            files=np.concatenate([column.files for column in columns]),
            readers=tuple(readers),
            rows=np.concatenate(rows),
            digests=np.concatenate([source.digests for source in sources]),
            kept=tensor if are_kept else None,
            reader_of=np.concatenate(reader_of) if len(readers) > 1 else None,
            counts=np.concatenate(counts) if counts else None,
        )

    @classmethod
    def blanks(cls, like: "FileColumn", count: int) -> "FileColumn":
        """Returns the targets of images without a label."""
        reader = like.readers[0]
        with tf.device("CPU:0"):
            kept = None if like.kept is None else tf.constant(reader.blank()[None])
        return cls(
            files=np.full(count, b"", object),
            readers=(reader,),
            rows=np.zeros(count, np.int64),
            digests=np.zeros((1, DIGEST), np.uint8),
            kept=kept,
            counts=None if like.counts is None else np.zeros_like(like.counts[:1]),
        )


def join(parts: Sequence[Any]) -> Any:
    """Returns the targets of several arrays, or of several columns of files, one after the other."""
    are_files = [isinstance(part, FileColumn) for part in parts]
    if all(are_files):
        return FileColumn.joined(parts)
    return np.concatenate([np.asarray(part) for part in parts])


def content(values: Any) -> Any:
    """Returns what a hash of targets takes: the bytes of an array, or the hash of all files."""
    if isinstance(values, FileColumn):
        return values.digest().encode()
    return np.ascontiguousarray(values).data


def files_of(labels: Any, name: str) -> np.ndarray:
    """Returns paths as bytes, empty where one is blank.

    Example:
        >>> files_of(["a.png", None], "masks").tolist()
        [b'a.png', b'']
    """
    files = np.empty(len(labels), object)
    for row, path in enumerate(labels):
        if missing.is_blank(path):
            files[row] = b""
        elif isinstance(path, str | bytes | os.PathLike):
            files[row] = os.fsencode(path)
        else:
            given = f"{type(path).__name__} at index {row}"
            raise checks.error(f"`{name}` must be paths of files, or None", given=given)
    return files


def read_all(
    files: np.ndarray,
    reader: Any,
    *,
    sizes: Callable[[int], tuple[int, int] | None],
    faults: pictures.Faults,
    keep: bool,
    what: str,
) -> FileColumn:
    """Reads and checks every file once, several at a time.

    Args:
        files: From `files_of`.
        reader: A `Reader`.
        sizes: From a row to the height and width that its file must have; None for any.
        faults: Gets the files that cannot be read.
        keep: Whether targets are kept in memory.
        what: The files in words, for the line that shows how far it is.
    """
    count = len(files)
    kept = np.empty((count if keep else 0, *reader.shape), reader.dtype)
    digests = np.zeros((count, DIGEST), np.uint8)
    blank = reader.blank()
    like = reader.count(blank)
    counts = None if like is None else np.zeros((count, len(like)), np.uint32)
    is_over = threading.Event()

    def read(row: int) -> np.ndarray:
        if not files[row]:
            return blank
        try:
            with open(files[row], "rb") as file:
                content = file.read()
            target = reader.read(content, sizes(row))
        except OSError as problem:
            faults.add(row, f"'{os.fsdecode(files[row])}' ({problem.strerror or problem})")
            return blank
        except planes.UnreadableError as problem:
            faults.add(row, f"'{os.fsdecode(files[row])}' ({problem})")
            return blank
        digest = hashlib.blake2b(content, digest_size=DIGEST).digest()
        digests[row] = np.frombuffer(digest, np.uint8)
        if counts is not None:
            counts[row] = reader.count(target)
        return target

    def work(first: int) -> None:
        for row in range(first, min(first + TOGETHER, count)):
            if is_over.is_set():
                return
            target = read(row)
            if keep:
                kept[row] = target

    pool = futures.ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        results = pool.map(work, range(0, count, TOGETHER))
        label = f"Reading {count:,} {what}"
        for _ in progress.follow(results, label, total=count, unit="file", each=TOGETHER):
            pass  # `work` has put everything into the arrays
    finally:
        is_over.set()  # after Ctrl-C no file is read that nobody wants
        pool.shutdown(cancel_futures=True)
    with tf.device("CPU:0"):
        tensor = tf.constant(kept) if keep else None
    return FileColumn(files, (reader,), np.arange(count), digests, tensor, counts=counts)
