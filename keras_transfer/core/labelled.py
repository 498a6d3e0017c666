"""Missing labels: the target is a place-holder, and the example's weight for the task is 0."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_transfer.core import checks

__all__ = ["are_masks", "by_task", "check_ids", "known", "of_task", "rows", "sample"]


def rows(weights: Any) -> np.ndarray:
    """Tells for each example whether it has a label.

    Args:
        weights: One weight an example, or several (one a pixel, say); an example with any weight but 0 has a label.

    Example:
        >>> rows([0.0, 1.0, 0.5]).tolist()
        [False, True, True]
    """
    values = np.asarray(weights)
    return (values.reshape(len(values), int(np.prod(values.shape[1:]))) != 0).any(axis=1)


def known(targets: Any, weights: Any) -> Any:
    """Returns the targets of one task for the examples that have a label; all of them if `weights` is None.

    Example:
        >>> known(np.array([5, 0, 7]), np.array([1.0, 0.0, 1.0])).tolist()
        [5, 7]
    """
    if weights is None:
        return targets
    # Columns of files can be indexed without being read.
    columns = targets if hasattr(targets, "some_rows") else np.asarray(targets)
    return columns[rows(weights)]


def sample(targets: Any, most: int = 256) -> Any:
    """Returns the targets of one task, or some of them where they are files: those were checked when they were listed.

    Example:
        >>> sample([5, 0, 7])
        [5, 0, 7]
    """
    return targets.some_rows(most) if hasattr(targets, "some_rows") else targets


def check_ids(ids: np.ndarray, classes: int, *, expected: str, fix: str) -> None:
    """Raises an error with the first class id that is not in [0, classes).

    Example:
        >>> check_ids(np.array([0, 1]), 2, expected="the labels must be class ids", fix="Count from 0.")
    """
    is_wrong = ~((ids >= 0) & (ids < classes))
    if is_wrong.any():
        at = int(is_wrong.argmax())
        raise checks.error(expected, given=f"{ids[at]} at index {at}", fix=fix)


def of_task(weights: Any, name: str | None) -> Any:
    """Returns the weights of one task, None if it has none. Weights that are no dict hold for all tasks.

    Example:
        >>> of_task({"kind": [1.0]}, "kind"), of_task([1.0], "kind"), of_task({"age": [1.0]}, "kind")
        ([1.0], [1.0], None)
    """
    return weights.get(name) if isinstance(weights, Mapping) else weights


def by_task(values: Any, name: str = "") -> Mapping:
    """Returns targets, weights or class names in a dict by task; those of one task without a name get `name`.

    Example:
        >>> by_task([1.0]), by_task({"kind": [1.0]})
        ({'': [1.0]}, {'kind': [1.0]})
    """
    return values if isinstance(values, Mapping) else {name: values}


def are_masks(weights: Any) -> bool:
    """Returns whether all weights are 0 or 1, so that they only say which labels are there.

    Example:
        >>> are_masks({"kind": [0.0, 1.0], "age": [1.0, 1.0]}), are_masks([0.5, 1.0])
        (True, False)
    """
    columns = [column for column in by_task(weights).values() if column is not None]
    return all(np.isin(column, (0, 1)).all() for column in columns)
