"""Images from a folder that has one subfolder for each class."""

import dataclasses
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer.core import checks, lookup
from keras_transfer.data import base, splits
from keras_transfer.data.sources import file_data, reading, sensors
from keras_transfer.data.targets import encoding
from keras_transfer.storage import listing
from keras_transfer.storage.names import Names, Paths

__all__ = ["from_folder", "labelled_folder"]

HEIC = (".heic", ".heif")  # what many phones save, and TensorFlow does not read


def from_folder(
    path: str | os.PathLike,
    *,
    test: float | str | os.PathLike | None = None,
    image_size: int | tuple[int, int] = 224,
    channels: int = 3,
    batch_size: int = 32,
    validation: float | str | os.PathLike | None = reading.VALIDATION,
    seed: int = 0,
    group: str | Callable[[str], object] | None = None,
    corrupt: str = "error",
    cache: str = "auto",
    image: Sequence[str] | None = None,
    value_range: Any = None,
) -> base.Data:
    """Reads a folder of images, one subfolder for each class; or such folders of its own for each split.

    Images are JPEG, PNG, WebP, BMP or GIF at any depth below the folder of their class; hidden files are ignored.
    Each is decoded once and kept in memory as uint8 when all of them take up no more than a quarter of what is free;
    otherwise they are read from their files in every pass and not before, and a file that cannot be read is an error
    then. Files of the same content, where all are read before, stay in one split. Which split a file is in depends on
    its name below the folder and on `seed`: it is the same on another machine, and files that are added later move few
    others.

    A folder that holds "train" ("training") and may hold "val" ("valid", "validation") and "test" ("testing"), with the
    class folders in each, is read as these say; a line tells what was taken.

    Args:
        path: The folder; the names of its subfolders, sorted, are the classes.
        test: Share of the images to hold out for testing, or a folder of the same layout; by default the folder "test"
            beside "train", if there is one.
        image_size: Height and width, or one number for both.
        channels: 3 for RGB, transparency put over white; 1 for its luminance; 4 for RGB and alpha. The same number goes
            to `kt.backbone(..., channels=)`.
        batch_size: Images in a batch.
        validation: Share of the images to hold out for validation, or a folder; by default the folder "val" beside
            "train", else 0.2.
        seed: Equal seeds give equal splits and orders.
        group: What tells from a file's name, such as "cat/p7_1.jpg", to which group it belongs, such as its patient: a
            regular expression (`"/(p[0-9]+)_"`, whose first group counts) or a function. Images of one group stay in
            one split, and in one of `data.folds`.
        corrupt: "error" refuses folders with files that cannot be read, "skip" leaves these files out; both name them.
        cache: "memory" keeps decoded images whatever they take up, "off" never does and checks all files before,
            "auto" decides.
        image: Subfolders of `path`, and of folders for splits, that hold the same scenes as different sensors saw them,
            such as `["rgb", "depth"]`: files of equal names in them, "rgb/cat/1.png" and "depth/cat/1.tif", are put
            together as the channels of one image.
        value_range: For 16 bit PNG, TIFF and .npy, as for `kt.data.from_csv`: `(0, 65535)`, or "measure".

    Returns:
        The batches, class names and all that was decided.

    Raises:
        InputError: If the folder holds no two classes with images, files cannot be read, or splits share files.

    Example:
        >>> import pathlib, tempfile
        >>> import tensorflow as tf
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        ...     (root / name).parent.mkdir(exist_ok=True)
        ...     pixels = np.full((9, 9, 3), len(list(root.rglob("*"))), np.uint8)
        ...     _ = (root / name).write_bytes(tf.io.encode_png(pixels).numpy())
        >>> from_folder(root, image_size=8, validation=0.5)
        keras_transfer: 4 images are resized to 8x8 pixels and kept in memory (0.0 MB)
        Data(train=2, validation=2, classes=2, image_size=8x8, batch_size=32)
    """
    options = reading.Options(image_size, channels, batch_size, seed, corrupt, cache, value_range)
    bands = (reading.IMAGE,) if image is None else _check_bands(image)
    sensors.check_range(value_range, bands)
    endings = _endings(value_range if image is None else bands)
    given: dict[str, Any] = {"path": path, "test": test, "validation": validation}
    homes = []
    for name, value in given.items():
        if isinstance(value, (str, os.PathLike)):
            homes.append(listing.folder_of(value, name))
            if image is not None:
                given[name] = listing.folder_of(homes[-1] / bands[0], name)
    root, held, notes = _use_split_folders(listing.folder_of(given.pop("path"), "path"), given)
    folders: dict[str, str | os.PathLike] = {}
    shares: dict[str, float] = {}
    for name, value in held.items():
        if isinstance(value, (str, os.PathLike)):
            folders[name] = value
        elif value is not None:
            shares[name] = value
    shares = splits.check_shares(shares)

    class_names, found = listing.list_classes(root, endings)
    sources = {"train": found}
    for name, folder in folders.items():
        inside = listing.folder_of(folder, name)
        sources[name] = listing.list_files(inside, class_names, name=name, endings=endings)

    notes += _notes_on_others(sources)
    listed = _list(sources, group)
    if image is not None:
        stacks = _stack(listed.paths, homes, bands, endings)
        listed = dataclasses.replace(listed, stacks=stacks, bands=bands)
    files = reading.read(listed, options, notes)
    lost = encoding.absent(files.listed.labels[files.of_split("train")], class_names)
    if lost:
        raise checks.error(
            "every class must have a readable image",
            given=f"none of {lookup.some(lost)}",
            fix="Repair or remove it.",
        )
    _check_disjoint(files)
    data = file_data.make_data(files, shares=shares, class_names=class_names, notes=notes)
    data.folder = str(path)
    return data


