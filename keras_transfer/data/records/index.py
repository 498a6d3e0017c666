"""What a folder of records holds, as `records.json` tells it; read without trusting it."""

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from keras_transfer.core import checks
from keras_transfer.storage.remote import Folder

__all__ = [
    "FILE",
    "IMAGE",
    "PARTIAL",
    "SPLITS",
    "Column",
    "Image",
    "Index",
    "Shard",
    "damaged",
    "hash_of",
    "shard_of",
]

FILE, PARTIAL = "records.json", "records.partial"
FORMAT = 1
SPLITS = ("train", "validation", "test")
IMAGE = "image"  # the name of the image in a record
PARTS = ("targets", "weights", "origins", "groups", "digests", "counts")
SHARD = re.compile(r"(train|validation|test)-\d{5,9}")
MOST_JSON = 2**26  # bytes
MOST_VALUES = 2**28  # of one image or target
INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
DTYPES = (*INTEGERS, "float16", "float32", "float64")
RECORD = np.dtype([("end", "<i8"), ("check", "<u4")])  # of an index beside a shard

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """One file of records.

    Attributes:
        name: Of the file, without its ending.
        count: How many records it has.
        size: How many bytes it has.
        check: Checksum of the index beside it, which has those of the records.
    """

    name: str
    count: int
    size: int
    check: str

    @property
    def split(self) -> str:
        """Whose examples it holds."""
        return self.name.partition("-")[0]


@dataclass(frozen=True)
class Column:
    """Targets, weights, origins or groups of all examples.

    Attributes:
        part: One of `PARTS`; "digests" and "counts" are those of the targets that are in the records only.
        task: The name of the target, None if it has none.
        dtype: Of the values.
        shape: Of those of one example.
        file: With the values of all examples; None if they are in the records only.
        check: Checksum of the file.
    """

    part: str
    task: str | None
    dtype: str
    shape: tuple[int, ...]
    file: str | None = None
    check: str | None = None

    @property
    def key(self) -> str:
        """The name of the value in a record."""
        return self.part if self.task is None else f"{self.part}/{self.task}"

    @property
    def size(self) -> int:
        """How many bytes one example takes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Image:
    """How records hold images.

    Attributes:
        form: "file", the bytes of an image file; "array", those of an array of the batch's size.
        dtype: Of the images in a batch, before they become float32.
        size: Height and width in a batch.
        channels: In a batch.
    """

    form: str
    dtype: str
    size: tuple[int, int]
    channels: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape in a batch."""
        return (*self.size, self.channels)


@dataclass(frozen=True)
class Index:
    """What a folder of records holds.

    Attributes:
        image: How records hold images.
        counts: Split to its number of examples.
        shards: In the order of the examples: training, validation, test.
        columns: Targets, weights, origins and groups.
        digest: Of the data.
        batch_size: Of the data.
        seed: Of the data.
        class_names: Of the data.
        names: Checksum of the file with the names of the images, None without one.
        sampling: Arguments of the `Mixture`, for data of `kt.data.mix`.
        notes: Of the data.
        kinds: The kind of each target, by its name, "" for one without.
    """

    image: Image
    counts: Mapping[str, int]
    shards: tuple[Shard, ...]
    columns: tuple[Column, ...]
    digest: str
    batch_size: int
    seed: int
    class_names: Any = None
    names: str | None = None
    sampling: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = field(default=())
    kinds: Mapping[str, str] = field(default_factory=dict)

    def save(self, folder: Folder) -> None:
        """Writes `records.json`."""
        content = {"format": FORMAT, **dataclasses.asdict(self)}
        content["check"] = _check_of(content)
        folder.write(FILE, json.dumps(content, indent=1).encode())

    @classmethod
    def load(cls, folder: Folder) -> "Index":
        """Reads `records.json`, and raises an error if anything in it cannot be."""
        content = _read_json(folder)
        try:
            return _parse(content)
        except _UnfitError as unfit:
            raise damaged(folder, f"{FILE}: {unfit}") from None


