"""From files that were read once to `Data`: what all sources of files share."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # labels may hold anything

import numpy as np

from keras_transfer.core import checks, labelled
from keras_transfer.data import base, picking, pipeline, splits
from keras_transfer.data.sources import boxes, reading
from keras_transfer.data.targets import columns, encoding, masks, missing, pictures
from keras_transfer.storage.names import Paths

__all__ = ["load", "make_data", "shares_left"]


def load(
    listed: reading.Listed,
    options: reading.Options,
    held: Mapping[str, Any],
    *,
    class_names: Any,
    notes: list[str],
    folder: str | os.PathLike,
) -> base.Data:
    """Reads listed files and makes their data: the end of every source that lists files.

    Args:
        listed: Files and labels.
        options: How they become batches.
        held: What the user asked for, by held-out split: shares, or None.
        class_names: As for `encoding.read`.
        notes: What was decided before.
        folder: Where the files were read from, as the user named it.
    """
    shares = shares_left(held, listed.splits)
    files = reading.read(listed, options, notes)
    data = make_data(files, shares=shares, class_names=class_names, notes=notes)
    data.folder = str(folder)
    return data


def make_data(
    files: reading.Read,
    *,
    shares: Mapping[str, float],
    class_names: Any = None,
    notes: list[str],
) -> base.Data:
    """Encodes the labels of files, assigns those of "train" to splits and makes their data sets.

    Files of equal content, and those of one group, stay in one split.

    Args:
        files: From `reading.read`.
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
        elif share not in (None, reading.VALIDATION):
            given = f"{share!r}, and images that are named for {split}"
            raise checks.error(f"`{split}` must not be given twice", given=given)
    return splits.check_shares({name: share for name, share in chosen.items() if share is not None})


def _encode(
    files: reading.Read, class_names: Any, notes: list[str]
) -> tuple[reading.Read, pipeline.Columns, Any, missing.Present]:
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
        files, targets = files.pick(rows), picking.pick(targets, rows)
        present = picking.pick(present, rows)
    if not isinstance(listed.labels, Mapping):
        return files, targets[""], names.get(""), present[""]
    return files, targets, names or None, None if missing.complete(present) else present


def _encode_one(
    files: reading.Read, key: str, labels: Any, class_names: Any, faults: pictures.Faults
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


def _notes_on_sizes(listed: reading.Listed, sizes: np.ndarray) -> list[str]:
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
    def of(cls, files: reading.Read, rows: Mapping[str, np.ndarray]) -> "_Units":
        """Numbers files whose splits are `rows`; no group may be in two of them."""
        listed = files.listed
        named = zip(listed.splits, listed.names, strict=True)
        names = (name if split == "train" else f"{split}/{name}" for split, name in named)
        copies = np.unique(files.digests, return_inverse=True)[1] if files.is_checked else None
        if listed.groups is None:
            return cls(splits.numbers_of(names), copies, None)

        groups = splits.groups_of(listed.groups, len(listed.names))
        by_split = {split: groups[chosen] for split, chosen in rows.items()}
        shown = {split: picking.pick(listed.groups, chosen) for split, chosen in rows.items()}
        splits.check_apart(by_split, shown)
        return cls(splits.numbers_of(names), copies, groups)

    def pick(self, rows: np.ndarray) -> "_Units":
        """Returns the numbers of those files only."""
        return _Units(
            self.keys[rows], picking.pick(self.copies, rows), picking.pick(self.groups, rows)
        )


def _assign(
    files: reading.Read,
    labels: np.ndarray,
    units: _Units,
    shares: Mapping[str, float],
    notes: list[str],
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


def _notes_on_mixed(listed: reading.Listed, ids: np.ndarray, copies: np.ndarray) -> list[str]:
    """Notes images of several classes."""
    order = np.lexsort((ids, copies))
    is_same = copies[order][1:] == copies[order][:-1]
    is_mixed = is_same & (ids[order][1:] != ids[order][:-1])
    mixed = np.unique(copies[order][1:][is_mixed])
    if not len(mixed):
        return []
    names = picking.pick(listed.names, np.flatnonzero(copies == mixed[0]))
    one = "1 image has copies" if len(mixed) == 1 else f"{len(mixed)} images have copies"
    text = f"{one} in several classes, such as {', '.join(names)}: all are trained on"
    return [checks.note(text)]


def _notes_on_known(files: reading.Read, rows: Mapping[str, np.ndarray]) -> list[str]:
    """Notes held-out files whose content is trained on."""
    notes: list[str] = []
    if not files.is_checked:
        return notes
    known = set(picking.pick(files.digests, rows["train"]))
    for split in [split for split in rows if split != "train"]:
        copies = sum(digest in known for digest in picking.pick(files.digests, rows[split]))
        if copies:
            text = (
                f"{copies} of {len(rows[split])} {split} images are among the training images, too"
            )
            notes.append(checks.note(f"{text}: scores on them are too good"))
    return notes


def _digest(files: reading.Read, targets: Any) -> str:
    result = hashlib.blake2b(digest_size=16)
    listed = files.listed
    for split, name, digest in zip(listed.splits, listed.names, files.digests, strict=True):
        result.update(f"{split}\0{name}\0{digest}\n".encode(errors="surrogateescape"))
    for key, column in labelled.by_task(targets).items():
        result.update(f"{key} {column.dtype} {column.shape}".encode())
        result.update(columns.content(column))
    return result.hexdigest()
