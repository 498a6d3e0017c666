"""Listed image files, and how each is read once: what all sources of files share."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # labels may hold anything

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks, labelled
from keras_transfer.data import picking, pipeline, stores
from keras_transfer.data.sources import decoding, keeping, sensors
from keras_transfer.data.targets import encoding
from keras_transfer.storage import images

__all__ = [
    "IMAGE",
    "VALIDATION",
    "Listed",
    "Options",
    "Read",
    "count_files",
    "read",
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
            entries[name] = picking.pick(getattr(self, name), rows)
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
            digests=picking.pick(self.digests, rows),
            sizes=self.sizes[rows],
        )


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
        picking.pick(decoded.digests, rows),
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


def count_files(count: int, kind: str = "") -> str:
    """Returns how many files there are, in words.

    Example:
        >>> count_files(1), count_files(2, "unreadable ")
        ('1 file', '2 unreadable files')
    """
    return f"1 {kind}file" if count == 1 else f"{count} {kind}files"
