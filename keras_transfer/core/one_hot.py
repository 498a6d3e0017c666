"""One-hot rows: a class of several, written as a row with a single 1."""

from typing import Any  # a user's labels may hold anything

import numpy as np

__all__ = ["class_ids"]


def class_ids(rows: Any, *, classes: int | None = None) -> np.ndarray | None:
    """Returns the class ids of one-hot rows, None if not all of them are.

    Args:
        rows: Of any type.
        classes: How many columns there must be; by default any number from 2 on.

    Example:
        >>> class_ids([[0, 1], [1, 0]]).tolist(), class_ids([[0.5, 0.5]]), class_ids([1, 0])
        ([1, 0], None, None)
    """
    try:
        values = np.asarray(rows)
    except ValueError:  # rows of different lengths
        return None
    if values.ndim != 2 or values.dtype.kind not in "iufb" or 0 in values.shape:
        return None
    columns = values.shape[1]
    if columns < 2 or columns != (classes or columns):
        return None
    are_ones = values == 1
    is_one_hot = (are_ones | (values == 0)).all() and (are_ones.sum(axis=1) == 1).all()
    return are_ones.argmax(axis=1) if is_one_hot else None