class _UnfitError(ValueError):
    """Says what in an index cannot be."""


def hash_of(content: bytes | memoryview) -> str:
    """Returns the checksum of a file.

    Example:
        >>> len(hash_of(b"content"))
        32
    """
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def damaged(folder: Folder, what: str) -> checks.InputError:
    """The error for records that are not what was written."""
    fix = "Copy the folder again, or write the records again."
    return checks.error(f"the records in '{folder.where}' must be whole", given=what, fix=fix)


def _check_of(content: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in content.items() if key != "check"}
    return hash_of(json.dumps(rest, sort_keys=True).encode())


def _read_json(folder: Folder) -> Any:
    try:
        if folder.size(FILE) > MOST_JSON:
            raise damaged(folder, f"{FILE} of {folder.size(FILE)} bytes")
        text = folder.read(FILE)
    except OSError as missing:
        raise _absent(folder) from missing
    try:
        content = json.loads(text)
        is_whole = isinstance(content, dict) and content.get("check") == _check_of(content)
    except (ValueError, RecursionError) as problem:
        raise damaged(folder, f"{FILE}: {checks.first_line(problem)}") from problem
    if not is_whole:
        raise damaged(folder, f"{FILE} was changed or cut off")
    if content.get("format") != FORMAT:
        fix = "Read them with the version of keras_transfer that wrote them."
        given = f"format {str(content.get('format'))[:20]!r}"
        raise checks.error(f"records must have format {FORMAT}", given=given, fix=fix)
    return content


def _absent(folder: Folder) -> checks.InputError:
    if PARTIAL in folder.names():
        given = f"'{folder.where}', which was not finished"
        fix = "Call kt.data.write_records again: it goes on where it stopped."
    else:
        given = f"'{folder.where}' without {FILE}"
        fix = "kt.data.write_records(data, folder) writes one."
    return checks.error(f"`{folder.argument}` must be a folder of records", given=given, fix=fix)


def _parse(content: Mapping[str, Any]) -> Index:
    image = _image(_entry(content, "image", dict))
    shards = tuple(shard_of(each) for each in _entry(content, "shards", list))
    columns = tuple(_column(each) for each in _entry(content, "columns", list))
    counts = {}
    for split, count in _entry(content, "counts", dict).items():
        counts[_one_of(split, SPLITS, "split")] = _whole(count, "count", 1)
    for split in SPLITS:
        held = sum(shard.count for shard in shards if shard.split == split)
        if held != counts.get(split, 0):
            raise _UnfitError(f"{held} {split} records in shards, {counts.get(split, 0)} in all")
    if len({shard.name for shard in shards}) < len(shards) or not shards:
        raise _UnfitError("shards must differ, and there must be one")
    _check_columns(columns)
    return Index(
        image=image,
        counts={split: counts[split] for split in SPLITS if split in counts},
        shards=tuple(sorted(shards, key=lambda shard: (SPLITS.index(shard.split), shard.name))),
        columns=columns,
        digest=_entry(content, "digest", str),
        batch_size=_whole(content.get("batch_size"), "batch_size", 1),
        seed=_whole(content.get("seed"), "seed", 0),
        class_names=_class_names(content.get("class_names")),
        names=_optional(content, "names", str),
        sampling=_sampling(content.get("sampling")),
        notes=tuple(_text(each, "notes") for each in _entry(content, "notes", list)),
        kinds={key: _text(kind, "kinds") for key, kind in _entry(content, "kinds", dict).items()},
    )


