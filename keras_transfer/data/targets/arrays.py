"""Labels as plain arrays, before anything is known of their kind."""

from typing import Any  # a user's labels may hold anything

import numpy as np

from keras_transfer.core import checks

__all__ = ["as_array"]


def as_array(values: Any, name: str) -> np.ndarray:
    """Returns labels as an array of numbers or strings, one row an image; a column counts as a vector.

    Example:
        >>> as_array([["cat"], ["dog"]], "labels")
        array(['cat', 'dog'], dtype='<U3')
    """
    try:
        array = np.asarray(values)
    except ValueError as problem:  # rows of different lengths
        raise checks.error(
            f"`{name}` must be an array of numbers or strings", given=str(problem)
        ) from problem
    if array.dtype.kind == "O" and all(isinstance(value, str) for value in array.flat):
        array = array.astype(str)
    if array.dtype.kind not in "biufU":
        fix = "Give integers (class ids), strings (class names) or floats (numbers to predict)."
        raise checks.error(
            f"`{name}` must be an array of numbers or strings",
            given=f"dtype {array.dtype}",
            fix=fix,
        )
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 0 or array.size == 0:
        raise checks.error(
            f"`{name}` must hold one label for each image", given=f"shape {array.shape}"
        )
    return array
