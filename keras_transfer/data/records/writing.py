"""Writes data as records, shard by shard; a killed writing leaves nothing that looks finished, and can go on."""

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any  # data may be anything that `fit` takes

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks, labelled
from keras_transfer.data import adapt, base, pipeline, stores
from keras_transfer.data.records import index as records
from keras_transfer.data.records import shards
from keras_transfer.data.sources import decoding
from keras_transfer.data.targets import KINDS, encoding
from keras_transfer.data.targets import columns as target_columns
from keras_transfer.machine import progress
from keras_transfer.storage import images
from keras_transfer.storage.remote import Folder

__all__ = ["NAMES", "write_records"]

NAMES = "names.txt"
TOGETHER = 16  # examples that are prepared at a time
BESIDE = 2**14  # bytes of one target, at most, of which all are kept in memory
OURS = re.compile(
    rf"{re.escape(records.FILE)}|{re.escape(records.PARTIAL)}|{NAMES}|column-\d+\.bin|{records.SHARD.pattern}\.(tfrecord|index)"
)
SUMMARIES = ("digests", "counts")  # of large targets
TEMPORARY = re.compile(rf"\.\d+\.({OURS.pattern})|({OURS.pattern})\.tmp")


def write_records(
    data: Any, folder: str | os.PathLike, *, megabytes: int = 128, overwrite: bool = False
) -> str:
    """Writes images and targets into TFRecord files of many examples each, for data that is larger than memory.

    Images are stored as they were: the bytes of files, PNG of arrays. Splits, order, names, classes, missing labels and
    the digest are kept, so `kt.data.from_records` gives the same batches to the bit. No more than a few images are in
    memory at a time.

    The folder looks finished only when it is. If the writing is killed, the same call goes on after the last whole file
    of records; with other data it starts over. One line tells which.

    Args:
        data: Data from `kt.data`, or arrays as `fit` takes them.
        folder: A folder, new or empty, or an address such as "gs://bucket/records".
        megabytes: Size of a file of records, about.
        overwrite: Whether records that the folder holds may be replaced.

    Returns:
        The folder, for `kt.data.from_records`.

    Raises:
        InputError: If the order of the data is not known, or the folder holds something else.

    Example:
        >>> import tempfile
        >>> import keras_transfer as kt
        >>> data = kt.data.from_arrays(np.zeros((4, 8, 8), "uint8"), ["a", "b", "a", "b"], validation=None)
        >>> folder = kt.data.write_records(data, tempfile.mkdtemp())
        keras_transfer: 4 examples are in 1 file of records (0.0 MB)
        >>> kt.data.from_records(folder)
        Data(train=4, classes=2, image_size=8x8, batch_size=32)
    """
    megabytes = checks.integer(megabytes, name="megabytes")
    source = adapt.split(data, training=True).source
    if source is None:
        fix = "Make it with kt.data.from_folder, from_arrays or another source."
        raise checks.error(
            "`data` must be arrays or come from kt.data, with its own batches",
            given=type(data).__name__,
            fix=fix,
        )
    place = Folder(folder)
    _check_empty(place, overwrite)
    place.make()

    writer = _Writer(source, place, limit=megabytes * 1_000_000)
    writer.write()
    return place.where


def _check_empty(place: Folder, overwrite: bool) -> None:
    names = {name for name in place.names() if not TEMPORARY.fullmatch(name)}
    if records.FILE in names and not overwrite:
        fix = "Read them with kt.data.from_records, or set `overwrite=True`."
        given = f"'{place.where}', which holds records"
        raise checks.error("`folder` must be a new folder", given=given, fix=fix)
    others = sorted(name for name in names if not OURS.fullmatch(name))
    if others:
        given = f"'{place.where}' with {others[0]!r}"
        raise checks.error("`folder` must hold nothing but records", given=given)


