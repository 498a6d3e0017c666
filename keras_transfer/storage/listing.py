"""The image files of a folder that has one subfolder for each class; told without loading TensorFlow."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from keras_transfer.core import checks, lookup
from keras_transfer.storage.names import Names, Paths

__all__ = [
    "EXTENSIONS", "Listing", "class_names_of", "file_inside", "find_splits", "folder_of", "inside", "is_image",
    "list_classes", "list_files", "split_of", "walk",
]  # fmt: skip

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")

LAYOUT = "Put the images of each class into a subfolder with its name: photos/cat/1.jpg, photos/dog/2.jpg."
# Name of a folder, in small letters: the split that it holds.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass
class Listing:
    """The image files of one root folder, in the order of their relative paths.

    Attributes:
        root: The folder.
        paths: The files, in little memory.
        ids: Their class ids.
        others: How many files are no images by their name or lie in no class folder, by the ending of the name.
    """

    root: Path
    paths: Paths
    ids: np.ndarray
    others: Counter[str]

    def names(self) -> Names:
        """The relative paths."""
        return self.paths.names.bare()

    def pick(self, rows: np.ndarray) -> "Listing":
        """Those files only."""
        return Listing(self.root, self.paths.pick(rows), self.ids[rows], self.others)


def folder_of(path: str | os.PathLike, name: str) -> Path:
    """Returns the folder that argument `name` means, if it exists."""
    if not isinstance(path, (str, os.PathLike)):
        raise checks.error(f"`{name}` must be a folder", given=repr(path))
    folder = Path(path).expanduser()
    if not folder.exists():
        near = [entry.name for entry in folder.parent.iterdir()] if folder.parent.is_dir() else []
        close = lookup.close(folder.name, near)
        fix = f"Close names there: {lookup.some(close)}." if close else "Check the path."
        raise checks.error(f"`{name}` must be a folder that exists", given=f"'{path}'", fix=fix)
    if not folder.is_dir():
        raise checks.error(f"`{name}` must be a folder", given=f"the file '{path}'", fix=LAYOUT)
    return folder


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(
            path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
        )
    except PermissionError as refused:
        _raise_unreadable(refused)


def find_splits(root: Path) -> dict[str, Path]:
    """Returns the folders in `root` that hold splits, by split; none where its subfolders are classes.

    A folder holds a split if its name says so, such as "train" or "val", and it has subfolders and no images beside
    them.

    Raises:
        InputError: If there are class folders beside those of splits, two folders for one split, or none to train on.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("train/cat", "train/dog", "Val/cat"):
        ...     (root / name).mkdir(parents=True)
        >>> {split: folder.name for split, folder in find_splits(root).items()}
        {'validation': 'Val', 'train': 'train'}
    """
    splits: dict[str, Path] = {}
    others = []
    for folder in _subfolders(root):
        split = SPLIT_NAMES.get(folder.name.lower())
        if split is None or not _holds_folders_only(folder):
            others.append(folder)
            continue
        if split in splits:
            given = f"{splits[split].name!r} and {folder.name!r} in '{root}'"
            raise checks.error(f"`path` must hold one folder for {split}", given=given)
        splits[split] = folder

    names = [folder.name for folder in splits.values()]
    if not splits:
        _check_not_flat(root, others)
        return {}
    classes = [folder.name for folder in others if any(map(is_image, walk(folder)))]
    if classes:
        expected = "`path` must hold folders of classes or folders of splits, not both"
        given = f"{lookup.some(classes)} beside {lookup.some(names)} in '{root}'"
        fix = f"Move {lookup.some(classes)} elsewhere, or give one split as the folder: '{root / names[-1]}'."
        raise checks.error(expected, given=given, fix=fix)
    if "train" not in splits:
        expected = "`path` must hold a folder 'train' beside those of other splits"
        raise checks.error(expected, given=f"only {lookup.some(names)} in '{root}'")
    return splits


def _holds_folders_only(folder: Path) -> bool:
    try:
        return bool(_subfolders(folder)) and not any(map(is_image, folder.iterdir()))
    except PermissionError as refused:
        _raise_unreadable(refused)


def _check_not_flat(root: Path, folders: list[Path]) -> None:
    """Raises an error if all folders are named like splits, but hold images without class folders."""
    names = [folder.name for folder in folders]
    if len(names) > 1 and {name.lower() for name in names} <= set(SPLIT_NAMES):
        given = f"images without class folders in {lookup.some(names)} of '{root}'"
        fix = "Put the images of each class into a subfolder with its name: photos/train/cat/1.jpg."
        raise checks.error("`path` must hold one subfolder for each class", given=given, fix=fix)


def class_names_of(path: str | os.PathLike) -> list[str]:
    """Returns the names of the classes that `from_folder` finds in a folder; no image is read.

    Args:
        path: The folder; the names of its subfolders, sorted, are the classes. If it holds splits, those of "train".

    Raises:
        InputError: If there is no such folder, or it does not hold two or more subfolders.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("dog", "cat"):
        ...     (root / name).mkdir()
        >>> class_names_of(root)
        ['cat', 'dog']
    """
    root = folder_of(path, "path")
    root = find_splits(root).get("train", root)
    folders = _subfolders(root)
    names = [folder.name for folder in folders]
    if not folders:
        loose = sum(is_image(file) for file in root.iterdir())
        given = (
            f"{loose} images without class folders in '{root}'"
            if loose
            else f"the empty folder '{root}'"
        )
        raise checks.error("`path` must hold one subfolder for each class", given=given, fix=LAYOUT)
    for name in names:
        if not name.isprintable():
            raise checks.error(
                "names of class folders must be readable text", given=ascii(name), fix="Rename it."
            )
    if len(names) < 2:
        given = f"only {names[0]!r} in '{root}'"
        raise checks.error("`path` must hold at least two class folders", given=given, fix=LAYOUT)
    return names


def inside(root: Path, name: str) -> Path:
    """Returns the file that a table or an annotation calls `name`, which must lie in `root`.

    Args:
        root: The folder that the names start from.
        name: A relative path, with slashes or backslashes, or an absolute one.

    Raises:
        ValueError: If the path would leave `root`; it says so in a few words.

    Example:
        >>> inside(Path("photos"), "cat/1.png").as_posix()
        'photos/cat/1.png'
    """
    path = root / name.strip()
    if "\\" in name and not os.path.lexists(path):
        path = root / name.strip().replace("\\", "/")
    if "\0" in name or not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root)):
        raise ValueError(f"{name.strip()!r} is no path inside '{root}'")
    return path


def file_inside(root: Path, name: str) -> Path:
    """Returns the file of `inside` if it exists.

    Raises:
        ValueError: If the path would leave `root` or is no file; it says so in a few words.

    Example:
        >>> file_inside(Path("photos"), "absent.png")
        Traceback (most recent call last):
        ValueError: there is no file 'photos/absent.png'
    """
    path = inside(root, name)
    try:
        exists = path.is_file()
    except OSError:  # such as a name that is too long
        exists = False
    if not exists:
        raise ValueError(f"there is no file '{path}'")
    return path


def split_of(name: str) -> str | None:
    """Returns the split that a folder's or a cell's name means, None if it means none.

    Example:
        >>> split_of("Val"), split_of("cat")
        ('validation', None)
    """
    return SPLIT_NAMES.get(name.strip().lower())


def is_image(path: Path) -> bool:
    """Whether a file is an image by its name, and not hidden."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


