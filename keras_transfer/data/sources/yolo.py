"""Boxes from text files of the YOLO form: one a picture, a line a box, in shares of the picture."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any  # YAML may hold anything

import numpy as np
import yaml

from keras_transfer.core import checks
from keras_transfer.data import base
from keras_transfer.data.sources import boxes, file_data, matching, reading
from keras_transfer.data.sources.problems import Problems
from keras_transfer.machine import progress
from keras_transfer.storage import listing, texts

__all__ = ["from_yolo"]

NAMES = ("data.yaml", "data.yml", "dataset.yaml")
SPLITS = {"train": "train", "val": "validation", "valid": "validation", "test": "test"}
MOST_BYTES = 2**24  # of one text file
MOST_SETTINGS = 2**18  # bytes of "data.yaml"
DEEPEST = 20  # lists in lists


def from_yolo(
    path: str | os.PathLike,
    *,
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
    """Reads pictures whose boxes are in text files, as YOLO's trainers take them.

    Each line of a text file is `class x y width height`: the number of the class, then the middle of the box and its
    sides in shares of the picture. Of an outline, a line of more points, the box around it is taken. The file has the
    name of its picture and lies in a folder "labels" beside the folder "images", or beside the picture. As YOLO has it,
    a picture without a file shows no objects.

    Args:
        path: "data.yaml", which names the classes and the folders of the splits; or a folder that holds it, or that
            holds "images" and "labels", with "train", "val" and "test" in them or around them.
        classes: Names of the classes by number; by default those of "data.yaml" or "classes.txt".
        test: Share of the pictures to hold out for testing, where no folder says which.
        validation: Share of the pictures to hold out for validation, in the same way.
        image_size: As for `kt.data.from_folder`; boxes are moved along.
        channels: As for `kt.data.from_folder`.
        batch_size: Pictures in a batch.
        seed: Equal seeds give equal splits and orders.
        corrupt: "error" refuses pictures that cannot be read and wrong lines, "skip" leaves these pictures out; both
            name them.
        cache: As for `kt.data.from_folder`.

    Returns:
        The batches; targets are boxes.

    Raises:
        InputError: If pictures cannot be read, a line is no box, or the classes are not known.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for number in range(3):
        ...     Image.new("RGB", (16, 12), (50 * number, 0, 0)).save(root / f"{number}.png")
        ...     _ = (root / f"{number}.txt").write_text("0 0.5 0.5 0.4 0.2")
        >>> from_yolo(root, classes=["cat"], image_size=8)
        keras_transfer: 3 images are resized to 8x8 pixels and kept in memory (0.0 MB)...
        Data(train=2, validation=1, classes=1, image_size=8x8, batch_size=32)
    """
    options = reading.Options(image_size, channels, batch_size, seed, corrupt, cache)
    root, settings = _find_settings(Path(path).expanduser())
    names = _class_names(root, settings, classes)
    folders = _folders_of(settings, root) or _find_folders(root)
    pictures, splits = _list_pictures(folders)

    notes: list[str] = []
    gathered, problems = boxes.Gathered("centre"), Problems()
    outlines, without = 0, 0
    read = progress.follow(
        pictures, f"Reading {len(pictures):,} label files", total=len(pictures), unit="file"
    )
    for picture in read:
        file = _label_file(picture)
        gathered.begin(picture)
        without += file is None
        if file is not None:
            outlines += _read(file, picture, names, gathered, problems)
    if without == len(pictures):
        given = f"none for {reading.count_files(without)} such as '{pictures[0]}'"
        fix = 'They lie in a folder "labels" beside "images", or beside the pictures.'
        raise checks.error("there must be text files with boxes", given=given, fix=fix)
    notes += problems.settle(corrupt, what="label file", where=f"'{root}'")
    notes += gathered.note_flat()
    if without:
        files = "1 image has" if without == 1 else f"{without} images have"
        notes.append(checks.note(f"{files} no label file: as YOLO has it, no object is there"))
    if outlines:
        text = "1 outline is" if outlines == 1 else f"{outlines} outlines are"
        notes.append(checks.note(f"{text} read as the box around it"))

    rows = [at for at, picture in enumerate(pictures) if str(_label_file(picture)) not in problems]
    listed = _list(root, pictures, splits, gathered).pick(np.array(rows, np.int64))
    held = {"test": test, "validation": validation}
    return file_data.load(listed, options, held, class_names=names, notes=notes, folder=root)


def _find_settings(path: Path) -> tuple[Path, dict[str, Any]]:
    """Returns the folder of the pictures and what "data.yaml" says, {} if there is none."""
    file = path
    if path.suffix.lower() not in (".yaml", ".yml"):
        root = listing.folder_of(path, "path")
        file = next((root / name for name in NAMES if (root / name).is_file()), root)
        if file == root:
            return root, {}
    text, _ = texts.read_text(file, argument="path", most=MOST_SETTINGS)
    expected = "`path` must be a YAML file with names of classes"
    try:
        _check_growth(text)
        settings = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as broken:
        given = f"'{file}', which is no YAML ({checks.first_line(broken)})"
        raise checks.error(expected, given=given) from None
    if not isinstance(settings, dict):
        raise checks.error(expected, given=f"a {type(settings).__name__} in '{file}'")
    return file.parent, settings


def _check_growth(text: str) -> None:
    """Raises ValueError for aliases, which can grow without end, and for lists in lists in lists."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it has aliases, which are never followed")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError("it has too many lists in lists")


