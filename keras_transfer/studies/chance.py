"""Orders of things that were measured on few examples: chance does not overrule what was known before."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from keras_transfer.studies.scores import Score

__all__ = ["Measured", "largest_difference", "pass_by"]

T = TypeVar("T")


class Measured(NamedTuple):
    """A value and its interval, None where there is none."""

    value: float
    interval: Sequence[float] | None = None


def largest_difference(score: Score, better: Measured, worse: Measured) -> float:
    """Returns by how much two that are equally good may differ by chance; 0 where intervals are not known.

    The interval of their difference is Newcombe's, from those of both values. He takes them as measured on different
    images; where these are the same, it is rather too wide than too narrow.

    Example:
        >>> accuracy = Score("accuracy", "accuracy", True, True)
        >>> round(largest_difference(accuracy, Measured(0.8, (0.77, 0.84)), Measured(0.7, (0.65, 0.74))), 6)
        0.05
    """
    if better.interval is None or worse.interval is None:
        return 0.0
    # How much worse the better one may be, and how much better the worse one.
    low, high = (0, 1) if score.higher_is_better else (1, 0)
    return math.hypot(better.value - better.interval[low], worse.value - worse.interval[high])


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
        while place and _beats(score, measured(each), measured(result[place - 1])):
            place -= 1
        result.insert(place, each)
    return result


def _beats(score: Score, one: Measured, other: Measured) -> bool:
    ahead = score.sign * (one.value - other.value)
    return ahead > 0 and ahead > largest_difference(score, one, other)
