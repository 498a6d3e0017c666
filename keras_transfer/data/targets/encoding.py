"""The targets of all tasks together: one target, or a dict of them by the name of the task."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any  # a user's labels may hold anything

import numpy as np

from keras_transfer.core import checks, labelled, lookup
from keras_transfer.data.targets import KINDS, missing

__all__ = ["absent", "check_present", "kind_of", "read"]


def kind_of(targets: np.ndarray, names: Sequence[str] | None) -> ModuleType:
    """Returns the kind of an encoded target, one of `KINDS`."""
    return next(kind for kind in KINDS.values() if kind.holds(targets, names))


def read(
    labels: Any, *, class_names: Any = None, like: Any = None, name: str = "labels"
) -> tuple[Any, Any, missing.Present]:
    """Turns labels, or a dict of them, into arrays that a network can learn; where a label is blank the target is 0.

    Args:
        labels: Integers are class ids from 0, strings are class names, one-hot rows are classes, floats are numbers
            to predict, lists of names are tags; or a dict of these by the name of the task. Some may be blank.
        class_names: Names in the order of their ids, or a dict of them for some of the entries.
        like: Encoded training targets that these must fit: the same entries, numbers where those are numbers. None for
            the training labels themselves, which must not all be blank.
        name: How errors call the argument.

    Returns:
        The targets, the class names (None when nothing is classes), and for each label whether it is there (None where
        all are); dicts where `labels` is one.

    Raises:
        InputError: If a label is no class, not finite or of a type that is none of these.

    Example:
        >>> targets, names, present = read(["dog", None, "cat"])
        >>> targets.tolist(), names, present.tolist()
        ([1, 0, 0], ['cat', 'dog'], [True, False, True])
    """
    if isinstance(labels, Mapping):
        _check_entries(labels, class_names, like, name)
        return _read_tasks(labels, class_names, like, name)
    if isinstance(class_names, Mapping) or isinstance(like, Mapping):
        raise checks.error(f"`{name}` must be a dict, as the others", given=type(labels).__name__)
    filled, present = _kind_of_labels(labels).fill(labels, like, name)
    kind = _kind_of_labels(filled)  # of a list of floats and None, only what is filled are numbers
    if like is not None and class_names is None and kind is KINDS["category"]:
        kind = kind_of(like, class_names)  # whole numbers where the training labels are floats
    targets, names = kind.encode(filled, names=class_names, name=name)
    return missing.blanked(targets, present), names, present


def _read_tasks(
    labels: Mapping, class_names: Any, like: Any, name: str
) -> tuple[dict, dict | None, dict | None]:
    targets, names, present = {}, {}, {}
    for key, column in labels.items():
        targets[key], own_names, present[key] = read(
            column,
            class_names=labelled.of_task(class_names, key),
            like=labelled.of_task(like, key),
            name=f"{name}[{key!r}]",
        )
        if own_names is not None:
            names[key] = own_names
    return targets, names or None, None if missing.complete(present) else present


def _kind_of_labels(labels: Any) -> ModuleType:
    return next(kind for kind in KINDS.values() if kind.reads(labels))


def _check_entries(labels: Mapping, class_names: Any, like: Any, name: str) -> None:
    """Raises an error unless a dict of labels has the entries that it should have."""
    expected = "one entry for each task"
    is_complete = bool(labels) and all(isinstance(key, str) for key in labels)
    if like is not None:
        expected = "the entries of the training labels"
        is_complete &= isinstance(like, Mapping) and set(like) == set(labels)
    if not is_complete:
        given = lookup.some(list(labels)) or "an empty dict"
        raise checks.error(f"`{name}` must have {expected}", given=given)
    if class_names is None:
        return
    if not isinstance(class_names, Mapping) or not set(class_names) <= set(labels):
        fix = f"The labels are {lookup.some(list(labels))}."
        expected = "`class_names` must be a dict with the keys of the labels"
        raise checks.error(expected, given=repr(class_names), fix=fix)


def check_present(targets: Any, class_names: Any, *, weights: Any = None, fix: str) -> None:
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
            names = labelled.of_task(class_names, key)
            check_present(column, names, weights=own, fix=fix)
        return
    if weights is not None and not np.any(weights):
        raise checks.error(
            "every target must have a label of a training image", given="blanks only", fix=fix
        )
    lacking = [] if class_names is None else absent(targets, class_names, weights=weights)
    if lacking:
        raise checks.error(
            "every class must have a training image",
            given=f"none of {lookup.some(lacking)}",
            fix=fix,
        )


def absent(
    targets: np.ndarray, class_names: Sequence[str], *, weights: np.ndarray | None = None
) -> list[str]:
    """Returns the names of the classes or tags that no image has; images of weight 0 do not count."""
    counts = kind_of(targets, class_names).count(labelled.known(targets, weights), class_names)
    return [name for name, found in zip(class_names, counts, strict=True) if not found]