class _Writer:
    """Writes one folder.

    Args:
        data: What to write.
        place: Where.
        limit: Bytes of a shard, about.
    """

    def __init__(self, data: base.Data, place: Folder, *, limit: int) -> None:
        self.data, self.place, self.limit = data, place, limit
        self.counts = {split: len(data.examples[split]) for split in data.examples}
        self.columns = _columns(data)
        self.beside = {column.key for column in self.columns if _is_beside(data, column)}
        self.image = _image(data)
        self.shards: list[records.Shard] = []

    def write(self) -> None:
        """Writes what is not there yet; the index last."""
        names = self.place.names()
        self.shards = self._finished(names)
        # The index first: from then on nothing looks finished.
        for name in sorted(names, key=lambda name: name != records.FILE):
            if OURS.fullmatch(name) and not self._is_kept(name):
                self.place.remove(name)
        self._save_progress()

        total = sum(self.counts.values())
        done = sum(shard.count for shard in self.shards)
        steps = progress.Progress(f"Writing {total:,} examples", total=total, unit="example")
        steps.add(done)
        try:
            for split in self.counts:
                self._write_split(split, steps)
        except tf.errors.OpError as failed:
            raise OSError(f"{self.place.where}: {checks.first_line(failed)}") from failed
        finally:
            steps.stop()
        steps.finish()
        self._finish()

    def _is_kept(self, name: str) -> bool:
        if name == records.PARTIAL:
            return True
        return name.rpartition(".")[0] in {shard.name for shard in self.shards}

    def _finished(self, names: Sequence[str]) -> list[records.Shard]:
        """Returns the shards that a killed writing of the same data left whole."""
        if records.PARTIAL not in names or records.FILE in names:
            return []
        try:
            begun = json.loads(self.place.read(records.PARTIAL))
            found = [records.shard_of(each) for each in begun["shards"]]
            is_same = begun["plan"] == self._plan() and all(map(self._is_whole, found))
        except (OSError, ValueError, KeyError, TypeError):
            is_same = False
        if not is_same:
            checks.note(f"what was begun in '{self.place.where}' is of other data: starts over")
            return []
        total = sum(self.counts.values())
        done = sum(shard.count for shard in found)
        checks.note(
            f"goes on in '{self.place.where}': {done:,} of {total:,} examples are written already"
        )
        return found

    def _is_whole(self, shard: records.Shard) -> bool:
        size = self.place.size(f"{shard.name}.tfrecord")
        return size == shard.size and shard.check == records.hash_of(
            self.place.read(f"{shard.name}.index")
        )

    def _plan(self) -> list:
        """What the shards depend on."""
        columns = [[column.key, column.dtype, list(column.shape)] for column in self.columns]
        image = json.loads(json.dumps(dataclasses.asdict(self.image)))
        return [self.data.digest, self.data.seed, self.counts, image, columns, self.limit]

    def _save_progress(self) -> None:
        content = {"plan": self._plan(), "shards": [vars(shard) for shard in self.shards]}
        self.place.write(records.PARTIAL, json.dumps(content, indent=1).encode())

    def _write_split(self, split: str, steps: progress.Progress) -> None:
        own = [shard for shard in self.shards if shard.split == split]
        start, number = sum(shard.count for shard in own), len(own)
        while start < self.counts[split]:
            shard = self._write_shard(split, number, start, steps)
            self.shards.append(shard)
            self._save_progress()
            start, number = start + shard.count, number + 1

    def _write_shard(
        self, split: str, number: int, start: int, steps: progress.Progress
    ) -> records.Shard:
        """Writes one shard and the index beside it."""
        name = f"{split}-{number:05}"
        temporary, size = f"{name}.tfrecord.tmp", 0
        ends: list[int] = []
        crcs: list[int] = []
        with tf.io.TFRecordWriter(self.place.path(temporary)) as writer:
            for content in self._contents(split, start):
                writer.write(content)
                size += len(content) + shards.FRAME
                ends.append(size)
                crcs.append(zlib.crc32(content))
                steps.add()
                if size >= self.limit:
                    break
        positions = np.empty(len(ends), records.RECORD)
        positions["end"], positions["check"] = ends, crcs
        self.place.write(f"{name}.index", positions.tobytes())
        self.place.rename(temporary, f"{name}.tfrecord")
        return records.Shard(name, len(ends), size, records.hash_of(positions.tobytes()))

    def _contents(self, split: str, start: int) -> Iterator[bytes]:
        """Yields the records of a split from example `start` on."""
        examples = self.data.examples[split]
        names = self._names(split)
        stored = [column for column in self.columns if column.part not in SUMMARIES]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            encoder = _Encoder(self.image, pool)
            for first in range(start, len(examples), TOGETHER):
                rows = np.arange(first, min(first + TOGETHER, len(examples)))
                files = None if self.data.files is None else self.data.files[split]
                pictures = encoder.encode(examples, rows, files)
                values = {column.key: self._values(column, split, rows) for column in stored}
                for at, picture in enumerate(pictures):
                    features = {records.IMAGE: _bytes(picture)}
                    if names is not None:
                        features["name"] = _bytes(os.fsencode(names[rows[at]]))
                    for column in stored:
                        value = np.asarray(values[column.key][at])
                        is_beside = column.key in self.beside
                        features[column.key] = _feature(value, is_beside=is_beside)
                    example = tf.train.Example(features=tf.train.Features(feature=features))
                    yield example.SerializeToString(deterministic=True)

    def _values(self, column: records.Column, split: str, rows: np.ndarray) -> np.ndarray:
        return np.asarray(_whole(self.data, column, split)[rows])

    def _names(self, split: str) -> Sequence[str] | None:
        return None if self.data.files is None else self.data.files[split]

    def _finish(self) -> None:
        """Writes what is not in shards, and then the index."""
        columns = []
        for number, column in enumerate(self.columns):
            if column.key in self.beside:
                file = f"column-{number}.bin"
                parts = [_whole(self.data, column, split) for split in self.counts]
                content = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
                self.place.write(file, content)
                check = records.hash_of(content)
                column = dataclasses.replace(column, file=file, check=check)
            columns.append(column)

        index = records.Index(
            image=self.image,
            counts=self.counts,
            shards=tuple(self.shards),
            columns=tuple(columns),
            digest=self.data.digest,
            batch_size=self.data.batch_size,
            seed=self.data.seed,
            class_names=self.data.class_names,
            names=self._write_names(),
            sampling=_sampling(self.data),
            notes=tuple(self.data.notes),
            kinds=_kinds(self.data),
        )
        index.save(self.place)
        with contextlib.suppress(OSError):
            self.place.remove(records.PARTIAL)
        for name in self.place.names():
            if TEMPORARY.fullmatch(name):
                self.place.remove(name)
        self._tell()

    def _write_names(self) -> str | None:
        if self.data.files is None:
            return None
        outside = f"{self.data.folder}/" if self.data.folder else ""
        lines = []
        for split in self.counts:
            for name in self.data.files[split]:
                lines.append(json.dumps(name.removeprefix(outside)))  # letters of any kind
        content = "\n".join(lines).encode()
        self.place.write(NAMES, content)
        return records.hash_of(content)

    def _tell(self) -> None:
        size = sum(shard.size for shard in self.shards)
        count = len(self.shards)
        files = "1 file" if count == 1 else f"{count} files"
        checks.note(
            f"{sum(self.counts.values()):,} examples are in {files} of records ({size / 1e6:.1f} MB)"
        )


