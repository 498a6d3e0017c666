"""Labels as plain arrays, before anything is known of their kind, and what all arrays of targets can do."""

from collections.abc import Sequence
from typing import Any  # a user's labels may hold anything

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks

__all__ = ["as_array", "blank", "join", "pack", "unpack"]


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


def blank(like: Any, count: int) -> np.ndarray:
    """Returns the targets of images without a label: zeros, which every loss takes.

    Example:
        >>> blank(np.array([3, 4]), 1).tolist()
        [0]
    """
    return np.zeros((count, *like.shape[1:]), like.dtype)


def join(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the targets of several arrays, one after the other."""
    return np.concatenate(columns)


def pack(target: Any) -> bytes:
    """Returns the target of one image as bytes, for a record; `unpack` makes it a target again.

    Example:
        >>> unpack(tf.constant(pack(np.float32([1.5, 2.5]))), (2,), tf.float32).numpy().tolist()
        [1.5, 2.5]
    """
    values = np.asarray(target)
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()


def unpack(packed: tf.Tensor, shape: Sequence[int], dtype: tf.DType) -> tf.Tensor:
    """Returns the target of one image, of this shape and type, from a record."""
    return tf.reshape(tf.io.decode_raw(packed, dtype), shape)
