"""From a name to an object, and from a misspelt name to a good error."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from keras_transfer.core import checks

__all__ = ["close", "find", "some"]

T = TypeVar("T")


def close(name: str, options: Iterable[str], *, most: int = 3) -> list[str]:
    """Returns the options that look most like `name`, best first; upper and lower case count as equal.

    Example:
        >>> close("mobilnetv2", ["MobileNetV2", "VGG16"])
        ['MobileNetV2']
    """
    lowered = {}
    for option in options:
        lowered.setdefault(option.lower(), option)
    return [
        lowered[hit] for hit in difflib.get_close_matches(name.lower(), lowered, n=most, cutoff=0.5)
    ]


def find(name: str, table: Mapping[str, T], *, argument: str) -> T:
    """Returns `table[name]`, or raises an error that shows the close names.

    Example:
        >>> find("avg", {"avg": 1, "max": 2}, argument="pooling")
        1
    """
    if name in table:
        return table[name]
    near = close(str(name), table)
    hint = (
        f"Close names: {', '.join(map(repr, near))}."
        if near
        else f"Known: {', '.join(map(repr, sorted(table)))}."
    )
    raise checks.error(f"`{argument}` must be a known name", given=repr(name), fix=hint)


def some(names: Sequence[str], most: int = 5) -> str:
    """Returns names as a text, the first few when they are many.

    Example:
        >>> some(["cat", "dog", "emu"], most=2)
        "'cat', 'dog' and 1 more"
    """
    shown = ", ".join(map(repr, names[:most]))
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
