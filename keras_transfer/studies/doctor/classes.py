"""Classes and tags with too few images, and those that hardly any image has."""

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from keras_transfer.core import lookup
from keras_transfer.data.targets import KINDS
from keras_transfer.studies.doctor import base

__all__ = ["constant", "few", "imbalanced"]

FEW = 10  # training images that a class should have
RATIO = 10.0  # the largest class by the smallest, from where on training should weigh them
MORE = "Add images, merge classes, or leave the class out."


def few(case: base.Case) -> Iterator[base.Finding]:
    """Yields classes without images to train on or to measure on, and classes with few."""
    if not case.training.any():
        return
    for of, column in case.kinds("category", "tags", "boxes"):
        if column.kind == "boxes" and not column.names:
            continue
        counts = _count(column, case.training)
        none, scarce = counts == 0, (counts > 0) & (counts < FEW)
        if none.any():
            severity = "error" if column.kind == "category" else "warning"
            yield _finding(severity, f"no training images{of}", column, none, counts)
        if scarce.any():
            what = f"fewer than {FEW} training images{of}"
            yield _finding("warning", what, column, scarce, counts)
        for split in sorted(set(case.splits) - {"", "train"}):
            held = _count(column, case.splits == split)
            lost = (held == 0) & (counts > 0)
            if lost.any() and column.kind == "category":
                yield _finding("warning", f"no {split} images{of}", column, lost, held)


def imbalanced(case: base.Case) -> Iterator[base.Finding]:
    """Yields a finding where the largest class has many times the images of the smallest."""
    for of, column in case.kinds("category"):
        names = column.names or ()
        counts = _count(column, case.training)
        present = counts[counts > 0]
        if len(present) < 2 or present.max() < RATIO * present.min():
            continue
        most, least = int(counts.argmax()), int(np.where(counts > 0, counts, counts.max()).argmin())
        yield base.Finding(
            "warning",
            f"the classes{of} are uneven: {counts[most]:,} training images of {names[most]!r}, "
            f"{counts[least]:,} of {names[least]!r}",
            fix='Use `kt.tasks.Classification(data.class_names, class_weights="balanced")`.',
            count=len(present),
            details={"images": _by_name(names, counts)},
        )


def constant(case: base.Case) -> Iterator[base.Finding]:
    """Yields tasks whose labels are all equal: there is nothing to learn."""
    for of, column in case.kinds("category", "number"):
        known = np.asarray(column.targets)[column.present]
        if len(known) > 1 and (known == known[:1]).all():
            value = column.names[int(known[0])] if column.names else known[0]
            yield base.Finding(
                "error",
                f"all labels{of} are equal: {value}",
                fix="Check how labels are read, or leave the task out.",
                count=len(known),
            )


def _count(column: base.Column, chosen: np.ndarray) -> np.ndarray:
    """Returns how many of the chosen pictures have each class or tag."""
    known = np.asarray(column.targets)[chosen & column.present]
    module: ModuleType = KINDS[column.kind]
    names: Any = column.names or [str(index) for index in range(known.shape[-1])]
    if column.kind == "category":
        known = known[(known >= 0) & (known < len(names))]  # others are told by another check
    return np.asarray(module.count(known, names)).astype(int)


def _finding(
    severity: str, what: str, column: base.Column, chosen: np.ndarray, counts: np.ndarray
) -> base.Finding:
    names = [str(name) for name in column.names or range(len(counts))]
    some = [name for name, is_chosen in zip(names, chosen, strict=True) if is_chosen]
    word = ("tag", "tags") if column.kind == "tags" else ("class", "classes")
    has = base.count(len(some), f"{word[0]} has", f"{word[1]} have")
    return base.Finding(
        severity,
        f"{has} {what}: {lookup.some(some)}",
        fix=MORE,
        count=len(some),
        details={"images": _by_name(names, counts)},
    )


def _by_name(names: Sequence[str], counts: np.ndarray) -> dict[str, int]:
    return {str(name): int(number) for name, number in zip(names, counts, strict=True)}