def _raise_unreadable(refused: OSError) -> NoReturn:
    raise checks.error(
        "folders must be readable",
        given=f"'{refused.filename}' ({refused.strerror})",
        fix="Change its permissions.",
    ) from refused


def walk(folder: Path) -> list[Path]:
    """Returns all files below `folder` that are not hidden; links are followed, but no folder is listed twice."""
    return [Path(where) / name for where, files in _walk(folder) for name in files]


def _walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields each folder in and below `folder` with the names of its files, hidden ones left out."""
    seen = set()
    for where, folders, files in os.walk(folder, followlinks=True, onerror=_raise_unreadable):
        real = os.path.realpath(where)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield where, [name for name in files if not name.startswith(".")]


def list_files(
    root: Path, class_names: list[str], *, name: str, endings: tuple[str, ...] = EXTENSIONS
) -> Listing:
    """Lists the files with such endings in the subfolders of `root`, each of which must be a known class."""
    beside = (path for path in root.iterdir() if not path.name.startswith("."))
    others = Counter(path.suffix.lower() for path in beside if path.is_file())
    ids, counts = [], []

    def texts() -> Iterator[str]:  # those of one class at a time
        for folder in _subfolders(root):
            if folder.name not in class_names:
                raise checks.error(
                    f"`{name}` must hold known classes only",
                    given=f"{folder.name!r}",
                    fix=lookup.hint(folder.name, class_names),
                )
            of_class, more = _images_of(folder, root, endings)
            others.update(more)
            ids.append(class_names.index(folder.name))
            counts.append(len(of_class))
            yield from of_class

    paths = Paths(Names(texts(), folder=str(root / "_")[:-1]))
    if not paths:
        fix = f"Images end in {', '.join(endings)}. {LAYOUT}"
        raise checks.error(
            f"`{name}` must hold images in class folders", given=f"none in '{root}'", fix=fix
        )
    return Listing(root, paths, np.repeat(np.array(ids, np.int64), counts), others)


def _images_of(
    folder: Path, root: Path, endings: tuple[str, ...]
) -> tuple[list[str], Counter[str]]:
    """Returns the sorted relative paths of a folder's images, as texts, and how many other files there are."""
    texts: list[str] = []
    others: Counter[str] = Counter()
    for where, files in _walk(folder):
        inside = Path(where).relative_to(root).as_posix()
        found = [f"{inside}/{name}" for name in files if name.lower().endswith(endings)]
        rest = (name for name in files if not name.lower().endswith(endings))
        others.update(os.path.splitext(name)[1].lower() for name in rest)
        texts += found
    return sorted(texts), others


def list_classes(root: Path, endings: tuple[str, ...] = EXTENSIONS) -> tuple[list[str], Listing]:
    """Returns the names of the classes in the folder to train on, and its images; each class must have one."""
    class_names = class_names_of(root)
    listing = list_files(root, class_names, name="path", endings=endings)
    counts = np.bincount(listing.ids, minlength=len(class_names))
    missing = [name for name, count in zip(class_names, counts, strict=True) if not count]
    if missing:
        fix = f"Remove the folder, or add images ({', '.join(endings)})."
        raise checks.error(
            "every class folder must hold images", given=f"none in {lookup.some(missing)}", fix=fix
        )
    return class_names, listing