class _Encoder:
    """Makes images what records hold.

    Args:
        image: How records hold them.
        pool: Encodes several at a time.
    """

    def __init__(self, image: records.Image, pool: concurrent.futures.Executor) -> None:
        self.image, self.pool = image, pool

    def encode(
        self, examples: pipeline.Examples, rows: np.ndarray, files: Sequence[str] | None
    ) -> list[bytes]:
        """Returns the images of some examples; of arrays that were read from files the files."""
        own = examples.rows[rows]
        if not examples.is_decoded:
            return self._of_store(examples.pixels, own)
        pixels = tf.gather(examples.pixels, own).numpy()
        if self.image.form == "array":
            return [image.tobytes() for image in pixels]
        found = [None] * len(rows) if files is None else self._same_files(pixels, files, rows)
        missing = [at for at, content in enumerate(found) if content is None]
        encoded = dict(zip(missing, self.pool.map(_png, pixels[missing]), strict=True))
        return [encoded[at] if content is None else content for at, content in enumerate(found)]

    def _of_store(self, store: stores.Store, rows: np.ndarray) -> list[bytes]:
        if store.form == self.image.form == "file":
            return store.contents(rows)
        pixels = store.read(rows, self.image.size, self.image.channels)
        return [image.tobytes() for image in pixels]

    def _same_files(
        self, pixels: np.ndarray, files: Sequence[str], rows: np.ndarray
    ) -> list[bytes | None]:
        """Returns the files that decode to these very pixels, None for others: names of no files, for example."""
        contents = list(self.pool.map(_content, [files[row] for row in rows]))
        decoded = decoding.decode_contents(contents, self.image.size, channels=self.image.channels)
        found: list[bytes | None] = []
        for at, content in enumerate(contents):
            is_same = at not in decoded.failures and np.array_equal(decoded.pixels[at], pixels[at])
            found.append(content if is_same else None)
        return found


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError):
        return b""


