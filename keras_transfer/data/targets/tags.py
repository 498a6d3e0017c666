"""Tags: any number of names an image, none included."""

from collections.abc import Iterable, Sequence
from typing import Any  # a user's labels may hold anything

import numpy as np

from keras_transfer.core import checks, lookup

__all__ = ["are_tags", "encode", "fill", "split_tags"]

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
    rows = []
    for index, text in enumerate(labels):
        if _is_blank(text):
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


def are_tags(labels: Any) -> bool:
    """Returns whether labels are lists of names, one list an image; some may be blank.

    Example:
        >>> are_tags([["red"], [], None]), are_tags(["red", "blue"]), are_tags([[1.0, 2.0]])
        (True, False, False)
    """
    if isinstance(labels, np.ndarray):
        if labels.dtype != object or labels.ndim != 1:
            return False
    elif not isinstance(labels, list | tuple):
        return False
    groups = [row for row in labels if not _is_blank(row)]
    if not groups or not all(isinstance(row, GROUPS) for row in groups):
        return False
    names = [name for row in groups for name in row]
    return bool(names) and all(isinstance(name, str) for name in names)


def fill(labels: Sequence) -> tuple[list, np.ndarray | None]:
    """Replaces blank labels by "no tags", and returns which labels are there (None if all are).

    Example:
        >>> fill([["red"], None])
        ([['red'], []], array([ True, False]))
    """
    present = np.array([not _is_blank(row) for row in labels], bool)
    rows = [[] if _is_blank(row) else list(row) for row in labels]
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


def _is_blank(label: object) -> bool:
    """None, NaN (of NumPy or pandas) or an empty text; an empty list is "no tags"."""
    if isinstance(label, str):
        return not label.strip()
    is_nan = isinstance(label, float | np.floating) and bool(np.isnan(label))
    return label is None or is_nan or type(label).__name__ in ("NAType", "NaTType")
