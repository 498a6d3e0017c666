"""Data that `kt.data.write_records` wrote: images stay on disk or in the cloud and are read from there in any order."""

import functools
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_transfer.core import checks, labelled, lookup
from keras_transfer.data import base, mixture, pipeline
from keras_transfer.data.records import index as records
from keras_transfer.data.records import shards
from keras_transfer.data.records.writing import NAMES
from keras_transfer.data.targets import columns as target_columns
from keras_transfer.storage import names
from keras_transfer.storage.remote import Folder

__all__ = ["from_records"]


def from_records(
    folder: str | os.PathLike,
    *,
    batch_size: int | None = None,
    seed: int | None = None,
    shard: tuple[int, int] | None = None,
    cache: str = "off",
) -> base.Data:
    """Reads a folder that `kt.data.write_records` wrote; the batches are those of the data that was written.

    Nothing but the index is read before the first batch, and memory holds some 30 bytes an example, not images. Each
    pass has an order of all examples of its own, as it has with images in memory.

    Args:
        folder: The folder, or an address such as "gs://bucket/records".
        batch_size: Images in a batch; by default that of the data that was written.
        seed: Of the orders; by default that of the data that was written. Splits stay.
        shard: Number of this process, from 0, and how many there are: each reads a part of the training examples in
            every pass, others in each, and all of them together read each example once. Validation and test examples
            are read by every process.
        cache: "memory" keeps decoded images in memory, "off" reads them in every pass.

    Returns:
        The batches, with splits, class names and notes of the data that was written.

    Raises:
        InputError: If the folder holds no records, or they were changed or cut off.

    Example:
        >>> import tempfile
        >>> import keras_transfer as kt
        >>> data = kt.data.from_arrays(np.zeros((4, 8, 8), "uint8"), ["a", "b", "a", "b"], validation=None)
        >>> folder = kt.data.write_records(data, tempfile.mkdtemp())
        keras_transfer: 4 examples are in 1 file of records (0.0 MB)
        >>> from_records(folder, batch_size=2)
        Data(train=4, classes=2, image_size=8x8, batch_size=2)
    """
    place = Folder(folder)
    checks.choice(cache, ("memory", "off"), name="cache")
    index = records.Index.load(place)
    if batch_size is not None:
        batch_size = checks.integer(batch_size, name="batch_size")
    if seed is not None:
        seed = checks.integer(seed, name="seed", minimum=0)
    shard = _check_shard(shard)

    store = shards.Shards(place, index)
    beside = {column: _values(place, store, column) for column in index.columns if column.file}
    columns = []
    for column in index.columns:
        values = beside[column] if column.file else _late_values(store, column, beside)
        columns.append((column, values))
    texts = _names(place, index, len(store))
    every = pipeline.Examples(
        store if cache == "off" else _decode(store),
        np.arange(len(store)),
        _by_task(columns, "targets"),
        index.image.channels,
        _by_task(columns, "weights"),
    )

    rows = _rows(index)
    others = {}
    for part in ("origins", "groups"):
        values = _by_task(columns, part)
        others[part] = (
            values if values is None else {split: values[own] for split, own in rows.items()}
        )
    data = base.from_examples(
        {split: every.pick(own) for split, own in rows.items()},
        class_names=index.class_names,
        image_size=index.image.size,
        batch_size=batch_size or index.batch_size,
        seed=index.seed if seed is None else seed,
        digest=index.digest,
        files=None if texts is None else {split: texts.pick(own) for split, own in rows.items()},
        notes=[],
        sampled=_sampled(place, index, seed),
        shard=shard,
        **others,
    )
    data.notes = list(dict.fromkeys([*index.notes, *data.notes, *_note_shard(data)]))
    data.folder = place.where
    return data


def _check_shard(shard: Any) -> tuple[int, int] | None:
    if shard is None:
        return None
    if not isinstance(shard, tuple | list) or len(shard) != 2:
        raise checks.error("`shard` must be (number of the process, of how many)", given=shard)
    count = checks.integer(shard[1], name="shard[1]")
    return checks.integer(shard[0], name="shard[0]", minimum=0, below=count), count


