"""Boxes from annotation files of the COCO form: one JSON file for all pictures."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # JSON may hold anything

import numpy as np

from keras_transfer.core import checks, lookup
from keras_transfer.data import base
from keras_transfer.data.sources import boxes, file_data, reading
from keras_transfer.data.sources.problems import Problems
from keras_transfer.storage import listing, texts

__all__ = ["from_coco"]

PARTS = ("images", "annotations", "categories")

Pair = tuple[str | os.PathLike, str | os.PathLike]


def from_coco(
    annotations: str | os.PathLike,
    *,
    images: str | os.PathLike,
    classes: Sequence[str] | None = None,
    test: float | Pair | None = None,
    validation: float | Pair | None = reading.VALIDATION,
    image_size: int | tuple[int, int] = 224,
    channels: int = 3,
    batch_size: int = 32,
    seed: int = 0,
    corrupt: str = "error",
    cache: str = "auto",
) -> base.Data:
    """Reads pictures whose boxes are in a JSON file of the COCO form.

    A picture without annotations shows no objects. Crowds are ignored boxes, boxes without area are left out, and so
    are outlines (segmentation): only boxes are read. Categories without a box are no classes.

    Args:
        annotations: The JSON file, such as "instances_train2017.json".
        images: The folder that its names of files start from and must not leave.
        classes: Names of the classes; by default the categories in the order of their ids.
        test: Share of the pictures to hold out for testing, or `(annotations, images)`.
        validation: Share of the pictures to hold out for validation, or `(annotations, images)`.
        image_size: As for `kt.data.from_folder`; boxes are moved along.
        channels: As for `kt.data.from_folder`.
        batch_size: Pictures in a batch.
        seed: Equal seeds give equal splits and orders.
        corrupt: "error" refuses pictures that cannot be read and wrong annotations, "skip" leaves these pictures out;
            both name them.
        cache: As for `kt.data.from_folder`.

    Returns:
        The batches; targets are boxes.

    Raises:
        InputError: If the file is no COCO file, pictures cannot be read, or boxes lie outside of their picture.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
        >>> for number in range(3):
        ...     Image.new("RGB", (16, 12), (50 * number, 0, 0)).save(root / f"{number}.png")
        ...     content["images"].append({"id": number, "file_name": f"{number}.png", "width": 16, "height": 12})
        ...     content["annotations"].append({"image_id": number, "category_id": 1, "bbox": [2, 1, 7, 7]})
        >>> _ = (root / "instances.json").write_text(json.dumps(content))
        >>> from_coco(root / "instances.json", images=root, image_size=8)
        keras_transfer: 3 images are resized to 8x8 pixels and kept in memory (0.0 MB)...
        Data(train=2, validation=1, classes=1, image_size=8x8, batch_size=32)
    """
    options = reading.Options(image_size, channels, batch_size, seed, corrupt, cache)
    known = None if classes is None else [str(name) for name in classes]
    sources: dict[str, Pair] = {"train": (annotations, images)}
    shares: dict[str, float | None] = {}
    for split, value in (("validation", validation), ("test", test)):
        if isinstance(value, tuple | list):
            sources[split] = _check_pair(value, split)
        else:
            shares[split] = value

    notes: list[str] = []
    parts: dict[str, _Part] = {}
    for split, (file, folder) in sources.items():
        argument = "annotations" if split == "train" else split
        part = _Part.read(Path(file).expanduser(), argument)
        root = listing.folder_of(folder, "images" if split == "train" else split)
        part.gather(root, known)
        notes += part.settle(corrupt)
        parts[split] = part
    names = known or _used_classes(list(parts.values()), notes)

    listed = _list(parts)
    return file_data.load(listed, options, shares, class_names=names, notes=notes, folder=images)


def _check_pair(value: Sequence, name: str) -> Pair:
    if len(value) != 2 or not all(isinstance(part, (str, os.PathLike)) for part in value):
        expected = f"`{name}` must be a share or (annotations, images)"
        raise checks.error(expected, given=repr(value))
    return value[0], value[1]


@dataclass
class _Picture:
    """An entry of "images"."""

    key: Any
    name: str
    path: Path
    stated: tuple[int, int]


class _Part:
    """The content of one JSON file."""

    def __init__(self, path: Path, content: Mapping[str, list]) -> None:
        self.path, self.content = path, content
        self.pictures: list[_Picture] = []
        self.gathered = boxes.Gathered("xywh")
        self.problems = Problems()
        self.outlines = 0
        self.categories: dict[Any, str] = {}

    @classmethod
    def read(cls, path: Path, argument: str) -> "_Part":
        """Reads a file, or raises an error if it does not have the parts of a COCO file."""
        text, _ = texts.read_text(path, argument=argument)
        expected = f"`{argument}` must be a COCO file with {', '.join(PARTS)}"
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as broken:
            given = f"'{path}', which is no whole JSON ({checks.first_line(broken)})"
            raise checks.error(expected, given=given) from None
        if not isinstance(content, dict):
            raise checks.error(expected, given=f"a {type(content).__name__} in '{path}'")
        for name in PARTS:
            rows = content.get(name)
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                given = f"no list of {name} in '{path}'"
                raise checks.error(expected, given=given)
        return cls(path, content)

    def gather(self, root: Path, known: Sequence[str] | None) -> None:
        """Reads pictures, then their boxes; what is wrong is a problem of its picture."""
        if not self.content["images"]:
            raise checks.error("a COCO file must name pictures", given=f"none in '{self.path}'")
        self._read_categories(known)
        by_key = self._read_pictures(root)
        for row in self.content["annotations"]:
            picture = _at(by_key, row.get("image_id"))
            if picture is None:
                place = f"annotation {row.get('id')!r}"
                self.problems.add(place, f"no picture has the id {row.get('image_id')!r}")
                continue
            reason = self._add(row, picture)
            if reason:
                self.problems.add(picture.name, f"annotation {row.get('id')!r}: {reason}")

    def settle(self, corrupt: str) -> list[str]:
        """Raises an error for what is wrong or leaves these pictures out, and returns notes."""
        notes = self.problems.settle(corrupt, what="annotation", where=f"'{self.path}'")
        self.pictures = [picture for picture in self.pictures if picture.name not in self.problems]
        notes += self.gathered.note_flat()
        if self.outlines:
            text = "1 outline" if self.outlines == 1 else f"{self.outlines} outlines"
            end = f"(segmentation) in '{self.path}': only boxes are read"
            notes.append(checks.note(f"left out {text} {end}"))
        return notes

    def labels(self) -> list[dict | None]:
        """Returns the label of each picture."""
        return [self.gathered.label(picture.key) for picture in self.pictures]

    def _read_categories(self, known: Sequence[str] | None) -> None:
        """Reads the names of classes by id; in their order if the ids have one."""
        expected = f"each category in '{self.path}' must have an id and a name of its own"
        for row in self.content["categories"]:
            key, name = row.get("id"), row.get("name")
            if not _is_key(key) or not isinstance(name, str) or not name.strip():
                raise checks.error(expected, given=repr(row)[:100])
            if key in self.categories or name.strip() in self.categories.values():
                raise checks.error(expected, given=f"{key!r}, {name!r} twice")
            if known is not None and name.strip() not in known:
                fix = lookup.hint(name.strip(), list(known))
                raise checks.error("`classes` must have all categories", given=repr(name), fix=fix)
            self.categories[key] = name.strip()
        if all(isinstance(key, int) for key in self.categories):
            self.categories = dict(sorted(self.categories.items()))

    def _read_pictures(self, root: Path) -> dict[Any, _Picture]:
        by_key: dict[Any, _Picture] = {}
        names: set[str] = set()
        for at, row in enumerate(self.content["images"]):
            key, name = row.get("id"), row.get("file_name")
            place = name if isinstance(name, str) and name else f"image {at}"
            if not _is_key(key) or not isinstance(name, str) or not name.strip():
                self.problems.add(place, "no id, or no file_name")
                continue
            try:
                path = listing.file_inside(root, name)
            except ValueError as problem:
                self.problems.add(place, str(problem))
                path = root  # never read: `settle` drops the picture
            if key in by_key or name in names:
                self.problems.add(place, f"the id {key!r} or the name is there twice")
                continue
            picture = _Picture(key, name, path, (_pixels(row, "height"), _pixels(row, "width")))
            by_key[key] = picture
            names.add(name)
            self.gathered.begin(key)
            self.pictures.append(picture)
        return by_key

    def _add(self, row: Mapping, picture: _Picture) -> str:
        """Adds a box, or says why it cannot."""
        label = _at(self.categories, row.get("category_id"))
        if label is None:
            return f"no category has the id {row.get('category_id')!r}"
        if row.get("segmentation"):
            self.outlines += 1
        numbers = row.get("bbox")
        if not isinstance(numbers, list) or not all(_is_number(number) for number in numbers):
            return "no bbox of numbers"
        is_crowd = bool(row.get("iscrowd"))
        place = f"{picture.name} (annotation {row.get('id')!r})"
        return self.gathered.add(picture.key, numbers, label, ignored=is_crowd, place=place)


def _used_classes(parts: Sequence[_Part], notes: list[str]) -> list[str]:
    """Returns the names of the classes that have a box, which must be the same in all files."""
    categories = list(parts[0].categories.values())
    used = set()
    for part in parts:
        if set(part.categories.values()) != set(categories):
            given = f"others in '{part.path}'"
            raise checks.error("all files must have the same categories", given=given)
        for label in part.labels():
            used |= set() if label is None else set(label["labels"])
    unused = [name for name in categories if name not in used]
    if unused and used:
        text = f"no box is a {' or '.join(map(repr, unused[:5]))}"
        more = f" or one of {len(unused) - 5} more" if len(unused) > 5 else ""
        end = "this category is no class" if len(unused) == 1 else "these categories are no classes"
        notes.append(checks.note(f"{text}{more}: {end}"))
    return [name for name in categories if name in used]


def _list(parts: Mapping[str, _Part]) -> reading.Listed:
    """Returns the pictures of all files, one after the other."""
    pictures, labels, splits, shown = [], [], [], []
    for split, part in parts.items():
        pictures += part.pictures
        labels += part.labels()
        splits += [split] * len(part.pictures)
        end = f" ({split})" if len(parts) > 1 else ""
        shown += [f"{picture.name}{end}" for picture in part.pictures]
    return reading.Listed(
        where=f"'{parts['train'].path}'",
        paths=[picture.path for picture in pictures],
        names=[picture.name for picture in pictures],
        labels=labels,
        splits=np.array(splits, object),
        shown=shown,
        stated=np.array([picture.stated for picture in pictures], np.int64).reshape(-1, 2),
        kinds="boxes",
    )


def _is_key(key: object) -> bool:
    return isinstance(key, int | str) and not isinstance(key, bool)


def _at(table: Mapping, key: Any) -> Any:
    return table.get(key) if _is_key(key) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _pixels(row: Mapping, name: str) -> int:
    """Returns a side that an image states, 0 where it states none."""
    value = row.get(name)
    if not isinstance(value, int | float) or not 0 < value < 10**6:
        return 0
    return int(value)
