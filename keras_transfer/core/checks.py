"""Checks of arguments, and the form that all errors of the package have.

An error is one line that says what was expected, what was given and how to fix it.
"""

import contextlib
import contextvars
import math
import numbers
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

__all__ = [
    "SEEDS",
    "InputError",
    "ParityError",
    "choice",
    "error",
    "first_line",
    "image_size",
    "integer",
    "note",
    "number",
    "reworded",
    "share",
]


T = TypeVar("T")

SEEDS = 2**32  # NumPy takes seeds below this


class InputError(ValueError):
    """The user's input cannot work; the message says what would, and `fix`, its end, how to go on."""

    fix = ""


class ParityError(ValueError):
    """An exported model does not answer as Keras does; the message says where."""


def error(expected: str, *, given: object, fix: str = "") -> InputError:
    """Builds the error that the caller raises.

    Args:
        expected: What must hold, with the argument's name in backticks and no full stop.
        given: What was received; strings are shown as they are, so quote them where that helps.
        fix: One sentence on how to go on.

    Example:
        >>> error("`alpha` must be positive", given=-1, fix="Use 1.0.")
        InputError('`alpha` must be positive. Given: -1. Use 1.0.')
    """
    wrong = InputError(f"{expected}. Given: {given}. {fix}".rstrip())
    wrong.fix = fix
    return wrong


def first_line(problem: Exception) -> str:
    """Returns the line of an exception's message that says what went wrong.

    Example:
        >>> first_line(ValueError(" no "))
        'no'
    """
    text = str(problem).rpartition("Exception encountered:")[
        2
    ]  # Keras puts pages of config before it
    return next(
        (line.strip() for line in text.splitlines() if line.strip()), type(problem).__name__
    )


_reword: contextvars.ContextVar[Callable[[str], str]] = contextvars.ContextVar(
    "reword", default=str
)


def note(text: str) -> str:
    """Prints one line about something decided for the user, and returns it for the run record."""
    text = _reword.get()(text)
    print(f"keras_transfer: {text}", flush=True)
    return text


@contextlib.contextmanager
def reworded(reword: Callable[[str], str]) -> Iterator[None]:
    """Lets `note` print other words within the block: a command speaks of its options, not of arguments.

    Example:
        >>> with reworded(lambda text: text.replace("cache='off'", "--cache off")):
        ...     note("cache='off' turns this off")
        keras_transfer: --cache off turns this off
        '--cache off turns this off'
    """
    token = _reword.set(reword)
    try:
        yield
    finally:
        _reword.reset(token)


def choice(value: T, allowed: Iterable, *, name: str) -> T:
    """Returns `value` if it is one of `allowed`, else raises an error.

    Example:
        >>> choice("avg", ("avg", "max"), name="pooling")
        'avg'
    """
    allowed = list(allowed)
    if value not in allowed:
        raise error(f"`{name}` must be one of {', '.join(map(repr, allowed))}", given=repr(value))
    return value


def integer(value: Any, *, name: str, minimum: int = 1, below: float = math.inf) -> int:
    """Returns `value` as `int` if it is a whole number of at least `minimum` and smaller than `below`.

    Example:
        >>> integer(3, name="epochs")
        3
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < minimum or value >= below:
        limit = f" and below {below:g}" if whole and value >= below else ""
        raise error(
            f"`{name}` must be a whole number of at least {minimum}{limit}", given=repr(value)
        )
    return int(value)


def image_size(value: object, *, name: str = "image_size", minimum: int = 1) -> tuple[int, int]:
    """Returns `(height, width)` from one whole number or a pair.

    Example:
        >>> image_size(160)
        (160, 160)
    """
    pair = value if isinstance(value, list | tuple) else (value, value)
    if len(pair) != 2:
        raise error(f"`{name}` must be a whole number or a pair (height, width)", given=repr(value))
    height, width = (integer(side, name=name, minimum=minimum) for side in pair)
    return height, width


def number(
    value: Any,
    *,
    name: str,
    above: float = -math.inf,
    minimum: float = -math.inf,
    below: float = math.inf,
) -> float:
    """Returns `value` as `float` if it is finite and within the limits.

    Example:
        >>> number(0.5, name="dropout", minimum=0, below=1)
        0.5
    """
    real = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if not real or value <= above or value < minimum or value >= below:
        limits = (("above", above), ("at least", minimum), ("below", below))
        wanted = " and ".join(f"{word} {limit:g}" for word, limit in limits if math.isfinite(limit))
        raise error(f"`{name}` must be a number {wanted}".rstrip(), given=repr(value))
    return float(value)


def share(value: object, *, name: str) -> float:
    """Returns `value` if it lies in [0, 1).

    Example:
        >>> share(0.2, name="validation")
        0.2
    """
    return number(value, name=name, minimum=0, below=1)