def _note_shard(data: base.Data) -> list[str]:
    """Notes what this process reads, and whether others have more batches."""
    if data.shard is None or not isinstance(data.epochs, pipeline.Share):
        return []
    number, count = data.shard
    own, whole = data.epochs.length, data.epochs.whole
    lengths = []
    for other in range(count):
        part = pipeline.Share(whole, other, count, batch_size=data.batch_size)
        lengths.append(-(-part.length // data.batch_size))
    text = (
        f"process {number} of {count} reads {own:,} of {whole.length:,} training examples in a pass"
    )
    if len(set(lengths)) > 1:
        text += f"; processes have {min(lengths)} to {max(lengths)} batches: where they must keep step, use `take`"
    return [checks.note(text)]


def _rows(index: records.Index) -> dict[str, np.ndarray]:
    """Returns the numbers of the examples of each split."""
    rows, start = {}, 0
    for split, count in index.counts.items():
        rows[split] = np.arange(start, start + count)
        start += count
    return rows


def _values(place: Folder, store: shards.Shards, column: records.Column) -> Any:
    """Returns the values of all examples."""
    file = str(column.file)
    try:
        size = place.size(file)
        is_right = size == len(store) * column.size
        content = place.read(file) if is_right else b""
    except OSError as problem:
        raise records.damaged(place, f"{file} ({problem.strerror or problem})") from problem
    if not is_right or records.hash_of(content) != column.check:
        raise records.damaged(place, f"{file} was changed or cut off")
    values = np.frombuffer(content, column.dtype).reshape(len(store), *column.shape)
    names = labelled.of_task(store.index.class_names, column.task)
    if column.part == "targets" and values.dtype.kind == "i" and values.ndim == 1 and names:
        expected = f"the records in '{place.where}' must have class ids in [0, {len(names)})"
        labelled.check_ids(values, len(names), expected=expected, fix="Write the records again.")
    return values


def _late_values(
    store: shards.Shards, column: records.Column, others: Mapping[records.Column, np.ndarray]
) -> target_columns.FileColumn:
    """Returns targets that are read in every pass, as those in files are."""
    if column.part != "targets":
        raise records.damaged(store.folder, f"no file of {column.key}")
    summary = {other.part: values for other, values in others.items() if other.task == column.task}
    rows = np.arange(len(store))
    digests = summary.get("digests", np.zeros((len(rows), target_columns.DIGEST), np.uint8))
    counts = summary.get("counts")
    if digests.shape != (len(rows), target_columns.DIGEST) or (
        counts is not None and counts.ndim != 2
    ):
        raise records.damaged(store.folder, f"digests or counts of {column.key} that cannot be")
    numbers = np.array([b"%d" % row for row in rows], object)
    reader = shards.TargetReader(store, column)
    return target_columns.FileColumn(numbers, (reader,), rows, digests, counts=counts)


def _by_task(columns: list, part: str) -> Any:
    """Returns targets, weights or origins in the form that data has them; None if there are none."""
    found = {column.task: values for column, values in columns if column.part == part}
    if not found:
        return None
    return found.get(None, found)


def _names(place: Folder, index: records.Index, count: int) -> names.Names | None:
    """Returns the names of all images."""
    if index.names is None:
        return None
    try:
        content = place.read(NAMES)
    except OSError as problem:
        raise records.damaged(place, f"{NAMES} ({problem.strerror or problem})") from problem
    if records.hash_of(content) != index.names:
        raise records.damaged(place, f"{NAMES} was changed or cut off")
    try:
        texts = names.Names(json.loads(line) for line in content.splitlines())
    except (ValueError, TypeError) as problem:
        raise records.damaged(place, f"{NAMES}: {checks.first_line(problem)}") from problem
    if len(texts) != count:
        raise records.damaged(place, f"{len(texts)} names of {count} images")
    return texts


def _sampled(place: Folder, index: records.Index, seed: int | None) -> base.Sampled | None:
    if index.sampling is None:
        return None
    options: dict = dict(index.sampling)
    lookup.find(options["sampling"], mixture.SAMPLINGS, argument="sampling")
    if seed is not None:
        options["seed"] = seed
    return functools.partial(mixture.Mixture, **options)


def _decode(store: shards.Shards) -> Any:
    """Returns all images in memory."""
    image = store.index.image
    pixels = np.empty((len(store), *image.shape), store.dtype)
    for start in range(0, len(store), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(store)))
        pixels[rows] = store.read(rows, image.size, image.channels)
    return pipeline.on_cpu(pixels)


CHUNK = 256  # images that are decoded at a time
