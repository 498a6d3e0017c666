"""Makes the case for the checks of whatever a user holds: a folder, data, arrays, batches."""

import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any  # what users hold

import keras
import numpy as np

from keras_transfer.core import checks, labelled, lookup, one_hot
from keras_transfer.data import adapt, batches, stores
from keras_transfer.data.targets import encoding
from keras_transfer.storage import listing
from keras_transfer.studies.doctor import base, pictures

__all__ = ["of_data", "of_folder"]

LOOK = 16  # files of which one must be there
LAYOUT = "Put the images of each class into a subfolder with its name: photos/cat/1.jpg."


def of_folder(path: str | os.PathLike, **settings: Any) -> base.Case:
    """Makes the case of a folder as `kt.data.from_folder` reads it; what is wrong with the layout is a finding.

    Args:
        path: The folder.
        settings: Further attributes of the case.
    """
    root = listing.folder_of(path, "data")
    found: list[base.Finding] = []
    try:
        folders = listing.find_splits(root)
    except checks.InputError as wrong:
        found.append(_finding("error", str(wrong).removesuffix(wrong.fix).rstrip(), wrong.fix))
        folders = {}

    files, splits, classes, others = _list(root, folders or {"": root})
    if not files:
        fix = f"Images end in {', '.join(listing.EXTENSIONS)}."
        raise checks.error(
            "`data` must be a folder with images", given=f"none in '{root}'", fix=fix
        )
    has_classes = bool(classes)
    found += _check_classes(folders or {"": root}, splits, classes) if has_classes else []
    if not has_classes:
        found.append(_finding("note", "no class folders: only the pictures are looked at", LAYOUT))
    if others:
        what = f"{base.count(len(others), 'file is', 'files are')} no image by the name, or in no class folder"
        fix = "Nothing, if they belong there: they are ignored."
        found.append(_finding("note", what, fix, files=tuple(map(str, others)), count=len(others)))

    looks = pictures.look_at_files(files, verbose=settings.get("verbose", "auto"))
    columns = {}
    if has_classes:
        class_names, ids = np.unique(classes, return_inverse=True)
        present = np.ones(len(ids), bool)
        columns[""] = base.Column(ids, present, class_names.tolist(), "category")
    order = np.array(splits, dtype=object).astype(str)
    return base.Case(looks, order, columns, {}, listed=tuple(found), **settings)


def of_data(data: Any, **settings: Any) -> base.Case:
    """Makes the case of data from `kt.data`, or of what `fit` takes.

    Args:
        data: As for `data.adapt.split`.
        settings: Further attributes of the case.
    """
    verbose = settings.get("verbose", "auto")
    divided = adapt.split(data, name="data")
    parts: dict[str, batches.Batches] = {}
    looks, splits, answers = [], [], []
    for split, part in divided.parts.items():
        part.check("data", labelled=False)
        name = split or ""
        parts[name] = part
        names = part.files
        if names is not None and not _are_photos(names, data, name):
            part.files = None  # from here on its images are those of the batches
        seen, targets, weights = _look(part, name, verbose)
        seen.names = seen.names if names is None else list(names)
        looks.append(seen)
        splits += [name] * len(seen)
        answers.append((targets, weights))
    columns = _columns(answers, divided.class_names, [len(each) for each in looks])
    size = next(iter(parts.values())).spec[0].shape[1:3]
    given = {split: targets for split, (targets, _) in zip(parts, answers, strict=True)}
    return base.Case(
        pictures.joined(looks),
        np.array(splits),
        columns,
        parts,
        answers=given,
        notes=divided.notes,
        **{"image_size": None if None in size else tuple(size), **settings},
    )


def _are_photos(names: Iterable[str], data: Any, split: str) -> bool:
    """Whether files are the images of a split as they are: records have other files, other sensors other values."""
    examples = getattr(data, "examples", {}).get(split)
    if examples is None or isinstance(examples.pixels, stores.Files):
        return True
    is_bytes = examples.is_decoded and examples.pixels.dtype == "uint8"
    return is_bytes and any(map(os.path.exists, itertools.islice(names, LOOK)))


