"""Labels as arrays a network can learn: class ids with their names, rows of tags, or numbers."""

import difflib
from collections.abc import Mapping, Sequence

import numpy as np

from keras_transfer.core import checks, labelled
from keras_transfer.data.targets import tags

__all__ = [
    "absent", "check_names", "check_present", "count", "encode", "encode_all", "is_classes", "some",
]  # fmt: skip


def is_classes(targets: np.ndarray) -> bool:
    """Whether encoded targets are class ids; otherwise they are numbers."""
    return targets.dtype.kind == "i"


def encode(
    values: Sequence | np.ndarray,
    *,
    class_names: Sequence[str] | None = None,
    numbers: bool = False,
    name: str = "labels",
) -> tuple[np.ndarray, list[str] | None]:
    """Encodes integers, strings, floats or lists of names.

    Args:
        values: Integers are class ids from 0, strings are class names, floats are numbers to predict, lists of names
            are tags.
        class_names: Names in the order of their ids; strings are sorted without them, integers named "0", "1", ….
        numbers: Whether integers are numbers to predict, too.
        name: How errors call the argument.

    Returns:
        int64 ids of shape `(n,)` with the class names, or float32 numbers of shape `(n,)` or `(n, k)` with None, or
        float32 rows of 0 and 1 with the names of the tags.

    Raises:
        InputError: If a label is no class, not finite or of a type that is neither.

    Example:
        >>> encode(["dog", "cat", "dog"])
        (array([1, 0, 1]), ['cat', 'dog'])
    """
    if tags.are_tags(values):
        return tags.encode(values, names=class_names, name=name)
    array = _array(values, name)
    if class_names is not None:
        class_names = check_names(class_names)
    if array.dtype.kind == "f" or numbers:
        return _numbers(array, class_names, name), None
    if array.ndim != 1:
        fix = "Use `labels.argmax(axis=1)` if they are one-hot; numbers to predict must be floats."
        raise checks.error(
            f"`{name}` must hold one class for each image", given=f"shape {array.shape}", fix=fix
        )
    if array.dtype.kind == "U":
        return _ids_of(array, class_names, name)
    return _checked_ids(array.astype(np.int64), class_names, name)


def encode_all(
    values: Sequence | np.ndarray | Mapping,
    *,
    class_names: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    like: np.ndarray | Mapping[str, np.ndarray] | None = None,
    name: str = "labels",
) -> tuple[np.ndarray | dict[str, np.ndarray], list[str] | dict[str, list[str]] | None]:
    """Encodes labels, or a dict of them, as `encode` does.

    Args:
        values: Labels, or a dict of them by the name of the task.
        class_names: Names in the order of their ids, or a dict of them for some of the entries.
        like: Encoded training targets that these must fit: the same entries, numbers where those are numbers.
        name: How errors call the argument.

    Returns:
        The targets and the class names, dicts where `values` is one; None as names when nothing is classes.

    Example:
        >>> encode_all({"kind": ["a", "b"], "age": [1.5, 2.0]})[1]
        {'kind': ['a', 'b']}
    """
    if not isinstance(values, Mapping):
        if isinstance(class_names, Mapping) or isinstance(like, Mapping):
            raise checks.error(
                f"`{name}` must be a dict, as the others", given=type(values).__name__
            )
        return encode(
            values,
            class_names=class_names,
            numbers=like is not None and not is_classes(like),
            name=name,
        )
    expected = set(values) if like is None else set(like) if isinstance(like, Mapping) else None
    if expected != set(values) or not values or not all(isinstance(key, str) for key in values):
        entries = (
            "one entry for each task" if like is None else "the entries of the training labels"
        )
        raise checks.error(
            f"`{name}` must have {entries}", given=some(list(values)) or "an empty dict"
        )
    if class_names is not None and not (
        isinstance(class_names, Mapping) and set(class_names) <= set(values)
    ):
        fix = f"The labels are {some(list(values))}."
        raise checks.error(
            "`class_names` must be a dict with the keys of the labels",
            given=repr(class_names),
            fix=fix,
        )
    encoded = {
        key: encode(
            column,
            class_names=(class_names or {}).get(key),
            numbers=like is not None and not is_classes(like[key]),
            name=f"{name}[{key!r}]",
        )
        for key, column in values.items()
    }
    targets = {key: ids for key, (ids, _) in encoded.items()}
    return targets, {key: own for key, (_, own) in encoded.items() if own is not None} or None


