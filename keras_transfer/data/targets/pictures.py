"""The pictures that targets with places in them belong to, and what is wrong with single targets."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any  # a user's labels may hold anything

import numpy as np

from keras_transfer.core import checks
from keras_transfer.data.targets import missing

__all__ = ["Faults", "Pictures", "are_paths", "fill", "first_array", "nearest", "size_of"]

SHOWN, NOTED = 5, 20  # faults that an error names, and a note


@dataclass(frozen=True)
class Pictures:
    """Sizes of the pictures that targets with places in them belong to.

    Attributes:
        size: Height and width of the pictures in a batch.
        own: Height and width of each picture before it was resized, int `(n, 2)`; None where all had `size`.
        names: What errors call each picture, such as its file; by default its index.

    Example:
        >>> Pictures((8, 8), np.array([[16, 32]])).of(0)
        (16, 32)
    """

    size: tuple[int, int]
    own: np.ndarray | None = None
    names: Sequence[str] | None = None

    @property
    def are_resized(self) -> bool:
        """Whether some picture had another size."""
        return self.own is not None and bool((self.own != np.array(self.size)).any())

    def of(self, row: int) -> tuple[int, int]:
        """Returns height and width of a picture before it was resized."""
        if self.own is None:
            return self.size
        height, width = self.own[row]
        return int(height), int(width)

    def check_length(self, count: int, name: str) -> None:
        """Raises an error unless there are as many targets as pictures, where the sizes of these are known."""
        if self.own is not None and len(self.own) != count:
            given = f"{count} for {len(self.own)} pictures"
            raise checks.error(f"`{name}` must hold one target for each picture", given=given)


@dataclass
class Faults:
    """What is wrong with single targets: one error names them all, or the caller leaves the pictures out.

    Attributes:
        is_refused: Whether `settle` raises an error.
        names: What errors call the pictures; by default their index.
        notes: What was decided for the user.
        reasons: Row to what is wrong with its target.

    Example:
        >>> faults = Faults(is_refused=False)
        >>> faults.add(3, "is cut off")
        >>> faults.settle("every mask must be readable")
        >>> faults.reasons
        {3: 'is cut off'}
    """

    is_refused: bool = True
    names: Sequence[str] | None = None
    notes: list[str] = field(default_factory=list)
    reasons: dict[int, str] = field(default_factory=dict)

    def place(self, row: int) -> str:
        """Returns what to call a picture: its name, or its index."""
        return f"index {row}" if self.names is None else str(self.names[row])

    def add(self, row: int, reason: str) -> None:
        """Keeps the first thing that is wrong with the target of a picture."""
        self.reasons.setdefault(int(row), reason)

    def settle(self, expected: str, fix: str = "") -> None:
        """Raises an error that names the first faults, if there are any and they are refused."""
        if not self.reasons or not self.is_refused:
            return
        rows = sorted(self.reasons)
        shown = "; ".join(f"{self.place(row)}: {self.reasons[row]}" for row in rows[:SHOWN])
        more = f"; and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
        raise checks.error(expected, given=f"{shown}{more}", fix=fix)

    def note(self) -> str:
        """Notes which pictures are left out, and why."""
        rows = sorted(self.reasons)
        shown = "; ".join(f"{self.place(row)}: {self.reasons[row]}" for row in rows[:NOTED])
        more = f"; and {len(rows) - NOTED} more" if len(rows) > NOTED else ""
        images = "1 image" if len(rows) == 1 else f"{len(rows)} images"
        return checks.note(f"left out {images} with targets that cannot be: {shown}{more}")


def nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes one mask by taking the nearest pixel; no value is mixed with another.

    Args:
        values: `(height, width)`, or `(height, width, channels)`.
        size: Height and width of the result.

    Example:
        >>> nearest(np.array([[1, 2, 3, 4]]), (1, 2)).tolist()
        [[2, 4]]
    """
    if values.shape[:2] == tuple(size):
        return values
    places = []
    for length, wanted in zip(values.shape[:2], size, strict=True):
        # The middle of a new pixel lies in this old one.
        places.append((2 * np.arange(wanted) + 1) * length // (2 * wanted))
    return values[places[0][:, None], places[1]]


def first_array(labels: Any) -> np.ndarray | None:
    """Returns the first label that is there where labels are arrays with places, one an image; else None.

    Example:
        >>> first_array([None, np.zeros((4, 4), int)]).shape, first_array(["cat", None])
        ((4, 4), None)
    """
    if isinstance(labels, np.ndarray) and labels.dtype != object:
        return labels[0] if labels.ndim > 2 and len(labels) else None
    if not isinstance(labels, list | tuple | np.ndarray):
        return None
    first = next((label for label in labels if not missing.is_blank(label)), None)
    if not isinstance(first, list | tuple | np.ndarray):
        return None
    try:
        array = np.asarray(first)
    except ValueError:  # rows of different lengths
        return None
    return array if array.ndim > 1 else None


def are_paths(labels: Any) -> bool:
    """Returns whether labels are paths of files; some may be blank.

    Example:
        >>> are_paths(["a.png", None]), are_paths(np.zeros((2, 4, 4)))
        (True, False)
    """
    if isinstance(labels, np.ndarray) and labels.dtype.kind not in "OUS":
        return False
    there = [label for label in labels if not missing.is_blank(label)]
    return bool(there) and all(isinstance(label, str | bytes | os.PathLike) for label in there)


def fill(
    labels: Any, like: object, name: str, *, ignored: int | None = None
) -> tuple[Any, np.ndarray | None]:
    """Returns arrays or paths as a sequence with None where one is blank, and which are there (None if all are).

    Blank are None, "", arrays of nothing but NaN, and what a masked array masks.

    Args:
        labels: One an image.
        like: Encoded training targets; None for the training labels themselves, which must not all be blank.
        name: How errors call the argument.
        ignored: What single masked values become; None refuses them.
    """
    rows: list = []
    for label in labels:
        is_array = isinstance(label, np.ndarray) and label.ndim > 0
        is_there = not (_is_empty(label) if is_array else missing.is_blank(label))
        rows.append(label if is_there else None)
        if is_there and np.ma.is_masked(label):
            if ignored is None:
                given = "some masked values"
                raise checks.error(
                    f"`{name}` must hold all values of an image or none", given=given
                )
            rows[-1] = np.ma.filled(label.astype(np.int64), ignored)
    present = np.array([row is not None for row in rows], bool)
    if not present.any() and like is None:
        raise missing.all_blank(name, len(rows))
    return rows, None if present.all() else present


def _is_empty(label: np.ndarray) -> bool:
    if np.ma.is_masked(label):
        return bool(np.ma.getmaskarray(label).all())
    return label.dtype.kind == "f" and bool(np.isnan(label).all())


def size_of(labels: Sequence[Any], sizes: Pictures | None, name: str) -> tuple[int, int]:
    """Returns height and width that all targets shall have: those of the pictures, or else of the first target."""
    if sizes is not None:
        sizes.check_length(len(labels), name)
        return sizes.size
    first = next(np.asarray(label) for label in labels if label is not None)
    height, width = first.shape[:2]
    return height, width
