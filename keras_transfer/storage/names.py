"""Many paths in little memory: 8 bytes more than its letters each, where a `pathlib.Path` takes some 300."""

import itertools
import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

__all__ = ["Names", "Paths"]

TOGETHER = 4096  # names that are encoded at a time


class Names(Sequence[str]):
    """A list of texts that cannot be changed.

    Args:
        texts: File names, for example; also those that are no UTF-8.
        folder: What comes before each of them, with the separator.

    Example:
        >>> names = Names(["a.jpg", "b.jpg"], folder="photos/")
        >>> names[1], names.pick(np.array([1, 0])) == ["photos/b.jpg", "photos/a.jpg"]
        ('photos/b.jpg', True)
    """

    def __init__(self, texts: Iterable[str], *, folder: str = "") -> None:
        letters, lengths = bytearray(), []
        texts = iter(texts)
        while part := list(itertools.islice(texts, TOGETHER)):
            encoded = [os.fsencode(text) for text in part]
            letters += b"".join(encoded)
            lengths.append(np.fromiter(map(len, encoded), np.int64, len(part)))
        self.folder = folder
        self._letters = bytes(letters)
        self._ends = np.cumsum(np.concatenate([np.zeros(1, np.int64), *lengths]))
        self._rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._ends) - 1 if self._rows is None else len(self._rows)

    def inside(self, row: int) -> str:
        """The text without the folder."""
        at = int(row if self._rows is None else self._rows[row])
        return os.fsdecode(self._letters[self._ends[at] : self._ends[at + 1]])

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> "Names": ...
    def __getitem__(self, row: int | slice) -> "str | Names":
        if isinstance(row, slice):
            return self.pick(np.arange(len(self))[row])
        count = len(self)
        if not -count <= row < count:
            raise IndexError(f"there are {count} names, none has the number {row}")
        return self.folder + self.inside(row % count)

    def __iter__(self) -> Iterator[str]:
        return (self.folder + self.inside(row) for row in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sequence) and not isinstance(other, str | bytes):
            return len(self) == len(other) and all(map(operator.eq, self, other))
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as for a list

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, itertools.islice(self, 3)))
        return f"[{shown}, ...]" if len(self) > 3 else f"[{shown}]"

    def bare(self) -> "Names":
        """The same without the folder; the letters are shared."""
        made = self.pick(np.arange(len(self)))
        made.folder = ""
        return made

    def pick(self, rows: np.ndarray) -> "Names":
        """Those with these numbers, in that order; the letters are shared."""
        made = Names((), folder=self.folder)
        made._letters, made._ends = self._letters, self._ends
        made._rows = rows if self._rows is None else self._rows[rows]
        return made


class Paths(Sequence[Path]):
    """A list of paths that cannot be changed.

    Attributes:
        names: The same as texts.

    Example:
        >>> Paths(Names(["a.jpg"], folder="photos/"))[0].name
        'a.jpg'
    """

    def __init__(self, names: Names) -> None:
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, row: int) -> Path: ...
    @overload
    def __getitem__(self, row: slice) -> "Paths": ...
    def __getitem__(self, row: int | slice) -> "Path | Paths":
        if isinstance(row, slice):
            return Paths(self.names[row])
        return Path(self.names[row])

    def __iter__(self) -> Iterator[Path]:
        return map(Path, self.names)

    def pick(self, rows: np.ndarray) -> "Paths":
        """Those with these numbers, in that order."""
        return Paths(self.names.pick(rows))
