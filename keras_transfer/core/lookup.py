"""Looks a name up in a table; a misspelt name gets an error with the close ones."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from keras_transfer.core import checks

__all__ = ["NoSuchNameError", "close", "find", "hint", "no_such_name", "some"]

T = TypeVar("T")


class NoSuchNameError(checks.InputError, AttributeError):
    """A name that a module of the package does not have; `hasattr` says False."""


def close(name: str, options: Iterable[str], *, most: int = 3, cutoff: float = 0.5) -> list[str]:
    """Returns the options that look most like `name`, best first, whatever their case.

    Example:
        >>> close("mobilnetv2", ["MobileNetV2", "VGG16"])
        ['MobileNetV2']
    """
    by_lower: dict = {}
    for option in options:
        by_lower.setdefault(option.lower(), option)
    hits = difflib.get_close_matches(name.lower(), by_lower, n=most, cutoff=cutoff)
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


def no_such_name(module: str, names: Iterable[str]) -> Callable[[str], Any]:
    """Returns a `__getattr__` for a module, which raises an error that shows the close names, else all of them.

    Args:
        module: Its name.
        names: Its public names.

    Example:
        >>> no_such_name("keras_transfer.tasks", ["Tags"])("Depth")
        Traceback (most recent call last):
        keras_transfer.core.lookup.NoSuchNameError: `kt.tasks` has no such name. Given: 'Depth'. Names there: Tags.
    """

    def refuse(name: str) -> NoReturn:
        public = module.replace("keras_transfer", "kt", 1)
        near = close(name, names, cutoff=0.7)
        label, shown = ("Close names", near) if near else ("Names there", sorted(names))
        fix = f"{label}: {', '.join(shown)}."
        wrong = checks.error(f"`{public}` has no such name", given=repr(name), fix=fix)
        raise NoSuchNameError(str(wrong))

    return refuse


def some(names: Sequence[str], most: int = 5) -> str:
    """Returns names as a text, the first few when they are many.

    Example:
        >>> some(["cat", "dog", "emu"], most=2)
        "'cat', 'dog' and 1 more"
    """
    shown = ", ".join(map(repr, names[:most]))
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
