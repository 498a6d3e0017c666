"""What a check is given, and what it gives.

A check is a function of a `Case` that yields a `Finding` for each problem, best by `case.finding`. It measures nothing
that `case.pictures` holds already, changes neither model nor data, and yields nothing for healthy data.
Its row of `CHECKS` is in `__init__.py`.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any  # targets are arrays, or columns of files

import keras
import numpy as np

from keras_transfer.core import labelled
from keras_transfer.data import batches
from keras_transfer.data.targets import KINDS, encoding
from keras_transfer.studies.doctor.pictures import Pictures

__all__ = ["SEVERITIES", "SHOWN", "Case", "Column", "Finding", "count", "input_shape", "of_rows"]

# What a finding means for a training run, worst first.
SEVERITIES = {
    "error": "training fails, or its result cannot be trusted",
    "warning": "likely to cost accuracy",
    "note": "worth knowing",
}
SHOWN = 10  # files that texts and pages show of a finding; JSON has all


@dataclass(frozen=True)
class Finding:
    """One problem.

    Attributes:
        severity: "error", "warning" or "note"; `SEVERITIES` says what they mean.
        what: The problem, in a sentence.
        fix: What to do about it.
        count: How many images, boxes or classes it concerns.
        files: The images that it concerns, most telling first: files, or places such as "train[3]".
        details: More about it, as plain values.
        check: The name of the check.
        rows: Numbers of these images in the order of the pass.
        captions: A line for each of the first of these images.

    Example:
        >>> Finding("note", "1 image is grey", fix="Nothing, if that is meant.", count=1).severity
        'note'
    """

    severity: str
    what: str
    fix: str
    count: int = 0
    files: tuple[str, ...] = ()
    details: Mapping = field(default_factory=lambda: MappingProxyType({}))
    check: str = ""
    rows: tuple[int, ...] = ()
    captions: tuple[str, ...] = ()

    def to_dict(self) -> dict:
        """Returns it as plain values."""
        return {
            "check": self.check,
            "severity": self.severity,
            "what": self.what,
            "count": self.count,
            "files": list(self.files),
            "fix": self.fix,
            "details": dict(self.details),
        }


@dataclass(frozen=True)
class Column:
    """The targets of one task for all pictures.

    Attributes:
        targets: Encoded, one row a picture.
        present: bool `(n,)`: whether a picture has a label.
        names: Of classes or tags, or None.
        kind: One of `data.targets.KINDS`.
    """

    targets: Any
    present: np.ndarray
    names: Sequence[str] | None
    kind: str

    @classmethod
    def of(cls, targets: Any, weights: Any, names: Sequence[str] | None) -> "Column":
        """Makes a column of encoded targets, their weights, and the names of classes, where there are any.

        Example:
            >>> Column.of(np.array([0, 1]), None, ["cat", "dog"]).kind
            'category'
        """
        module = encoding.kind_of(targets, names)
        kind = next(name for name, each in KINDS.items() if each is module)
        present = np.ones(len(targets), bool) if weights is None else labelled.rows(weights)
        if names is None and kind == "category":
            highest = int(targets.max()) if len(targets) else 0
            names = [str(number) for number in range(max(0, min(highest, 100_000)) + 1)]
        return cls(targets, present, names, kind)


@dataclass(frozen=True)
class Case:
    """All that checks may look at.

    Attributes:
        pictures: What every picture looks like.
        splits: The split of each, "" for data that is not divided.
        columns: The targets by the name of the task, "" for one without a name; empty where there are no labels.
        parts: The batches by split; empty for a folder.
        answers: The targets by split, as they were given.
        image_size: Height and width that pictures are resized to; None where that is open.
        model: The user's model or backbone, or None.
        listed: What was found while files were listed.
        notes: What was decided for the user when the data was made.
        groups: The group of each picture, or None.
        labels: Whether to look for wrong labels, which takes a network.
        seed: Of all that is drawn.
        verbose: As for `kt.doctor`.
        facts: What checks measure for the page and for each other, by name.
    """

    pictures: Pictures
    splits: np.ndarray
    columns: Mapping[str, Column]
    parts: Mapping[str, batches.Batches]
    answers: Mapping[str, Any] = field(default_factory=dict)
    image_size: tuple[int, int] | None = None
    model: keras.Model | None = None
    listed: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    groups: np.ndarray | None = None
    labels: bool = False
    seed: int = 0
    verbose: str | int = "auto"
    facts: dict = field(default_factory=dict)

    @functools.cached_property
    def training(self) -> np.ndarray:
        """Whether each picture may be trained on, bool `(n,)`."""
        return np.isin(self.splits, ("", "train"))

    def kinds(self, *kinds: str) -> Iterator[tuple[str, Column]]:
        """Yields the tasks of some kinds: a text to put behind a finding, such as " of 'breed'", and the targets."""
        for name, column in self.columns.items():
            if column.kind in kinds:
                yield f" of {name!r}" if name else "", column

    def finding(
        self, severity: str, what: str, rows: Sequence[int] | np.ndarray = (), **more: Any
    ) -> Finding:
        """Makes a finding about some pictures, by their numbers; `more` goes to `Finding`."""
        numbers = tuple(int(row) for row in rows)
        files = tuple(self.pictures.names[row] for row in numbers)
        return Finding(severity, what, **{"count": len(numbers), **more}, rows=numbers, files=files)


def count(number: int, one: str, many: str = "") -> str:
    """Returns a number and what is counted.

    Example:
        >>> count(1, "image is", "images are"), count(2000, "file")
        ('1 image is', '2,000 files')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def of_rows(targets: Any, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns the targets of some pictures as an array, whether they are in memory or in files.

    Example:
        >>> of_rows(np.array([5, 6, 7]), [0, 2]).tolist()
        [5, 7]
    """
    return np.asarray(targets[np.asarray(rows, dtype="int64")])


def input_shape(model: keras.Model | None) -> tuple[int | None, ...] | None:
    """Returns height, width and channels of the images that a model takes; None where it does not say.

    Example:
        >>> input_shape(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()]))
        (8, 8, 3)
    """
    inputs: Any = getattr(model, "inputs", None) or ()
    shape = tuple(inputs[0].shape[1:]) if len(inputs) == 1 else ()
    return shape if len(shape) == 3 else None
