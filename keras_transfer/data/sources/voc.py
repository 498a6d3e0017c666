"""Boxes from annotation files of the PASCAL VOC form: one XML file a picture."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from defusedxml import ElementTree as SafeTree
from defusedxml.common import DefusedXmlException

from keras_transfer.core import checks, lookup
from keras_transfer.data import base, picking
from keras_transfer.data.sources import boxes, file_data, matching, reading
from keras_transfer.data.sources.problems import Problems
from keras_transfer.machine import progress
from keras_transfer.storage import listing, texts

__all__ = ["from_voc"]

CORNERS = ("xmin", "ymin", "xmax", "ymax")
MOST_BYTES = 2**24  # of one annotation file


class Parsed(NamedTuple):
    """What an annotation file says."""

    label: dict[str, list]
    stated: tuple[int, int]


def from_voc(
    folder: str | os.PathLike,
    *,
    images: str = "JPEGImages",
    annotations: str = "Annotations",
    classes: Sequence[str] | None = None,
    test: float | None = None,
    validation: float | None = reading.VALIDATION,
    image_size: int | tuple[int, int] = 224,
    channels: int = 3,
    batch_size: int = 32,
    seed: int = 0,
    corrupt: str = "error",
    cache: str = "auto",
) -> base.Data:
    """Reads pictures whose boxes are in XML files, as PASCAL VOC has them and many tools write them.

    A picture and its XML file have the same name, but for the ending. They lie in two folders, or side by side, in
    `folder` or in folders "train", "valid" and "test" in it. `ImageSets/Main/train.txt`, `val.txt` and `test.txt` say
    which split a picture is in, if they are there. Coordinates are taken as they stand, as pixels from the upper left
    corner; difficult objects are ignored ones; boxes without area are left out.

    Args:
        folder: Holds everything.
        images: The folder of pictures in it.
        annotations: The folder of XML files in it.
        classes: Names of the classes; by default those that occur, sorted.
        test: Share of the pictures to hold out for testing, where no list or folder says which.
        validation: Share of the pictures to hold out for validation, in the same way.
        image_size: As for `kt.data.from_folder`; boxes are moved along.
        channels: As for `kt.data.from_folder`.
        batch_size: Pictures in a batch.
        seed: Equal seeds give equal splits and orders.
        corrupt: "error" refuses files that cannot be read and wrong annotations, "skip" leaves these pictures out; both
            name them.
        cache: As for `kt.data.from_folder`.

    Returns:
        The batches; targets are boxes.

    Raises:
        InputError: If pictures or annotations cannot be read, or boxes lie outside of their picture.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> box = "<bndbox><xmin>2</xmin><ymin>1</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"
        >>> text = f"<annotation><object><name>cat</name>{box}</object></annotation>"
        >>> for number in range(3):
        ...     Image.new("RGB", (16, 12), (50 * number, 0, 0)).save(root / f"{number}.png")
        ...     _ = (root / f"{number}.xml").write_text(text)
        >>> from_voc(root, image_size=8)
        keras_transfer: 3 images are resized to 8x8 pixels and kept in memory (0.0 MB)...
        Data(train=2, validation=1, classes=1, image_size=8x8, batch_size=32)
    """
    options = reading.Options(image_size, channels, batch_size, seed, corrupt, cache)
    root = listing.folder_of(folder, "folder")
    notes: list[str] = []
    pairs, split_names = _find_files(root, images, annotations, notes)
    gathered, problems = boxes.Gathered(), Problems()
    known = None if classes is None else [str(name) for name in classes]

    kept, stated = [], []
    read = progress.follow(
        pairs, f"Reading {len(pairs):,} annotations", total=len(pairs), unit="file"
    )
    for at, pair in enumerate(read):
        size = _read(pair.annotation, pair.name, gathered, problems, known)
        if size is not None:
            kept.append(at)
            stated.append(size)
    rows = np.array(kept, np.int64)
    notes += problems.settle(corrupt, what="annotation", where=f"'{root}'")
    notes += gathered.note_flat()

    pairs = picking.pick(pairs, rows)
    named = picking.pick(split_names, rows)
    listed = reading.Listed(
        where=f"'{root}'",
        paths=[pair.image for pair in pairs],
        names=[pair.name for pair in pairs],
        labels=[gathered.label(pair.name) for pair in pairs],
        splits=named,
        shown=[pair.name for pair in pairs],
        stated=np.array(stated, np.int64).reshape(-1, 2),
        kinds="boxes",
    )
    held = {"test": test, "validation": validation}
    return file_data.load(listed, options, held, class_names=known, notes=notes, folder=root)


def _find_files(
    root: Path, images: str, annotations: str, notes: list[str]
) -> tuple[list[matching.Pair], np.ndarray]:
    """Returns pictures with their XML files, and the split of each."""
    if (root / annotations).is_dir():
        pictures = listing.folder_of(root / images, "images")
        pairs = matching.match(pictures, root / annotations, (".xml",), notes, what="annotation")
        splits = _listed_splits(root / "ImageSets" / "Main", [pair.name for pair in pairs], notes)
        rows = np.flatnonzero(splits != "")
        return picking.pick(pairs, rows), splits[rows]
    folders = matching.split_folders(root)
    if not any(folders.values()):
        folders = {"train": root}
    pairs = []
    names: list[str] = []
    for split, inside in folders.items():
        found = matching.match(inside, inside, (".xml",), notes, what="annotation")
        if len(folders) > 1:
            found = [pair._replace(name=f"{inside.name}/{pair.name}") for pair in found]
        pairs += found
        names += [split] * len(found)
    return pairs, np.array(names, object)


def _listed_splits(folder: Path, names: Sequence[str], notes: list[str]) -> np.ndarray:
    """Returns the split of each picture by the lists in a folder, "" for those in none; all train without lists."""
    lists = {}
    for file, split in (("train", "train"), ("val", "validation"), ("test", "test")):
        path = folder / f"{file}.txt"
        if path.is_file():
            text, _ = texts.read_text(path, argument="folder")
            lists[split] = {line.split()[0] for line in text.splitlines() if line.strip()}
            if not lists[split]:
                raise checks.error(
                    "a list of a split must name pictures", given=f"none in '{path}'"
                )
    if "train" not in lists:
        return np.array(["train"] * len(names), object)

    splits = np.array([""] * len(names), object)
    stems = [Path(name).with_suffix("").as_posix() for name in names]
    for row, stem in enumerate(stems):
        found = [split for split, members in lists.items() if stem in members]
        if len(found) > 1:
            given = f"{stem!r} in {lookup.some(found)}"
            raise checks.error(f"a picture must be in one list of '{folder}'", given=given)
        splits[row] = found[0] if found else ""
    absent = set().union(*lists.values()) - set(stems)
    if absent:
        given = f"{len(absent)} without, such as {lookup.some(sorted(absent), most=3)}"
        expected = f"every picture in the lists of '{folder}' must have a file and an annotation"
        raise checks.error(expected, given=given)
    text = ", ".join(f"{(splits == split).sum()} {split}" for split in lists)
    notes.append(checks.note(f"the lists in '{folder}' say which images are which: {text}"))
    unlisted = int((splits == "").sum())
    if unlisted:
        notes.append(checks.note(f"left out {reading.count_files(unlisted)} in no list"))
    return splits


def _read(
    path: Path, name: str, gathered: boxes.Gathered, problems: Problems, known: Sequence[str] | None
) -> tuple[int, int] | None:
    """Reads one annotation; what is wrong with it is a problem of its name.

    Returns:
        Height and width of the picture as it says, 0 where it does not; None if it cannot be used.
    """
    place = path.name
    try:
        tree = SafeTree.fromstring(
            texts.read_bytes(path, argument="annotations", most=MOST_BYTES), forbid_dtd=True
        )
    except DefusedXmlException:
        problems.add(place, "it declares entities, which are never read")
        return None
    except checks.InputError as refused:
        problems.add(place, str(refused))
        return None
    except (ElementTree.ParseError, LookupError, ValueError) as broken:
        problems.add(place, f"no whole XML: {checks.first_line(broken)}")
        return None

    gathered.begin(name)
    for number, item in enumerate(tree.findall("object"), start=1):
        reason = _add_object(item, name, f"{place}, object {number}", gathered, known)
        if reason:
            problems.add(place, f"object {number}: {reason}")
            return None
    return _number(tree, "size/height"), _number(tree, "size/width")


def _add_object(
    item: Any, name: str, place: str, gathered: boxes.Gathered, known: Sequence[str] | None
) -> str:
    """Adds an object to what was gathered, or says why it cannot."""
    label = (item.findtext("name") or "").strip()
    if not label:
        return "no name"
    if known is not None and label not in known:
        return f"{label!r} is no class ({lookup.hint(label, known)[:-1]})"
    corners = [item.findtext(f"bndbox/{corner}") for corner in CORNERS]
    if None in corners:
        return "no bndbox with xmin, ymin, xmax and ymax"
    is_difficult = (item.findtext("difficult") or "").strip() == "1"
    return gathered.add(name, corners, label, ignored=is_difficult, place=place)


def _number(tree: Any, path: str) -> int:
    """Returns a whole number of an annotation, 0 where there is none."""
    text = (tree.findtext(path) or "").strip()
    return int(text) if text.isdecimal() and len(text) < 7 else 0