def _class_names(
    root: Path, settings: Mapping[str, Any], classes: Sequence[str] | None
) -> list[str]:
    if classes is not None:
        return [str(name) for name in classes]
    names = settings.get("names")
    file = root / "classes.txt"
    if names is None and file.is_file():
        text, _ = texts.read_text(file, argument="path", most=MOST_BYTES)
        names = [line.strip() for line in text.splitlines() if line.strip()]
    if isinstance(names, Mapping):
        keys = list(names)
        if sorted(keys, key=str) != sorted(range(len(keys)), key=str):
            given = f"numbers {keys[:5]}"
            raise checks.error("classes in 'names' must be numbered from 0", given=given)
        names = [names[number] for number in range(len(keys))]
    if not isinstance(names, list) or not names or not all(_is_name(name) for name in names):
        fix = 'Give `classes`, or put "names" into data.yaml.'
        given = f"none in '{root}'" if names is None else f"a {type(names).__name__}"
        raise checks.error("the names of the classes must be known", given=given, fix=fix)
    return [str(name) for name in names]


def _is_name(name: object) -> bool:
    return isinstance(name, str | int | float) and bool(str(name).strip())


def _folders_of(settings: Mapping[str, Any], root: Path) -> dict[str, list[Path]]:
    """Returns the folders or lists of pictures that "data.yaml" names, by split."""
    base_folder = root
    if isinstance(settings.get("path"), str):
        named = Path(settings["path"])
        # Many files name a folder of another machine; the folder of the file itself is meant then.
        base_folder = root / named if os.path.isdir(root / named) else root
    folders: dict[str, list[Path]] = {}
    for key, split in SPLITS.items():
        value = settings.get(key)
        for text in value if isinstance(value, list) else [value]:
            if not isinstance(text, str):
                continue
            folders.setdefault(split, []).append(_folder_of(text, base_folder, root, key))
    if folders and "train" not in folders:
        raise checks.error("data.yaml must name a folder to train on", given="none as 'train'")
    return folders


def _folder_of(text: str, base_folder: Path, root: Path, key: str) -> Path:
    """Returns a folder that "data.yaml" names; "../train/images" of some exports means "train/images"."""
    for name in (text, text.removeprefix("../")):
        try:
            folder = listing.inside(base_folder, name)
        except ValueError:
            continue
        if os.path.exists(folder):  # `Path.exists` fails for a name that is too long
            return folder
    given = f"{key}: {text!r}"
    expected = f"folders that data.yaml names must exist in '{root}'"
    raise checks.error(expected, given=given, fix="Correct the file.")


