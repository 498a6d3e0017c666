"""Blank labels: which are missing, and what stands in their place."""

from collections.abc import Mapping, Sequence
from typing import Any  # a user's labels may hold anything

import numpy as np

from keras_transfer.core import checks, labelled

__all__ = ["all_blank", "complete", "fill", "is_blank", "note_missing", "weights_of"]

# For each label whether it is there, in a dict where targets are one; None where all are.
Present = Any


def complete(present: Present) -> bool:
    """Whether no label is missing.

    Example:
        >>> complete({"kind": np.array([True, False]), "age": None})
        False
    """
    return all(column is None for column in labelled.by_task(present).values())


def weights_of(targets: Any, present: Present) -> Any:
    """Returns the weight of each target: 1, or 0 where the label is missing; a dict where targets are one.

    Example:
        >>> weights_of(np.array([2, 0]), np.array([True, False])).tolist()
        [1.0, 0.0]
    """
    if isinstance(targets, Mapping):
        return {
            key: weights_of(values, labelled.of_task(present, key))
            for key, values in targets.items()
        }
    return np.ones(len(targets), np.float32) if present is None else present.astype(np.float32)


def note_missing(weights: Sequence[Any]) -> list[str]:
    """Notes how many labels of each target are missing.

    Args:
        weights: Those of each split.

    Example:
        >>> note_missing([np.array([1.0, 0.0], np.float32)])
        keras_transfer: 1 of 2 labels are missing: they count neither in losses nor in metrics
        ['1 of 2 labels are missing: they count neither in losses nor in metrics']
    """
    counts = []
    for name in labelled.by_task(weights[0]):
        column = np.concatenate([labelled.of_task(split, name) for split in weights])
        lost = int((column == 0).sum())
        if lost:
            counts.append(f"{lost} of {len(column)} {name or 'labels'}")
    if not counts:
        return []

    end = " labels" if isinstance(weights[0], Mapping) else ""
    text = f"{', '.join(counts)}{end} are missing: they count neither in losses nor in metrics"
    return [checks.note(text)]


def fill(
    labels: Any, like: np.ndarray | None = None, name: str = "labels"
) -> tuple[Any, np.ndarray | None]:
    """Finds blank labels, and puts a label that is there in their place so that all can be checked alike.

    Blank are NaN, None, empty strings, and what a masked array masks. In a list or an array of objects, what is left
    says what the column is: integers are class ids also where others are None.

    Args:
        labels: One an image.
        like: Encoded training targets; None for the training labels themselves, which must not all be blank.
        name: How errors call the argument.

    Returns:
        The labels, and for each whether it is there; None in place of that where all are.

    Example:
        >>> fill(["cat", None])
        (array(['cat', 'cat'], dtype='<U3'), array([ True, False]))
    """
    array = _array(labels)
    if array is None or not array.ndim or not array.size:
        return labels, None
    present = _present(array, name)
    values = np.ma.getdata(array)
    if present.all():
        return (values if isinstance(labels, np.ma.MaskedArray) else labels), None
    if not present.any():
        if like is None:
            raise all_blank(name, len(array))
        return np.zeros((len(array), *like.shape[1:]), like.dtype), present
    filled = np.array(values)
    filled[~present] = filled[int(np.argmax(present))]
    return (np.array(filled.tolist()) if filled.dtype == object else filled), present


def all_blank(name: str, count: int) -> checks.InputError:
    """The error of training labels that are all missing."""
    return checks.error(
        f"`{name}` must hold a label of some image",
        given=f"{count} blanks",
        fix="Leave the column out, or give some labels.",
    )


def _array(values: object) -> np.ndarray | None:
    """The labels as an array; None where they are none, which is for `encode` to say."""
    if isinstance(values, np.ma.MaskedArray):
        return values
    try:
        if isinstance(values, list | tuple) and any(isinstance(value, str) for value in values):
            return np.array(values, object)  # as strings, NaN would be a class named "nan"
        return np.asarray(values)
    except ValueError:
        return None


def _present(array: np.ndarray, name: str) -> np.ndarray:
    """Whether each label is there; of several numbers an image must have all or none."""
    masked = np.ma.getmaskarray(array)
    values = np.ma.getdata(array)
    blank = masked | _blanks(values)
    blank = blank.reshape(len(blank), -1)
    partly = np.flatnonzero(blank.any(axis=1) & ~blank.all(axis=1))
    if len(partly):
        raise checks.error(
            f"`{name}` must hold all numbers of an image or none",
            given=f"{values[partly[0]].tolist()} at index {partly[0]}",
            fix="Make each number an entry of its own in a dict of labels.",
        )
    return ~blank[:, 0]


def _blanks(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind == "U":
        return np.char.strip(values) == ""
    if values.dtype.kind == "O":
        return np.array([is_blank(value) for value in values.flat], bool).reshape(values.shape)
    return np.zeros(values.shape, bool)


def is_blank(value: object) -> bool:
    """None, NaN (pandas has two more of its kind) or an empty string."""
    if isinstance(value, str):
        return not value.strip()
    is_nan = isinstance(value, float | np.floating) and bool(np.isnan(value))
    return value is None or is_nan or type(value).__name__ in ("NAType", "NaTType")
