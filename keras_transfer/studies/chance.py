"""Orders of things that were measured on few examples: chance does not overrule what was known before."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from keras_transfer.studies.scores import Score

__all__ = ["Measured", "beats", "largest_difference", "pass_by"]

T = TypeVar("T")


class Measured(NamedTuple):
    """A value and its interval, None where there is none."""

    value: float
    interval: Sequence[float] | None = None


def largest_difference(one: Measured, other: Measured) -> float:
    """Returns by how much two that are equally good may differ by chance; 0 where intervals are not known.

    The interval of their difference is Newcombe's, from those of both values. He takes them as measured on different
    images; where these are the same, it is rather too wide than too narrow.

    Example:
        >>> round(largest_difference(Measured(0.8, (0.77, 0.84)), Measured(0.7, (0.65, 0.74))), 6)
        0.05
    """
    if one.interval is None or other.interval is None:
        return 0.0
    # How much smaller the larger one may be, and how much larger the smaller one.
    if one.value > other.value:
        return math.hypot(one.value - one.interval[0], other.interval[1] - other.value)
    return math.hypot(one.interval[1] - one.value, other.value - other.interval[0])


def pass_by(order: Sequence[T], score: Score, measured: Callable[[T], Measured]) -> list[T]:
    """Returns an order in which each has gone before those in front of it that it beats by more than chance.

    Args:
        order: As it was before anything was measured, best first.
        score: That was measured.
        measured: What was measured of each.

    Example:
        >>> found = {"a": Measured(0.7, (0.6, 0.8)), "b": Measured(0.75, (0.65, 0.85))}
        >>> found["c"] = Measured(0.9, (0.85, 0.95))
        >>> pass_by("abc", Score("accuracy", "accuracy", True, True), found.get)
        ['c', 'a', 'b']
    """
    result: list[T] = []
    for each in order:
        place = len(result)
        while place and beats(score, measured(each), measured(result[place - 1])):
            place -= 1
        result.insert(place, each)
    return result


def beats(score: Score, one: Measured, other: Measured) -> bool:
    """Returns whether one is better than another by more than chance.

    Example:
        >>> beats(Score("accuracy", "accuracy", True, True), Measured(0.8, (0.7, 0.9)), Measured(0.7, (0.6, 0.8)))
        False
    """
    ahead = score.sign * (one.value - other.value)
    return ahead > 0 and ahead > largest_difference(one, other)