def check_names(class_names: Sequence[str]) -> list[str]:
    """Returns the names as a list if they are two or more different strings."""
    names = list(class_names)
    if isinstance(class_names, str) or not all(isinstance(name, str) and name for name in names):
        raise checks.error("`class_names` must be a list of strings", given=repr(class_names))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise checks.error(
            "`class_names` must differ from each other", given=f"{twice[0]!r} more than once"
        )
    if len(names) < 2:
        fix = "A classification needs two or more."
        raise checks.error(
            "`class_names` must name at least two classes", given=repr(names), fix=fix
        )
    return names


def check_present(
    targets: np.ndarray | Mapping,
    class_names: Sequence | Mapping | None,
    *,
    weights: np.ndarray | Mapping | None = None,
    fix: str,
) -> None:
    """Raises an error if a class has no training image, or no training image has a label.

    Args:
        targets: Those of the training images, or a dict of them.
        class_names: The names, or a dict of them for those entries that are classes.
        weights: 0 where a label is missing, in the form of the targets; None where none is.
        fix: How to go on.
    """
    if isinstance(targets, Mapping):
        for key, column in targets.items():
            own = labelled.of_task(weights, key)
            check_present(column, (class_names or {}).get(key), weights=own, fix=fix)
        return
    if weights is not None and not np.any(weights):
        raise checks.error(
            "every target must have a label of a training image", given="blanks only", fix=fix
        )
    missing = [] if class_names is None else absent(targets, class_names, weights=weights)
    if missing:
        raise checks.error(
            "every class must have a training image", given=f"none of {some(missing)}", fix=fix
        )


def absent(
    ids: np.ndarray, class_names: Sequence[str], *, weights: np.ndarray | None = None
) -> list[str]:
    """Names of the classes that no id stands for; ids of weight 0 stand for none."""
    counts = count(labelled.known(ids, weights), len(class_names))
    return [name for name, found in zip(class_names, counts, strict=True) if not found]


def count(targets: np.ndarray, classes: int) -> np.ndarray:
    """Returns how many examples each class has, from class ids or rows of tags.

    Example:
        >>> count(np.array([0, 2, 2]), 3).tolist(), count(np.array([[1.0, 1.0], [1.0, 0.0]]), 2).tolist()
        ([1, 0, 2], [2, 1])
    """
    if is_classes(targets):
        return np.bincount(targets, minlength=classes)
    return np.sum(targets == 1, axis=0)


def some(names: Sequence[str], most: int = 5) -> str:
    """The names as a text, the first few when they are many."""
    shown = ", ".join(map(repr, names[:most]))
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _array(values: Sequence | np.ndarray, name: str) -> np.ndarray:
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


def _numbers(array: np.ndarray, class_names: list[str] | None, name: str) -> np.ndarray:
    if class_names is not None:
        fix = f"Class ids are integers: use `{name}.astype(int)`."
        raise checks.error(
            f"`{name}` must be integers or strings where they name classes",
            given=array.dtype,
            fix=fix,
        )
    if array.ndim > 2 or array.dtype.kind == "U":
        raise checks.error(
            f"`{name}` must hold one number or one row of numbers for each image",
            given=_kind(array),
        )
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = f"{array[tuple(bad[0])]} at index {bad[0][0]}"
        raise checks.error(
            f"`{name}` must be finite", given=where, fix="Leave out images without a label."
        )
    return array.astype(np.float32)


def _ids_of(
    array: np.ndarray, class_names: list[str] | None, name: str
) -> tuple[np.ndarray, list[str]]:
    if class_names is None:
        found = sorted({str(value) for value in array})
        _check_several(len(found), repr(found[0]), name)
        class_names = found
    ids = {label: index for index, label in enumerate(class_names)}
    unknown = next((index for index, value in enumerate(array) if str(value) not in ids), None)
    if unknown is not None:
        given = f"{str(array[unknown])!r} at index {unknown}"
        close = difflib.get_close_matches(str(array[unknown]), class_names)
        fix = f"Close names: {some(close)}." if close else f"The classes are {some(class_names)}."
        raise checks.error(f"`{name}` must be among the class names", given=given, fix=fix)
    return np.array([ids[str(value)] for value in array], np.int64), class_names


def _checked_ids(
    ids: np.ndarray, class_names: list[str] | None, name: str
) -> tuple[np.ndarray, list[str]]:
    count = int(ids.max()) + 1 if class_names is None else len(class_names)
    bad = np.flatnonzero((ids < 0) | (ids >= count))
    if len(bad):
        limit = f"[0, {count})" if class_names is not None else "[0, the number of classes)"
        given = f"{ids[bad[0]]} at index {bad[0]}"
        raise checks.error(
            f"`{name}` must lie in {limit}",
            given=given,
            fix="Count classes from 0 and check the names.",
        )
    if class_names is not None:
        return ids, class_names
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


def _kind(array: np.ndarray) -> str:
    return f"{array.dtype} of shape {array.shape}"