def _image(entry: Mapping[str, Any]) -> Image:
    size = _shape(entry.get("size"), "image size")
    image = Image(
        form=_one_of(entry.get("form"), ("file", "array"), "form of images"),
        dtype=_one_of(entry.get("dtype"), ("uint8", "float32"), "type of images"),
        size=(size[0], size[1]) if len(size) == 2 else (0, 0),
        channels=_whole(entry.get("channels"), "channels", 1),
    )
    if not 0 < math.prod(image.shape) <= MOST_VALUES:
        raise _UnfitError(f"images of shape {image.shape}")
    if image.form == "file" and (image.dtype != "uint8" or image.channels not in (1, 3, 4)):
        raise _UnfitError(f"image files of {image.channels} channels of {image.dtype}")
    return image


def shard_of(entry: Any) -> Shard:
    """Reads what an index tells of a shard; raises `ValueError` if that cannot be."""
    name = _entry(entry, "name", str)
    if not SHARD.fullmatch(name):
        raise _UnfitError(f"a shard named {name[:80]!r}")
    return Shard(
        name=name,
        count=_whole(entry.get("count"), "count", 1),
        size=_whole(entry.get("size"), "size", 1),
        check=_entry(entry, "check", str),
    )


def _column(entry: Any) -> Column:
    file = _optional(entry, "file", str)
    if file is not None and not re.fullmatch(r"column-\d{1,5}\.bin", file):
        raise _UnfitError(f"a column in {file[:80]!r}")
    column = Column(
        part=_one_of(_entry(entry, "part", str), PARTS, "part"),
        task=_optional(entry, "task", str),
        dtype=_one_of(entry.get("dtype"), DTYPES, "type"),
        shape=_shape(entry.get("shape"), "shape"),
        file=file,
        check=_optional(entry, "check", str),
    )
    if math.prod(column.shape) > MOST_VALUES:
        raise _UnfitError(f"targets of shape {column.shape}")
    return column


def _check_columns(columns: tuple[Column, ...]) -> None:
    keys = [column.key for column in columns]
    targets = [column.task for column in columns if column.part == "targets"]
    weights = [column.task for column in columns if column.part == "weights"]
    is_named = None not in targets
    is_right = len(set(keys)) == len(keys) and targets and (is_named or len(targets) == 1)
    if not is_right or (weights and sorted(map(str, weights)) != sorted(map(str, targets))):
        raise _UnfitError(f"columns {', '.join(keys)[:200]}")


def _class_names(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, dict):
        return {task: _class_names(names) for task, names in value.items()}
    if not isinstance(value, list) or not value:
        raise _UnfitError("class names that are no list")
    return [_text(name, "class names") for name in value]


def _sampling(value: Any) -> dict | None:
    if value is None:
        return None
    sampling = _entry({"sampling": value}, "sampling", dict)
    number = sampling.get("temperature")
    if not isinstance(number, int | float) or not 1 <= number < math.inf:
        raise _UnfitError("a sampling without a temperature")
    return {
        "sampling": _entry(sampling, "sampling", str),
        "temperature": float(number),
        "batch_size": _whole(sampling.get("batch_size"), "batch_size", 1),
        "seed": _whole(sampling.get("seed"), "seed", 0),
    }


def _entry(values: Any, name: str, kind: type[T]) -> T:
    value = values.get(name) if isinstance(values, Mapping) else None
    if not isinstance(value, kind):
        raise _UnfitError(f"no {name} as {kind.__name__}")
    return value


def _optional(values: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    return None if values.get(name) is None else _entry(values, name, kind)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise _UnfitError(f"{name} that are no text")
    return value


def _whole(value: Any, name: str, minimum: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value < 2**62:
        raise _UnfitError(f"{name} {str(value)[:20]}")
    return value


def _shape(value: Any, name: str) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > 8:
        raise _UnfitError(f"{name} {str(value)[:40]}")
    return tuple(_whole(side, name, 0) for side in value)


def _one_of(value: Any, allowed: tuple[str, ...], name: str) -> str:
    if value not in allowed:
        raise _UnfitError(f"{name} {str(value)[:40]!r}")
    return value
