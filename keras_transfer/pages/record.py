"""Numbers that are a mapping, and save as JSON or as one self-contained page."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn  # the values are of every kind that JSON knows

from keras_transfer.core import lookup
from keras_transfer.pages import document

__all__ = ["Record", "Saved"]


class Saved:
    """What prints, saves as JSON or as one self-contained page, and shows itself in notebooks.

    A subclass says in `to_json` and `to_html` what it holds.
    """

    def to_dict(self) -> dict:
        """Returns everything as plain dicts, lists, strings and numbers; a number that is not finite is None."""
        return json.loads(self.to_json())

    def to_json(self) -> str:
        """Returns `to_dict()` as JSON text."""
        raise NotImplementedError

    def to_html(self) -> str:
        """Returns a page that needs nothing outside itself; it holds its numbers as JSON, too."""
        raise NotImplementedError

    def writers(self) -> dict[str, Callable[[], str]]:
        """Returns what makes the text of a file, by its ending."""
        return {".html": self.to_html, ".json": self.to_json}

    def save(self, path: str | os.PathLike) -> None:
        """Writes everything; the file appears complete or not at all.

        Args:
            path: Ends in ".html" or ".json", or another ending of `writers`.

        Raises:
            InputError: If the ending is another, or the file cannot be written.
        """
        document.save(path, self.writers())

    def _repr_html_(self) -> str:
        return document.frame(self.to_html(), title=type(self).__name__)


class Record(Saved, Mapping):
    """Values by name; a subclass says in `to_html` how their page looks.

    Args:
        values: Dicts, lists, texts, booleans, None and finite numbers.

    Example:
        >>> Record({"mae": 0.5})["mae"]
        0.5
    """

    def __init__(self, values: Mapping) -> None:
        self._values = _Values()
        for name, value in values.items():
            self._values[name] = _Values(value) if isinstance(value, Mapping) else value

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def to_json(self) -> str:
        """Returns `to_dict()` as JSON text."""
        return json.dumps(self._values, indent=1, ensure_ascii=False, allow_nan=False)


class _Values(dict):
    """A dict whose error for an unknown key shows the close ones."""

    def __missing__(self, key: object) -> NoReturn:
        near = lookup.close(str(key), self)
        label, names = ("Close keys", near) if near else ("Known", list(self))
        raise _UnknownKeyError(f"there is no {key!r}. {label}: {', '.join(map(repr, names))}.")


class _UnknownKeyError(KeyError):
    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError's own text is in quotes