def _png(pixels: np.ndarray) -> bytes:
    return tf.io.encode_png(pixels).numpy()


def _image(data: base.Data) -> records.Image:
    """Chooses how records hold the images."""
    parts = data.examples.values()
    is_file = data.channels in images.CHANNELS
    dtypes = []
    for part in parts:
        if part.is_decoded:
            dtypes.append(part.pixels.dtype.as_numpy_dtype)
        else:
            dtypes.append(part.pixels.dtype)
            is_file &= part.pixels.form == "file"
    dtype = np.result_type(*dtypes)
    form = "file" if is_file and dtype == np.uint8 else "array"
    height, width = map(int, data.image_size)
    kept = "uint8" if dtype == np.uint8 else "float32"
    return records.Image(form, kept, (height, width), data.channels)


def _columns(data: base.Data) -> list[records.Column]:
    """Returns all columns, not written yet."""
    parts: dict[str, Any] = {"targets": data.targets, "weights": data.weights}
    parts |= {"origins": data.origins, "groups": data.groups}
    first = next(iter(data.examples))
    columns = []
    for part, by_split in parts.items():
        values = {} if by_split is None else labelled.by_task(by_split[first])
        for task, column in values.items():
            columns.append(_column(part, task or None, column))
    for column in [column for column in columns if not _is_beside(data, column)]:
        for part in ("digests", "counts"):
            summary = _summary_of(data, part, column.task, first)
            if summary is not None:
                columns.append(_column(part, column.task, summary))
    return columns


def _column(part: str, task: str | None, values: Any) -> records.Column:
    dtype, shape = np.dtype(values.dtype).name, tuple(map(int, values.shape[1:]))
    return records.Column(part, task, dtype, shape)


def _summary_of(data: base.Data, part: str, task: str | None, split: str) -> np.ndarray | None:
    """Returns what is to be known of large targets without reading them: hashes, or how often each class occurs."""
    values = labelled.of_task(data.targets[split], task)
    if isinstance(values, target_columns.FileColumn):
        found = getattr(values, part)
        return None if found is None else found[values.rows]
    if part == "digests":
        hashes = [bytes.fromhex(records.hash_of(np.ascontiguousarray(row).data)) for row in values]
        return np.frombuffer(b"".join(hashes), np.uint8).reshape(len(values), -1)
    names = labelled.of_task(data.class_names, task)
    if values.dtype.kind != "u" or not names:
        return None
    counts = [np.bincount(np.ravel(row), minlength=256)[: len(names)] for row in values]
    return np.array(counts, np.uint32)


def _kinds(data: base.Data) -> dict[str, str]:
    """Returns the kind of each target, for those who know no more than the folder."""
    words = {kind: word for word, kind in KINDS.items()}
    kinds = {}
    for task, values in labelled.by_task(next(iter(data.targets.values()))).items():
        names = labelled.of_task(data.class_names, task) if task else data.class_names
        kinds[task] = words[encoding.kind_of(values, names)]
    return kinds


def _whole(data: base.Data, column: records.Column, split: str) -> Any:
    """The values of one split: an array, or what reads some at a time."""
    if column.part in SUMMARIES:
        return _summary_of(data, column.part, column.task, split)
    by_split = getattr(data, column.part)
    return labelled.of_task(by_split[split], column.task)


def _is_beside(data: base.Data, column: records.Column) -> bool:
    """Whether a column is also written as one array, which is in memory when it is read."""
    if column.part in SUMMARIES:
        return True
    parts = (_whole(data, column, split) for split in data.examples)
    return column.size <= BESIDE and all(isinstance(part, np.ndarray) for part in parts)


def _sampling(data: base.Data) -> Mapping[str, Any] | None:
    return None if data.sampled is None else dict(getattr(data.sampled, "keywords", {}))


def _feature(values: np.ndarray, *, is_beside: bool) -> tf.train.Feature:
    """Makes one example's value what other readers of TFRecord know, too, or bytes where it may be large."""
    if not is_beside:
        return _bytes(shards.pack(values))
    if values.dtype.kind == "f":
        return tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(values)))
    whole = np.ravel(values)
    whole = whole.view(np.int64) if whole.dtype == np.uint64 else whole  # hashes
    return tf.train.Feature(int64_list=tf.train.Int64List(value=whole))


def _bytes(content: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
