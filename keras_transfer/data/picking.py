"""Some rows of whatever holds one an image."""

from collections.abc import Mapping
from typing import Any  # labels may hold anything

import numpy as np

__all__ = ["pick"]


def pick(values: Any, rows: np.ndarray) -> Any:
    """Returns some rows of an array, of a list, or of each in a dict; None of None.

    Example:
        >>> pick({"kind": ["cat", "dog"]}, np.array([1]))
        {'kind': ['dog']}
    """
    if isinstance(values, Mapping):
        return {key: pick(column, rows) for key, column in values.items()}
    if values is None or hasattr(values, "pick"):
        return None if values is None else values.pick(rows)
    return values[rows] if hasattr(values, "dtype") else [values[row] for row in rows]
