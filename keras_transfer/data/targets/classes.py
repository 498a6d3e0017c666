"""Classes: one of several names an image."""

from collections.abc import Sequence
from typing import Any  # a user's labels may hold anything

import numpy as np

from keras_transfer.core import checks, lookup, one_hot
from keras_transfer.data.targets import arrays, missing

__all__ = [
    "MOVES", "NEEDS_ALL_CLASSES", "blank", "check_names", "count", "describe", "describe_one", "encode", "fill",
    "holds", "join", "pack", "reads", "stratify", "tabulate", "unpack",
]  # fmt: skip

MOVES = False
NEEDS_ALL_CLASSES = True

fill, blank, join = missing.fill, arrays.blank, arrays.join
pack, unpack = arrays.pack, arrays.unpack


def reads(labels: Any) -> bool:
    """Returns True: what is nothing else must name classes, and `encode` says why not."""
    return True


def encode(
    labels: Any, *, names: Sequence[str] | None = None, name: str = "labels"
) -> tuple[np.ndarray, list[str]]:
    """Encodes class names (strings), class ids from 0 (integers) or one-hot rows.

    Args:
        labels: One an image.
        names: Names in the order of their ids; strings are sorted without them, integers named "0", "1", ….
        name: How errors call the argument.

    Returns:
        int64 ids of shape `(n,)`, and the names.

    Example:
        >>> encode(["dog", "cat", "dog"])
        (array([1, 0, 1]), ['cat', 'dog'])
    """
    array = arrays.as_array(labels, name)
    names = None if names is None else check_names(names)
    columns = array.shape[1] if array.ndim == 2 else 0
    ids = one_hot.class_ids(array)
    if ids is not None:
        return _check_ids(ids, names or [str(index) for index in range(columns)], name)
    if array.ndim != 1:
        fix = "One-hot rows have a single 1 each; numbers to predict must be floats."
        raise checks.error(
            f"`{name}` must hold one class for each image", given=f"shape {array.shape}", fix=fix
        )
    if array.dtype.kind == "U":
        return _find_ids(array, names, name)
    if array.dtype.kind == "f":
        is_whole = np.isfinite(array) & (array == np.trunc(array))
        if not is_whole.all():
            given = f"{array[~is_whole][0]:g}"
            raise checks.error(f"class ids in `{name}` must be whole numbers", given=given)
    return _check_ids(array.astype(np.int64), names, name)


def holds(targets: np.ndarray, names: Sequence[str] | None) -> bool:
    """Whether an encoded target is class ids."""
    return targets.dtype.kind in "iub"


def describe(targets: np.ndarray, names: Sequence[str]) -> str:
    """Names the classes."""
    return f"the classes {lookup.some(names)}"


def describe_one(target: int, names: Sequence[str]) -> str:
    """Returns the name of a class."""
    return names[int(target)]


def count(targets: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Returns how many images each class has."""
    return np.bincount(targets, minlength=len(names))


def tabulate(targets: Sequence[np.ndarray], names: Sequence[str]) -> list[list[str]]:
    """Returns the number of images of each class, by split."""
    counts = np.transpose([count(values, names) for values in targets])
    return [[name, *map(str, row)] for name, row in zip(names, counts, strict=True)]


def stratify(targets: np.ndarray) -> np.ndarray:
    """Returns the class ids."""
    return targets


def check_names(class_names: Sequence[str], *, least: int = 2) -> list[str]:
    """Returns the names as a list if they are different strings, `least` or more of them."""
    names = list(class_names)
    if isinstance(class_names, str) or not all(isinstance(name, str) and name for name in names):
        raise checks.error("`class_names` must be a list of strings", given=repr(class_names))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise checks.error(
            "`class_names` must differ from each other", given=f"{twice[0]!r} more than once"
        )
    if len(names) < least:
        fix = "A classification needs two or more." if least > 1 else ""
        number = "two classes" if least > 1 else "one class"
        raise checks.error(f"`class_names` must name at least {number}", given=repr(names), fix=fix)
    return names


def _find_ids(
    array: np.ndarray, names: list[str] | None, name: str
) -> tuple[np.ndarray, list[str]]:
    if names is None:
        names = sorted({str(value) for value in array})
        _check_several(len(names), repr(names[0]), name)
    ids = {label: index for index, label in enumerate(names)}
    unknown = next((index for index, value in enumerate(array) if str(value) not in ids), None)
    if unknown is not None:
        given = f"{str(array[unknown])!r} at index {unknown}"
        fix = lookup.hint(str(array[unknown]), names)
        raise checks.error(f"`{name}` must be among the class names", given=given, fix=fix)
    return np.array([ids[str(value)] for value in array], np.int64), names


def _check_ids(ids: np.ndarray, names: list[str] | None, name: str) -> tuple[np.ndarray, list[str]]:
    count = int(ids.max()) + 1 if names is None else len(names)
    bad = np.flatnonzero((ids < 0) | (ids >= count))
    if len(bad):
        limit = f"[0, {count})" if names is not None else "[0, the number of classes)"
        given = f"{ids[bad[0]]} at index {bad[0]}"
        raise checks.error(
            f"`{name}` must lie in {limit}",
            given=given,
            fix="Count classes from 0 and check the names.",
        )
    if names is not None:
        return ids, names
    present = np.unique(ids)
    _check_several(len(present), ids[0], name)
    if len(present) < count:
        missing = int(np.setdiff1d(np.arange(count), present)[0]) if count < 1e6 else "a smaller id"
        fix = "Use strings for names, floats for numbers to predict, or give `class_names`."
        given = f"ids up to {count - 1} without {missing}"
        raise checks.error(f"`{name}` must use every class id from 0", given=given, fix=fix)
    return ids, [str(index) for index in range(count)]


def _check_several(count: int, only: object, name: str) -> None:
    if count < 2:
        fix = "A classification needs two or more; numbers to predict must be floats."
        raise checks.error(
            f"`{name}` must hold at least two classes", given=f"only {only}", fix=fix
        )
