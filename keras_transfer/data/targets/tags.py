"""Tags: any number of names an image, none included."""

from collections.abc import Iterable, Sequence
from typing import Any  # a user's labels may hold anything

import numpy as np

from keras_transfer.core import checks, lookup
from keras_transfer.data.targets import arrays, missing

__all__ = [
    "MOVES", "NEEDS_ALL_CLASSES", "blank", "count", "describe", "describe_one", "encode", "fill", "holds", "join",
    "pack", "reads", "split_tags", "stratify", "tabulate", "unpack",
]  # fmt: skip

MOVES = False
NEEDS_ALL_CLASSES = True

blank, join, pack, unpack = arrays.blank, arrays.join, arrays.pack, arrays.unpack

GROUPS = list | tuple | set | frozenset


def split_tags(labels: Iterable, *, separator: str = ";") -> list[list[str] | None]:
    """Splits texts such as "red;round" into lists of tags, which `kt.data.from_arrays` takes as labels.

    Args:
        labels: A text an image. A blank one (None, NaN, "") is a missing label; a separator alone means "no tags".
        separator: What stands between two tags.

    Example:
        >>> split_tags(["red; round", ";", ""])
        [['red', 'round'], [], None]
    """
    rows: list = []
    for index, text in enumerate(labels):
        if missing.is_blank(text):
            rows.append(None)
        elif isinstance(text, str):
            names = [name.strip() for name in text.split(separator)]
            rows.append([name for name in names if name])
        else:
            raise checks.error(
                f"`labels` must be texts such as 'red{separator}round'",
                given=f"{text!r} at index {index}",
            )
    return rows


def reads(labels: Any) -> bool:
    """Returns whether labels are lists of names, one list an image; some may be blank.

    Example:
        >>> reads([["red"], [], None]), reads(["red", "blue"]), reads([[1.0, 2.0]])
        (True, False, False)
    """
    if isinstance(labels, np.ndarray):
        if labels.dtype != object or labels.ndim != 1:
            return False
    elif not isinstance(labels, list | tuple):
        return False
    groups = [row for row in labels if not missing.is_blank(row)]
    if not groups or not all(isinstance(row, GROUPS) for row in groups):
        return False
    names = [name for row in groups for name in row]
    return bool(names) and all(isinstance(name, str) for name in names)


def fill(
    labels: Sequence, like: object = None, name: str = "labels"
) -> tuple[list, np.ndarray | None]:
    """Replaces blank labels by "no tags", and returns which labels are there (None if all are).

    Example:
        >>> fill([["red"], None])
        ([['red'], []], array([ True, False]))
    """
    present = np.array([not missing.is_blank(row) for row in labels], bool)
    for label in labels:
        if not missing.is_blank(label) and not isinstance(label, GROUPS):
            fix = "kt.data.split_tags makes them of texts such as 'red;round'."
            raise checks.error(f"`{name}` must be lists of tags", given=repr(label), fix=fix)
    rows = [list(row) if is_there else [] for row, is_there in zip(labels, present, strict=True)]
    return rows, None if present.all() else present


def encode(
    labels: Sequence, *, names: Sequence[str] | None = None, name: str = "labels"
) -> tuple[np.ndarray, list[str]]:
    """Encodes lists of tags as rows of 0 and 1.

    Args:
        labels: A list of tags an image.
        names: All tags in their order; by default those that occur, sorted.
        name: How errors call the argument.

    Returns:
        float32 of shape (images, tags), and the names.

    Raises:
        InputError: If a tag is not among `names`, or there is none at all.

    Example:
        >>> encode([["red", "round"], [], ["red"]])
        (array([[1., 1.],
               [0., 0.],
               [1., 0.]], dtype=float32), ['red', 'round'])
    """
    if names is None:
        names = sorted({str(tag) for row in labels for tag in row})
    names = list(names)
    if not names:
        raise checks.error(f"`{name}` must hold at least one tag", given="none")
    columns = {tag: column for column, tag in enumerate(names)}
    values = np.zeros((len(labels), len(names)), "float32")
    for index, row in enumerate(labels):
        for tag in row:
            values[index, lookup.find(str(tag), columns, argument=name)] = 1.0
    return values, names


def holds(targets: np.ndarray, names: Sequence[str] | None) -> bool:
    """Whether an encoded target is rows of tags."""
    return targets.dtype.kind == "f" and names is not None


def describe(targets: np.ndarray, names: Sequence[str]) -> str:
    """Names the tags."""
    return f"the tags {lookup.some(names)}"


def describe_one(target: np.ndarray, names: Sequence[str]) -> str:
    """Returns the tags of an image."""
    return (
        ", ".join(name for name, value in zip(names, target, strict=True) if value == 1) or "no tag"
    )


def count(targets: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Returns how many images have each tag."""
    return np.sum(targets == 1, axis=0)


def tabulate(targets: Sequence[np.ndarray], names: Sequence[str]) -> list[list[str]]:
    """Returns the number of images with each tag, by split."""
    counts = np.transpose([count(values, names) for values in targets])
    return [[name, *map(str, row)] for name, row in zip(names, counts, strict=True)]


def stratify(targets: np.ndarray) -> np.ndarray:
    """Returns a column for each tag: 0 where an image has it, else -1, which is not shared out."""
    return np.where(targets == 1, 0, -1)
