"""Looks a name up in a table; a misspelt name gets an error with the close ones."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from keras_transfer.core import checks

__all__ = ["close", "find", "hint", "some"]

T = TypeVar("T")


def close(name: str, options: Iterable[str], *, most: int = 3) -> list[str]:
    """Returns the options that look most like `name`, best first, whatever their case.

    Example:
        >>> close("mobilnetv2", ["MobileNetV2", "VGG16"])
        ['MobileNetV2']
    """
    by_lower: dict = {}
    for option in options:
        by_lower.setdefault(option.lower(), option)
    hits = difflib.get_close_matches(name.lower(), by_lower, n=most, cutoff=0.5)
    return [by_lower[hit] for hit in hits]


def find(name: str, table: Mapping[str, T], *, argument: str) -> T:
    """Returns `table[name]`, or raises an error that shows the close names.

    Example:
        >>> find("avg", {"avg": 1, "max": 2}, argument="pooling")
        1
    """
    if name in table:
        return table[name]
    near = close(str(name), table)
    label, names = ("Close names", near) if near else ("Known", sorted(table))
    fix = f"{label}: {', '.join(map(repr, names))}."
    raise checks.error(f"`{argument}` must be a known name", given=repr(name), fix=fix)


def hint(name: str, options: Sequence[str]) -> str:
    """Returns a sentence with the options that look most like `name`, else with the first of all.

    Example:
        >>> hint("dgo", ["cat", "dog"]), hint("yak", ["cat", "dog"])
        ("Close names: 'dog'.", "Known: 'cat', 'dog'.")
    """
    near = close(name, options)
    return f"Close names: {some(near)}." if near else f"Known: {some(options)}."


def some(names: Sequence[str], most: int = 5) -> str:
    """Returns names as a text, the first few when they are many.

    Example:
        >>> some(["cat", "dog", "emu"], most=2)
        "'cat', 'dog' and 1 more"
    """
    shown = ", ".join(map(repr, names[:most]))
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
