"""Numbers to predict: one, or one row of them, an image."""

from collections.abc import Sequence
from typing import Any  # a user's labels may hold anything

import numpy as np

from keras_transfer.core import checks, one_hot
from keras_transfer.data.targets import arrays, missing

__all__ = [
    "MOVES", "blank", "describe", "describe_one", "encode", "fill", "holds", "join", "pack", "reads", "stratify",
    "tabulate", "unpack",
]  # fmt: skip

MOVES = False

fill, blank, join = missing.fill, arrays.blank, arrays.join
pack, unpack = arrays.pack, arrays.unpack


def reads(labels: Any) -> bool:
    """Whether labels are floats; one-hot rows are classes."""
    try:
        is_float = np.asarray(labels).dtype.kind == "f"
    except ValueError:  # rows of different lengths
        return False
    return is_float and one_hot.class_ids(labels) is None


def encode(
    labels: Any, *, names: Sequence[str] | None = None, name: str = "labels"
) -> tuple[np.ndarray, None]:
    """Checks numbers and returns them as float32, of shape `(n,)` or `(n, k)`.

    Example:
        >>> encode([1.5, 2.0])
        (array([1.5, 2. ], dtype=float32), None)
    """
    array = arrays.as_array(labels, name)
    if names is not None:
        fix = f"Class ids are integers: use `{name}.astype(int)`."
        raise checks.error(
            f"`{name}` must be integers or strings where they name classes",
            given=array.dtype,
            fix=fix,
        )
    if array.ndim > 2 or array.dtype.kind == "U":
        raise checks.error(
            f"`{name}` must hold one number or one row of numbers for each image",
            given=f"{array.dtype} of shape {array.shape}",
        )
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = f"{array[tuple(bad[0])]} at index {bad[0][0]}"
        fix = "Leave out images without a label."
        raise checks.error(f"`{name}` must be finite", given=where, fix=fix)
    return array.astype(np.float32), None


def holds(targets: np.ndarray, names: Sequence[str] | None) -> bool:
    """Whether an encoded target is numbers."""
    return targets.dtype.kind == "f" and names is None


def describe(targets: np.ndarray, names: Sequence[str] | None) -> str:
    """Says how many numbers an image has."""
    return f"{targets.shape[1]} numbers" if targets.ndim > 1 else "a number"


def describe_one(target: Any, names: Sequence[str] | None) -> str:
    """Returns the numbers of an image."""
    return ", ".join(f"{number:.4g}" for number in np.ravel(target))


def tabulate(targets: Sequence[np.ndarray], names: Sequence[str] | None) -> list[list[str]]:
    """Returns the smallest, mean and largest number of each split."""
    rows = []
    for verb in (np.min, np.mean, np.max):
        cells = [f"{verb(values):.4g}" if len(values) else "-" for values in targets]
        rows.append([verb.__name__, *cells])
    return rows


def stratify(targets: np.ndarray) -> None:
    """Returns nothing: numbers have no groups."""
