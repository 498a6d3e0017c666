"""From listed image files to `Data`: what all sources of files share."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # labels may hold anything

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks, labelled
from keras_transfer.data import base, pipeline, splits, stores
from keras_transfer.data.sources import boxes, decoding, keeping, sensors
from keras_transfer.data.targets import columns, encoding, masks, missing, pictures
from keras_transfer.storage import images
from keras_transfer.storage.names import Paths

__all__ = [
    "IMAGE",
    "VALIDATION",
    "Listed",
    "Options",
    "Read",
    "count_files",
    "make_data",
    "pick",
    "read",
    "shares_left",
]

VALIDATION = 0.2  # the share by default
IMAGE = "image"  # what a file is called where an image has only one


@dataclass(frozen=True)
class Options:
    """How files become batches: the arguments that all sources of files share, checked."""

    image_size: Any
    channels: int = 3
    batch_size: int = 32
    seed: int = 0
    corrupt: str = "error"
    cache: str = "auto"
    value_range: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", checks.image_size(self.image_size))
        checks.choice(self.channels, images.CHANNELS, name="channels")
        checks.integer(self.batch_size, name="batch_size")
        checks.integer(self.seed, name="seed", minimum=0)
        checks.choice(self.corrupt, ("error", "skip"), name="corrupt")
        checks.choice(self.cache, keeping.CACHES, name="cache")
        if isinstance(self.value_range, str):
            checks.choice(self.value_range, (sensors.MEASURE,), name="value_range")


@dataclass(frozen=True)
class Listed:
    """Image files and their labels, as a source lists them: what has several entries has one a file.

    Attributes:
        where: What holds them, for notes, such as a folder.
        paths: The files.
        names: What tells a file from the others of its split: it goes into the digest.
        labels: As `encoding.read` takes them, or a dict of them.
        splits: The split of each; shares are taken from "train".
        shown: How errors call each file.
        groups: Names of groups that stay in one split, such as patients; None where there are none.
        stated: Height and width of each picture as its annotation says, int `(n, 2)`, 0 where it does not; or None.
        kinds: The kind of the labels, or a dict of kinds, as for `encoding.read`; None where their form says it.
        in_shares: The targets whose boxes are in shares of the picture instead of pixels, "" for one without a name.
        ignored: Of masks in files, the value or colour of pixels that do not count, by target.
        stacks: The files of each image whose channels are put together, the first of which is in `paths`; or None.
        bands: What each file of a stack is, for notes.
    """

    where: str
    paths: Sequence[Path]
    names: Sequence[str]
    labels: Any
    splits: np.ndarray
    shown: Sequence[str]
    groups: Sequence[Any] | None = None
    stated: np.ndarray | None = None
    kinds: Any = None
    in_shares: tuple[str, ...] = ()
    ignored: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    stacks: Sequence[Sequence[Path]] | None = None
    bands: tuple[str, ...] = (IMAGE,)

    def pick(self, rows: np.ndarray) -> "Listed":
        """Returns those files only."""
        entries = {}
        for name in ("paths", "names", "labels", "splits", "shown", "groups", "stated", "stacks"):
            entries[name] = pick(getattr(self, name), rows)
        return dataclasses.replace(self, **entries)


@dataclass(frozen=True)
class Read:
    """Files that were read once.

    Attributes:
        listed: Those that can be read.
        pixels: Decoded images, or the files where they are decoded in every pass; of more files than these.
        rows: The row of `pixels` of each file.
        digests: A hash of the content of each; of the name, size and time of those that were not read.
        sizes: Height and width of each picture in its file.
        is_kept: Whether images are in memory.
        is_checked: Whether they were read before; else the first pass does.
        options: How they were read.
    """

    listed: Listed
    pixels: tf.Tensor | stores.Files
    rows: np.ndarray
    digests: Sequence[str] | np.ndarray
    sizes: np.ndarray
    is_kept: bool
    options: Options
    is_checked: bool = True

    @property
    def channels(self) -> int:
        """Of the images; those of other sensors have what their files have."""
        return (
            self.pixels.shape[-1] if isinstance(self.pixels, tf.Tensor) else self.options.channels
        )

    def of_split(self, split: str) -> np.ndarray:
        """Returns the numbers of the files of a split."""
        return np.flatnonzero(self.listed.splits == split)

    def pick(self, rows: np.ndarray) -> "Read":
        """Returns those files only."""
        return dataclasses.replace(
            self,
            listed=self.listed.pick(rows),
            rows=self.rows[rows],
            digests=pick(self.digests, rows),
            sizes=self.sizes[rows],
        )


def pick(values: Any, rows: np.ndarray) -> Any:
    """Returns some rows of an array, of a list, or of each in a dict; None of None.

    Example:
        >>> pick({"kind": ["cat", "dog"]}, np.array([1]))
        {'kind': ['dog']}
    """
    if isinstance(values, Mapping):
        return {key: pick(column, rows) for key, column in values.items()}
    if values is None or hasattr(values, "pick"):
        return None if values is None else values.pick(rows)
    return values[rows] if hasattr(values, "dtype") else [values[row] for row in rows]


def read(listed: Listed, options: Options, notes: list[str]) -> Read:
    """Reads every file once; what was decided is added to `notes`.

    Images of which so many do not fit in memory are not read before the first pass, unless their labels lie in them
    (boxes and masks are scaled with the picture), or bad files are to be left out.

    Raises:
        InputError: If files cannot be read and none may be skipped.
    """
    size, channels, paths = options.image_size, options.channels, listed.paths
    if listed.stacks is not None or options.value_range is not None:
        keep, decoded = True, _read_stacks(listed, options, notes)
    else:
        if len(paths) and sensors.has_16_bits(paths[0]):
            text = f"values of 16 bits, as in {listed.shown[0]}, lose 8 of them"
            notes.append(checks.note(f"{text}: value_range=(0, 65535) keeps all"))
        more = encoding.bytes_of(listed.kinds, size)
        keep = keeping.choose_to_keep(len(paths), size, channels, options.cache, notes, more=more)
        if not keep and _may_wait(listed, options):
            return _unread(listed, options, notes)
        decoded = decoding.decode_files(paths, size, channels=channels, keep=keep)
    if decoded.failures:
        reasons = {listed.shown[row]: why for row, why in decoded.failures.items()}
        if options.corrupt == "error":
            fix = 'Repair or remove them, or leave them out with `corrupt="skip"`.'
            raise decoding.unreadable(reasons, len(paths), fix=fix)
        files = count_files(len(reasons), "unreadable ")
        notes.append(checks.note(f"skipped {files}: {decoding.listing(reasons, 20)}"))

    rows = np.setdiff1d(np.arange(len(paths)), list(decoded.failures)).astype(np.int64)
    return Read(
        listed.pick(rows),
        pipeline.on_cpu(decoded.pixels) if keep else stores.Files(paths),
        rows,
        pick(decoded.digests, rows),
        decoded.sizes[rows],
        keep,
        options,
    )


def _may_wait(listed: Listed, options: Options) -> bool:
    """Whether files need not be read before the first pass."""
    kinds = labelled.by_task(listed.kinds).values()
    is_inside = bool({"boxes", "mask", "image"} & set(kinds)) or listed.stated is not None
    return options.cache == "auto" and options.corrupt == "error" and not is_inside


def _unread(listed: Listed, options: Options, notes: list[str]) -> Read:
    """Returns files that nobody has read, and says what that means."""
    text = "files are read for the first time in training: one that cannot be read is an error then, and copies are not"
    notes.append(checks.note(f"{text} looked for; cache='off' or corrupt='skip' checks all before"))
    digests = np.empty(len(listed.paths), "S32")
    for row, path in enumerate(listed.paths):
        state = path.stat()
        content = f"{listed.names[row]} {state.st_size} {state.st_mtime_ns}"
        found = hashlib.blake2b(content.encode(errors="surrogateescape"), digest_size=16)
        digests[row] = found.hexdigest().encode()
    rows = np.arange(len(digests))
    return Read(
        listed,
        stores.Files(listed.paths),
        rows,
        digests,
        np.zeros((len(rows), 2), np.int64),
        is_kept=False,
        options=options,
        is_checked=False,
    )


def _read_stacks(listed: Listed, options: Options, notes: list[str]) -> decoding.Decoded:
    """Reads files of other sensors, and notes how many channels they have."""
    stacks = listed.stacks
    if stacks is None:
        stacks = [(path,) for path in listed.paths]
    decoded = sensors.decode_stacks(
        stacks,
        options.image_size,
        names=listed.bands,
        value_range=options.value_range,
        cache=options.cache,
        notes=notes,
    )
    count = decoded.pixels.shape[-1]
    if options.channels not in (Options.channels, count):
        given = f"{count} in the files"
        raise checks.error(f"the images must have `channels={options.channels}`", given=given)
    if count != Options.channels:
        text = f"the images have {count} channel{'s' if count > 1 else ''}"
        notes.append(checks.note(f"{text}: make the backbone with `channels={count}`"))
    return decoded


def make_data(
    files: Read,
    *,
    shares: Mapping[str, float],
    class_names: Any = None,
    notes: list[str],
) -> base.Data:
    """Encodes the labels of files, assigns those of "train" to splits and makes their data sets.

    Files of equal content, and those of one group, stay in one split.

    Args:
        files: From `read`.
        shares: Held-out splits to their shares of the training images.
        class_names: As for `encoding.read`.
        notes: What was decided before.
    """
    is_trained_on = "train" in files.listed.splits
    if len(files.rows):
        files, targets, names, present = _encode(files, class_names, notes)
    if not len(files.rows) or (is_trained_on and "train" not in files.listed.splits):
        raise checks.error("there must be images to train on", given="none that can be used")
    listed, options = files.listed, files.options
    weights = None
    if not missing.complete(present):
        weights = missing.weights_of(targets, present)
        notes += missing.note_missing([weights])
    every = pipeline.Examples(files.pixels, files.rows, targets, files.channels, weights)

    rows = {split: files.of_split(split) for split in base.SPLITS}
    labels = splits.labels_of(targets, names, weights)
    units = _Units.of(files, rows)
    rows |= _assign(files, labels, units, shares, notes)
    notes += _notes_on_known(files, rows)
    examples = {split: every.pick(chosen) for split, chosen in rows.items() if len(chosen)}
    if "train" in examples:
        fix = "Give images of it, or another `seed`."
        train = examples["train"]
        notes += encoding.check_present(train.targets, names, weights=train.weights, fix=fix)
    together = splits.units_of(units.keys, copies=units.copies, groups=units.groups)
    return base.from_examples(
        examples,
        class_names=names,
        image_size=options.image_size,
        batch_size=options.batch_size,
        seed=options.seed,
        digest=_digest(files, targets),
        files={split: _texts(listed.paths, rows[split]) for split in examples},
        notes=notes,
        groups={split: together[rows[split]] for split in examples},
    )


def _texts(paths: Sequence[Path], rows: np.ndarray) -> Sequence[str]:
    if isinstance(paths, Paths):
        return paths.names.pick(rows)
    return [str(paths[row]) for row in rows]


def shares_left(shares: Mapping[str, Any], named: Sequence[str] | np.ndarray) -> dict[str, float]:
    """Returns the shares to take from the training images: none for a split whose images are named.

    Args:
        shares: What the user asked for, by split.
        named: The split of each image.

    Example:
        >>> shares_left({"validation": 0.2, "test": None}, ["train", "train"])
        {'validation': 0.2}
    """
    if "train" not in named:
        raise checks.error("there must be images to train on", given="none")
    chosen = {}
    for split, share in shares.items():
        if split not in named:
            chosen[split] = share
        elif share not in (None, VALIDATION):
            given = f"{share!r}, and images that are named for {split}"
            raise checks.error(f"`{split}` must not be given twice", given=given)
    return splits.check_shares({name: share for name, share in chosen.items() if share is not None})


def count_files(count: int, kind: str = "") -> str:
    """Returns how many files there are, in words.

    Example:
        >>> count_files(1), count_files(2, "unreadable ")
        ('1 file', '2 unreadable files')
    """
    return f"1 {kind}file" if count == 1 else f"{count} {kind}files"


def _encode(
    files: Read, class_names: Any, notes: list[str]
) -> tuple[Read, pipeline.Columns, Any, missing.Present]:
    """Encodes all labels.

    Returns:
        The files whose labels can be, their targets, class names, and which labels are there.
    """
    listed = files.listed
    notes += _notes_on_sizes(listed, files.sizes)
    refuses = files.options.corrupt == "error"
    faults = pictures.Faults(refuses, names=listed.shown, notes=notes)
    targets, names, present = {}, {}, {}
    for key, labels in labelled.by_task(listed.labels).items():
        if key in listed.in_shares:
            labels = boxes.in_pixels(labels, files.sizes)
        own = labelled.of_task(class_names, key) if key else class_names
        found = _encode_one(files, key, labels, own, faults)
        targets[key], own_names, present[key] = found
        if own_names is not None:
            names[key] = own_names

    if faults.reasons:
        rows = np.setdiff1d(np.arange(len(files.rows)), list(faults.reasons))
        notes.append(faults.note())
        files, targets = files.pick(rows), pick(targets, rows)
        present = pick(present, rows)
    if not isinstance(listed.labels, Mapping):
        return files, targets[""], names.get(""), present[""]
    return files, targets, names or None, None if missing.complete(present) else present


def _encode_one(
    files: Read, key: str, labels: Any, class_names: Any, faults: pictures.Faults
) -> tuple[Any, Any, missing.Present]:
    """Encodes the labels of one target, as `encoding.read` does."""
    listed = files.listed
    name = f"targets[{key!r}]" if key else "labels"
    kind = labelled.of_task(listed.kinds, key) if key else listed.kinds
    sizes = pictures.Pictures(files.options.image_size, files.sizes)
    if kind != "mask":
        return encoding.read(
            labels,
            class_names=class_names,
            kinds=kind,
            sizes=sizes,
            keep=files.is_kept,
            faults=faults,
            name=name,
        )
    present = np.array([label is not None for label in labels], bool)
    if not present.any():
        raise missing.all_blank(name, len(present))
    column, names = masks.read_files(
        labels,
        sizes=sizes,
        classes=class_names,
        ignored=listed.ignored.get(key, masks.IGNORED),
        keep=files.is_kept,
        faults=faults,
        name=name,
    )
    return column, names, None if present.all() else present


def _notes_on_sizes(listed: Listed, sizes: np.ndarray) -> list[str]:
    """Notes pictures of another size than their annotation says: their boxes may lie elsewhere."""
    if listed.stated is None:
        return []
    is_other = (listed.stated > 0).all(axis=1) & (listed.stated != sizes).any(axis=1)
    rows = np.flatnonzero(is_other)
    if not len(rows):
        return []
    first = rows[0]
    images = "1 image has" if len(rows) == 1 else f"{len(rows)} images have"
    height, width = sizes[first]
    stated = f"{listed.stated[first][1]}x{listed.stated[first][0]}"
    text = f"{images} another size than their annotations say, such as {listed.shown[first]}"
    end = f"{width}x{height} pixels, not {stated}: boxes may lie elsewhere"
    return [checks.note(f"{text} of {end}")]


@dataclass(frozen=True)
class _Units:
    """Numbers of files, for `splits.assign`: of their names, their contents and their groups."""

    keys: np.ndarray
    copies: np.ndarray | None
    groups: np.ndarray | None

    @classmethod
    def of(cls, files: Read, rows: Mapping[str, np.ndarray]) -> "_Units":
        """Numbers files whose splits are `rows`; no group may be in two of them."""
        listed = files.listed
        named = zip(listed.splits, listed.names, strict=True)
        names = (name if split == "train" else f"{split}/{name}" for split, name in named)
        copies = np.unique(files.digests, return_inverse=True)[1] if files.is_checked else None
        if listed.groups is None:
            return cls(splits.numbers_of(names), copies, None)

        groups = splits.groups_of(listed.groups, len(listed.names))
        by_split = {split: groups[chosen] for split, chosen in rows.items()}
        shown = {split: pick(listed.groups, chosen) for split, chosen in rows.items()}
        splits.check_apart(by_split, shown)
        return cls(splits.numbers_of(names), copies, groups)

    def pick(self, rows: np.ndarray) -> "_Units":
        """Returns the numbers of those files only."""
        return _Units(self.keys[rows], pick(self.copies, rows), pick(self.groups, rows))


def _assign(
    files: Read, labels: np.ndarray, units: _Units, shares: Mapping[str, float], notes: list[str]
) -> dict[str, np.ndarray]:
    """Returns the rows of training and of the splits that get a share of it."""
    train = files.of_split("train")
    if not len(train):
        return {}
    labels, units = labels[train], units.pick(train)
    extra = 0 if units.copies is None else len(train) - len(np.unique(units.copies))
    if units.copies is not None and extra:
        text = "1 file is a copy" if extra == 1 else f"{extra} files are copies"
        end = f"of others in {files.listed.where}; copies stay together, in one split"
        notes.append(checks.note(f"{text} {end}"))
        if labels.ndim == 1 and units.groups is None:
            notes += _notes_on_mixed(files.listed.pick(train), labels, units.copies)
    parts = splits.assign(
        labels,
        shares,
        seed=files.options.seed,
        copies=units.copies,
        groups=units.groups,
        keys=units.keys,
    )
    notes += splits.note_empty(parts, shares)
    return {split: train[rows] for split, rows in parts.items()}


def _notes_on_mixed(listed: Listed, ids: np.ndarray, copies: np.ndarray) -> list[str]:
    """Notes images of several classes."""
    order = np.lexsort((ids, copies))
    is_same = copies[order][1:] == copies[order][:-1]
    is_mixed = is_same & (ids[order][1:] != ids[order][:-1])
    mixed = np.unique(copies[order][1:][is_mixed])
    if not len(mixed):
        return []
    names = pick(listed.names, np.flatnonzero(copies == mixed[0]))
    one = "1 image has copies" if len(mixed) == 1 else f"{len(mixed)} images have copies"
    text = f"{one} in several classes, such as {', '.join(names)}: all are trained on"
    return [checks.note(text)]


def _notes_on_known(files: Read, rows: Mapping[str, np.ndarray]) -> list[str]:
    """Notes held-out files whose content is trained on."""
    notes: list[str] = []
    if not files.is_checked:
        return notes
    known = set(pick(files.digests, rows["train"]))
    for split in [split for split in rows if split != "train"]:
        copies = sum(digest in known for digest in pick(files.digests, rows[split]))
        if copies:
            text = (
                f"{copies} of {len(rows[split])} {split} images are among the training images, too"
            )
            notes.append(checks.note(f"{text}: scores on them are too good"))
    return notes


def _digest(files: Read, targets: Any) -> str:
    result = hashlib.blake2b(digest_size=16)
    listed = files.listed
    for split, name, digest in zip(listed.splits, listed.names, files.digests, strict=True):
        result.update(f"{split}\0{name}\0{digest}\n".encode(errors="surrogateescape"))
    for key, column in labelled.by_task(targets).items():
        result.update(f"{key} {column.dtype} {column.shape}".encode())
        result.update(columns.content(column))
    return result.hexdigest()