def labelled_folder(
    path: str | os.PathLike,
    class_names: Sequence[str],
    *,
    image_size: int | tuple[int, int] = 224,
    channels: int = 3,
    batch_size: int = 32,
    corrupt: str = "error",
    cache: str = "auto",
    value_range: tuple[float, float] | str | None = None,
) -> base.Data:
    """Reads a folder of images to measure a trained model on; it is the test split of the result, the only one.

    Args:
        path: One subfolder of images for each class; classes may be absent.
        class_names: The model's class names, in its order.
        image_size: As for `from_folder`.
        channels: As for `from_folder`.
        batch_size: As for `from_folder`.
        corrupt: As for `from_folder`.
        cache: As for `from_folder`.
        value_range: As for `from_folder`; what was told or measured for the training data.

    Raises:
        InputError: If a subfolder is no class of the model, or files cannot be read.

    Example:
        >>> labelled_folder("absent", ["cat", "dog"])
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `path` must be a folder that exists. Given: 'absent'. Check the path.
    """
    options = reading.Options(
        image_size, channels, batch_size, corrupt=corrupt, cache=cache, value_range=value_range
    )
    sensors.check_range(value_range, (reading.IMAGE,))
    endings = _endings(value_range)
    folder = listing.folder_of(path, "path")
    notes = []
    folders = listing.find_splits(folder)
    if folders:
        if "test" not in folders:
            expected = "`path` must hold class folders"
            given = f"splits without 'test' in '{folder}'"
            fix = f"Give one of the splits, such as '{folders['train']}'."
            raise checks.error(expected, given=given, fix=fix)
        folder = folders["test"]
        line = f"'{path}' is split already: the images are those in {folder.name!r}"
        notes.append(checks.note(line))
    names = list(class_names)
    sources = {"test": listing.list_files(folder, names, name="path", endings=endings)}
    notes += _notes_on_others(sources)
    files = reading.read(_list(sources), options, notes)
    if not len(files.rows):
        raise checks.error(
            "`path` must hold a readable image", given=f"none in '{path}'", fix="Repair them."
        )
    data = file_data.make_data(files, shares={}, class_names=names, notes=notes)
    data.folder = str(path)
    return data


def _check_bands(image: Any) -> tuple[str, ...]:
    """Returns the names of subfolders that are put together."""
    is_list = isinstance(image, list | tuple) and bool(image)
    if not is_list or not all(isinstance(band, str) and band for band in image):
        fix = 'Such as image=["rgb", "depth"].'
        raise checks.error("`image` must be a list of subfolders", given=repr(image), fix=fix)
    if len(set(image)) < len(image):
        raise checks.error("`image` must name different subfolders", given=repr(image))
    return tuple(image)


def _stack(
    paths: Iterable[Path], homes: Sequence[Path], bands: Sequence[str], endings: tuple[str, ...]
) -> list[tuple[Path, ...]]:
    """Returns for each file of the first band those of equal names in the others.

    Args:
        paths: The files.
        homes: The folders that hold the bands, one for each argument that is a folder.
        bands: Names of their subfolders.
        endings: Of images.
    """
    others: dict[tuple[Path, str], dict[str, Path]] = {}
    for home in homes:
        for band in bands[1:]:
            folder = listing.folder_of(home / band, "image")
            files = [file for file in listing.walk(folder) if file.suffix.lower() in endings]
            others[home, band] = {_stem(file, folder): file for file in files}
    stacks, alone = [], []
    for path in paths:
        home = next(home for home in homes if path.is_relative_to(home / bands[0]))
        stem = _stem(path, home / bands[0])
        found = [others[home, band].get(stem) for band in bands[1:]]
        stacks.append((path, *[file for file in found if file is not None]))
        if None in found:
            alone.append(f"{stem} in '{bands[1 + found.index(None)]}'")
    if alone:
        fix = "Files that belong together have one name in all of them, but for the ending."
        raise checks.error(
            f"every file of '{bands[0]}' must be in the other folders of `image`",
            given=f"no {lookup.some(alone, most=3)}",
            fix=fix,
        )
    return stacks


