"""Pictures and the files that belong to them: those of the same name, but for the ending."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_transfer.core import checks, lookup
from keras_transfer.storage import listing

__all__ = ["Pair", "match", "split_folders"]


class Pair(NamedTuple):
    """A picture with the file that belongs to it.

    Attributes:
        name: Of the picture, as errors call it.
        image: The picture.
        annotation: The other file.
    """

    name: str
    image: Path
    annotation: Path


def match(
    images: Path,
    annotations: Path,
    endings: Sequence[str],
    notes: list[str],
    *,
    what: str,
    suffix: str | None = None,
) -> list[Pair]:
    """Returns the pictures that have a file of the same name, in the order of their names.

    Pictures without one are left out and noted: nothing is known about them. A file without a picture is an error.

    Args:
        images: The folder of pictures, at any depth.
        annotations: The folder of the other files, which lie at the same place in it.
        endings: Of the other files.
        notes: Gets what was decided.
        what: What the other files are, for errors.
        suffix: What follows the name of the picture in that of its file, such as "_mask"; None where nothing may.
    """
    others = _by_stem(annotations, endings, suffix or "")
    pictures = _by_stem(images, listing.EXTENSIONS, "")
    if images == annotations and set(endings) & set(listing.EXTENSIONS):
        pictures = {stem: path for stem, path in pictures.items() if path not in others.values()}
    if not others:
        given = f"none in '{annotations}'"
        expected = (
            f"there must be files of {what}s that end in {suffix or ''}{' or '.join(endings)}"
        )
        raise checks.error(expected, given=given)
    alone = [stem for stem in others if stem not in pictures]
    if alone:
        near = lookup.close(alone[0], pictures)
        shown = ", ".join(str(others[stem].relative_to(annotations)) for stem in alone[:3])
        more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
        fix = f"Pictures there: {lookup.some(near)}." if near else ""
        longer = [stem for stem in pictures if alone[0].startswith(stem)]
        if longer and suffix == "":
            fix = f"Give `suffix={alone[0].removeprefix(max(longer, key=len))!r}`."
        expected = f"every {what} must have a picture of its name in '{images}'"
        raise checks.error(expected, given=f"none for {shown}{more}", fix=fix)
    unlabelled = len(pictures) - len(others)
    if unlabelled:
        files = "1 image has" if unlabelled == 1 else f"{unlabelled} images have"
        end = "is" if unlabelled == 1 else "are"
        notes.append(checks.note(f"{files} no {what} and {end} left out"))
    pairs = []
    for stem in sorted(others):
        path = pictures[stem]
        pairs.append(Pair(path.relative_to(images).as_posix(), path, others[stem]))
    return pairs


def split_folders(root: Path) -> dict[str, Path]:
    """Returns the folders that are named like splits, by split; none if there is no training folder among them.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("train", "valid", "other"):
        ...     (root / name).mkdir()
        >>> {split: folder.name for split, folder in split_folders(root).items()}
        {'train': 'train', 'validation': 'valid'}
    """
    found: dict[str, Path] = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        split = listing.split_of(folder.name)
        if split is None:
            continue
        if split in found:
            given = f"{found[split].name!r} and {folder.name!r} in '{root}'"
            raise checks.error(f"there must be one folder for {split}", given=given)
        found[split] = folder
    return found if "train" in found else {}


def _by_stem(folder: Path, endings: Sequence[str], suffix: str) -> Mapping[str, Path]:
    """Returns the files of a folder by their relative path without its ending; two of one name are an error."""
    found: dict[str, Path] = {}
    for path in sorted(listing.walk(folder)):
        if path.suffix.lower() not in endings or not path.stem.endswith(suffix):
            continue
        stem = path.relative_to(folder).with_suffix("").as_posix().removesuffix(suffix)
        if stem in found:
            given = f"'{found[stem].name}' and '{path.name}'"
            raise checks.error(f"files in '{folder}' must have names of their own", given=given)
        found[stem] = path
    return found
