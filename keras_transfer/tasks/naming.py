"""The names of classes and tags, and numbers that a user gives by name or in their order."""

from collections.abc import Mapping, Sequence
from typing import Any  # whatever a user gives

from keras_transfer import losses
from keras_transfer.core import checks, lookup

__all__ = ["read_class_weights", "read_names", "values_in_order"]


def read_names(names: Any, *, argument: str, minimum: int) -> list[str]:
    """Returns names as a list; of a number, "0", "1" ...

    Args:
        names: A list of names, or their number.
        argument: How errors call it.
        minimum: The smallest number of names.

    Example:
        >>> read_names(3, argument="classes", minimum=2)
        ['0', '1', '2']
    """
    if isinstance(names, str | set | frozenset | dict):
        raise checks.error(
            f"`{argument}` must be a number or a list of names, which has an order",
            given=repr(names),
        )
    if not hasattr(names, "__iter__"):
        count = checks.integer(names, name=argument, minimum=minimum)
        return [str(index) for index in range(count)]
    texts = [str(name) for name in names]
    if len(texts) < minimum or len(set(texts)) < len(texts):
        twice = next((text for text in texts if texts.count(text) > 1), None)
        given = f"{len(texts)} names" if twice is None else f"{twice!r} twice"
        raise checks.error(f"`{argument}` must be {minimum} or more different names", given=given)
    return texts


def values_in_order(
    values: Any, names: Sequence[str], *, argument: str, default: float, what: str
) -> list:
    """Returns one value for each name, from a dict by name or from a list in the order of the names.

    Args:
        values: The dict or list.
        names: Of classes or tags.
        argument: How errors call the values.
        default: The value of a name that is not in the dict.
        what: What has a name: "class" or "tag", for errors.

    Example:
        >>> values_in_order({"b": 3.0}, ["a", "b"], argument="class_weights", default=1.0, what="class")
        [1.0, 3.0]
    """
    if isinstance(values, Mapping):
        for name in values:
            lookup.find(name, dict.fromkeys(names), argument=argument)
        return [values.get(name, default) for name in names]
    if len(values) != len(names):
        raise checks.error(
            f"`{argument}` must have {len(names)} entries, one a {what}", given=len(values)
        )
    return list(values)


def read_class_weights(weights: Any, classes: Sequence[str]) -> str | list[float] | None:
    """Returns None, a name of `kt.losses.WEIGHTS`, or a weight for each class in their order.

    Args:
        weights: As the user gives them: also a dict by name.
        classes: Their names.

    Example:
        >>> read_class_weights({"dog": 2}, ["cat", "dog"])
        [1.0, 2.0]
    """
    if weights is None or (isinstance(weights, str) and weights in losses.WEIGHTS):
        return weights
    if isinstance(weights, str):
        known = ", ".join(map(repr, losses.WEIGHTS))
        raise checks.error(
            f"`class_weights` must be None, {known}, a dict or a list", given=repr(weights)
        )
    values = values_in_order(weights, classes, argument="class_weights", default=1.0, what="class")
    return [checks.number(value, name="class_weights", minimum=0) for value in values]
