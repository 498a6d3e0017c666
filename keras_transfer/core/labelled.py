"""Labels that are missing: targets hold a place-holder there, and the example's weight for the task is 0."""

from collections.abc import Mapping

import numpy as np

__all__ = ["are_masks", "known", "of_task", "rows"]


def rows(weights: object) -> np.ndarray:
    """Whether each example has a label.

    Args:
        weights: One an example, or several (of pixels, say), any of which may be other than 0.

    Example:
        >>> rows([0.0, 1.0, 0.5]).tolist()
        [False, True, True]
    """
    values = np.asarray(weights)
    return (values.reshape(len(values), int(np.prod(values.shape[1:]))) != 0).any(axis=1)


def known(targets: object, weights: object) -> object:
    """The targets of the examples that have a label, in their order; all where there are no weights.

    Args:
        targets: Of one task.
        weights: As for `rows`, or None.

    Example:
        >>> known(np.array([5, 0, 7]), np.array([1.0, 0.0, 1.0])).tolist()
        [5, 7]
    """
    return targets if weights is None else np.asarray(targets)[rows(weights)]


def of_task(weights: object, name: str) -> object:
    """The weights of one task: its own of a dict, or those that hold for all tasks; None where there are none.

    Example:
        >>> of_task({"kind": [1.0]}, "kind"), of_task([1.0], "kind"), of_task({"age": [1.0]}, "kind")
        ([1.0], [1.0], None)
    """
    return weights.get(name) if isinstance(weights, Mapping) else weights


def are_masks(weights: object) -> bool:
    """Whether all weights are 0 or 1: they say which labels are there, and nothing else.

    Example:
        >>> are_masks({"kind": [0.0, 1.0], "age": [1.0, 1.0]}), are_masks([0.5, 1.0])
        (True, False)
    """
    columns = weights.values() if isinstance(weights, Mapping) else [weights]
    return all(
        bool(np.isin(np.asarray(column), (0, 1)).all()) for column in columns if column is not None
    )