def _find_folders(root: Path) -> dict[str, list[Path]]:
    """Returns the folders of pictures by split where no file names them."""
    pictures = root / "images" if (root / "images").is_dir() else root
    found = matching.split_folders(pictures)
    if not found:
        return {"train": [pictures]}
    folders = {}
    for split, folder in found.items():
        folders[split] = [folder / "images" if (folder / "images").is_dir() else folder]
    return folders


def _list_pictures(folders: Mapping[str, Sequence[Path]]) -> tuple[list[Path], list[str]]:
    pictures: list[Path] = []
    splits: list[str] = []
    for split, sources in folders.items():
        for source in sources:
            if os.path.isfile(source):  # a list of pictures
                text, _ = texts.read_text(source, argument="path", most=MOST_BYTES)
                names = [line.strip() for line in text.splitlines() if line.strip()]
                try:
                    found = [listing.inside(source.parent, name) for name in names]
                except ValueError as problem:
                    given = f"'{source}': {problem}"
                    raise checks.error("lists must name pictures", given=given) from None
            else:
                found = sorted(path for path in listing.walk(source) if listing.is_image(path))
            if not found:
                given = f"none in '{source}'"
                raise checks.error(f"there must be pictures for {split}", given=given)
            pictures += found
            splits += [split] * len(found)
    return pictures, splits


def _label_file(picture: Path) -> Path | None:
    """Returns the text file of a picture, None if it has none."""
    parts = list(picture.parts)
    places = [at for at, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
        file = Path(*parts).with_suffix(".txt")
        if os.path.isfile(file):
            return file
    file = picture.with_suffix(".txt")
    return file if os.path.isfile(file) else None


def _read(
    file: Path,
    picture: Path,
    names: Sequence[str],
    gathered: boxes.Gathered,
    problems: Problems,
) -> int:
    """Reads the lines of a text file; a wrong one is a problem of the file. Returns how many are outlines."""
    try:
        text, _ = texts.read_text(file, argument="path", most=MOST_BYTES)
    except checks.InputError as refused:
        problems.add(str(file), str(refused))
        return 0
    outlines = 0
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            label, box = _parse(words, len(names))
        except ValueError as problem:
            problems.add(str(file), f"line {number}: {problem}")
            return outlines
        outlines += len(words) > 6
        place = f"{file.name}, line {number}"
        reason = gathered.add(picture, box, names[label], place=place)
        if reason:
            problems.add(str(file), f"line {number}: {reason}")
            return outlines
    return outlines


def _parse(words: Sequence[str], classes: int) -> tuple[int, tuple[float, ...]]:
    """Returns the class and the middle, width and height of a box; a sixth number, a confidence, is left out."""
    try:
        label, numbers = float(words[0]), [float(word) for word in words[1:]]
    except ValueError:
        raise ValueError(f"{' '.join(words)[:40]!r} are no numbers") from None
    if not label.is_integer() or not 0 <= label < classes:
        raise ValueError(f"{words[0]} is no class of {classes}")
    if not all(map(math.isfinite, numbers)) or not all(-0.01 <= value <= 1.01 for value in numbers):
        raise ValueError("numbers must be shares of the picture, from 0 to 1")
    if len(numbers) in (4, 5):
        return int(label), tuple(numbers[:4])
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError(f"{len(numbers) + 1} numbers instead of 5")
    across, down = numbers[0::2], numbers[1::2]
    width, height = max(across) - min(across), max(down) - min(down)
    return int(label), (min(across) + width / 2, min(down) + height / 2, width, height)


def _list(
    root: Path, pictures: Sequence[Path], splits: Sequence[str], gathered: boxes.Gathered
) -> reading.Listed:
    names = []
    for picture in pictures:
        is_inside = picture.is_relative_to(root)
        names.append((picture.relative_to(root) if is_inside else picture).as_posix())
    return reading.Listed(
        where=f"'{root}'",
        paths=pictures,
        names=names,
        labels=[gathered.label(picture) for picture in pictures],
        splits=np.array(splits, object),
        shown=names,
        kinds="boxes",
        in_shares=("",),
    )