def _list(
    root: pathlib.Path, folders: Mapping[str, pathlib.Path]
) -> tuple[list[pathlib.Path], list[str], list[str], list[pathlib.Path]]:
    """Lists images with split and class, and other files; where no image has a class, all images without classes."""
    files, splits, classes, loose, others = [], [], [], [], []
    for split, folder in folders.items():
        for file in sorted(listing.walk(folder)):
            inside = file.relative_to(folder).parts
            if not listing.is_image(file):
                others.append(file)
            elif len(inside) == 1:
                loose.append((file, split))
            else:
                files.append(file)
                splits.append(split)
                classes.append(inside[0])
    if files:
        return files, splits, classes, [*others, *(file for file, _ in loose)]
    return [file for file, _ in loose], [split for _, split in loose], [], others


def _check_classes(
    folders: Mapping[str, pathlib.Path], splits: Sequence[str], classes: Sequence[str]
) -> Iterator[base.Finding]:
    """Yields empty class folders, and a folder with a single class."""
    training = "train" if "train" in folders else ""
    trained = {name for name, split in zip(classes, splits, strict=True) if split == training}
    for split, folder in folders.items():
        own = {name for name, each in zip(classes, splits, strict=True) if each == split}
        empty = [entry.name for entry in _subfolders(folder) if entry.name not in own]
        if empty:
            what = f"{base.count(len(empty), 'class folder has', 'class folders have')} no images: {lookup.some(empty)}"
            yield _finding("error", what, "Remove them, or add images.", count=len(empty))
    if len(trained) < 2:
        yield _finding("error", "there is only one class", LAYOUT, count=1)


def _subfolders(folder: pathlib.Path) -> list[pathlib.Path]:
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted(entry for entry in entries if entry.is_dir())


def _finding(severity: str, what: str, fix: str, **more: Any) -> base.Finding:
    return base.Finding(severity, what, fix=fix, **more)


def _look(
    part: batches.Batches, split: str, verbose: str | int
) -> tuple[pictures.Pictures, Any, Any]:
    """Looks at the pictures of a split; returns them, their targets and weights."""
    if part.files is not None and part.targets is not None:
        looks = pictures.look_at_files(part.files, verbose=verbose)
        return looks, part.targets, part.weights
    gathered: list[tuple] = []

    def images() -> Iterator[np.ndarray]:
        for batch in part.read():
            gathered.append((batch.targets, batch.weights))
            yield np.asarray(batch.images)

    looks = pictures.look_at_batches(images(), split or "images", total=part.steps, verbose=verbose)
    if part.targets is not None:
        return looks, part.targets, part.weights
    targets, weights = zip(*gathered, strict=True) if gathered else ((), ())
    return looks, _joined(targets), _joined(weights)


def _joined(values: Sequence) -> Any:
    """Joins the targets of all batches, an array or a dict of arrays; None where there are none."""
    if not values or values[0] is None:
        return None
    return keras.tree.map_structure(
        lambda *each: np.concatenate(list(map(np.asarray, each))), *values
    )


def _columns(answers: list[tuple], class_names: Any, counts: list[int]) -> dict[str, base.Column]:
    """Returns the targets of all splits by task; splits without targets have none."""
    first = next((targets for targets, _ in answers if targets is not None), None)
    if first is None:
        return {}
    columns = {}
    for name in labelled.by_task(first):
        parts, present = [], []
        for (targets, weights), count in zip(answers, counts, strict=True):
            own = None if targets is None else labelled.by_task(targets).get(name)
            if own is None:
                like = labelled.by_task(first)[name]
                parts.append(encoding.kind_of(like).blank(like, count))
                present.append(np.zeros(count, bool))
                continue
            parts.append(own)
            own_weights = labelled.of_task(weights, name)
            is_there = np.ones(count, bool) if own_weights is None else labelled.rows(own_weights)
            present.append(is_there)
        names = labelled.of_task(class_names, name)
        whole = parts[0] if len(parts) == 1 else encoding.kind_of(parts[0]).join(parts)
        columns[name] = _column(whole, np.concatenate(present), names)
    return columns


def _column(targets: Any, present: np.ndarray, names: Sequence[str] | None) -> base.Column:
    """Returns a column; one-hot rows and class ids without names count as classes."""
    if getattr(targets, "ndim", 0) == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]
    ids = one_hot.class_ids(targets) if names is None and getattr(targets, "ndim", 0) == 2 else None
    return base.Column.of(targets if ids is None else ids.astype("int64"), present, names)