def _stem(file: Path, folder: Path) -> str:
    return file.relative_to(folder).with_suffix("").as_posix()


def _endings(value_range: object) -> tuple[str, ...]:
    """Returns the endings of the files that are images."""
    return listing.EXTENSIONS + (() if value_range is None else sensors.ENDINGS)


def _list(
    sources: Mapping[str, listing.Listing], group: str | Callable[[str], object] | None = None
) -> reading.Listed:
    """Returns the files of all splits, one after the other."""
    # The shortest path that is clear: of several folders with their names, or in full where two names are equal.
    is_single = len(sources) == 1
    is_ambiguous = len({source.root.name for source in sources.values()}) < len(sources)

    def shown() -> Iterator[str]:
        for source in sources.values():
            for path in source.paths:
                name = path if is_ambiguous else path.relative_to(source.root.parent)
                yield name.as_posix()

    listings = list(sources.values())
    paths, names = listings[0].paths, listings[0].names()
    if not is_single:
        paths = Paths(Names(itertools.chain.from_iterable(each.paths.names for each in listings)))
        names = Names(itertools.chain.from_iterable(each.names() for each in listings))
    counts = [len(source.paths) for source in sources.values()]
    return reading.Listed(
        where=f"'{next(iter(sources.values())).root}'",
        paths=paths,
        names=names,
        labels=np.concatenate([source.ids for source in sources.values()]),
        splits=np.repeat(list(sources), counts),
        shown=names if is_single else Names(shown()),
        groups=None if group is None else [_group_of(group, name) for name in names],
    )


def _group_of(group: str | Callable[[str], object], name: str) -> object:
    if callable(group):
        return group(name)
    expected = "`group` must be a regular expression or a function of a file's name"
    if not isinstance(group, str):
        raise checks.error(expected, given=repr(group))
    try:
        pattern = re.compile(group)
    except re.error as problem:
        raise checks.error(expected, given=repr(group), fix=f"{problem}.") from problem
    match = pattern.search(name)
    if match is None:
        fix = "Widen the expression, or give a function that returns None for images of no group."
        raise checks.error("`group` must be found in every file's name", given=repr(name), fix=fix)
    return match.group(1 if pattern.groups else 0)


def _use_split_folders(root: Path, held: Mapping[str, Any]) -> tuple[Path, dict, list[str]]:
    """Replaces what was left to the defaults by the folders of splits in `root`, if it holds any.

    Args:
        root: The user's folder.
        held: The arguments `test` and `validation`.

    Returns:
        The folder to train on, `held`, and a line about them.
    """
    folders = listing.find_splits(root)
    if not folders:
        return root, dict(held), []
    defaults = {"test": None, "validation": reading.VALIDATION}
    chosen = dict(held)
    uses, unused = [f"training images from {folders['train'].name!r}"], []
    for split in ("validation", "test"):
        if split not in folders:
            continue
        if held[split] == defaults[split]:
            chosen[split] = folders[split]
            uses.append(f"{split} images from {folders[split].name!r}")
        else:
            unused.append(f"; {folders[split].name!r} is not used, as `{split}` was given")
    line = checks.note(f"'{root}' is split already: {', '.join(uses)}{''.join(unused)}")
    return folders["train"], chosen, [line]


def _notes_on_others(sources: Mapping[str, listing.Listing]) -> list[str]:
    notes = []
    for source in sources.values():
        if source.others:
            count = reading.count_files(source.others.total())
            endings = lookup.some(sorted(filter(None, source.others)))
            text = f"ignored {count} in '{source.root}' that lie in no class folder or do not end as images do"
            if endings:
                text += f": {endings}"
            if any(ending in source.others for ending in HEIC):
                text += ". Save photos in HEIC as JPEG to use them"
            notes.append(checks.note(text))
    return notes


def _check_disjoint(files: reading.Read) -> None:
    """Raises an error if two folders hold files of the same content."""
    paths, digests = files.listed.paths, files.digests
    for first, second in itertools.combinations(dict.fromkeys(files.listed.splits), 2):
        where = {digests[row]: paths[row] for row in files.of_split(first)}
        pairs = [
            f"{where[digests[row]]} = {paths[row]}"
            for row in files.of_split(second)
            if digests[row] in where
        ]
        if pairs:
            more = f" and {len(pairs) - 3} more" if len(pairs) > 3 else ""
            raise checks.error(
                f"{first} and {second} share {reading.count_files(len(pairs))}; they must share none",
                given=", ".join(pairs[:3]) + more,
                fix="Remove them from one of the folders: known images would be measured.",
            )
