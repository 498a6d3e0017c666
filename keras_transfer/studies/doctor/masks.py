"""Masks with values that are no class, and masks in which nothing is labelled."""

from collections.abc import Iterator

import numpy as np

from keras_transfer.studies.doctor import base

__all__ = ["empty", "unknown"]

IGNORED = 255  # the value of pixels that do not count


def unknown(case: base.Case) -> Iterator[base.Finding]:
    """Yields masks with values that have no class."""
    for of, column in case.kinds("mask"):
        if not column.names:
            continue
        rows, captions, values = [], [], set()
        for row, own in _values(case, column):
            wrong = own[(own >= len(column.names)) & (own != IGNORED)].tolist()
            if wrong:
                rows.append(row)
                captions.append(", ".join(map(str, wrong)))
                values.update(wrong)
        if rows:
            some = ", ".join(map(str, sorted(values)[:10]))
            masks = base.count(len(rows), "mask has", "masks have")
            yield case.finding(
                "error",
                f"{masks} values without a class{of}: {some}, for {len(column.names)} classes",
                rows,
                fix=f"Name all classes in `classes`, or make such pixels {IGNORED}, which is ignored.",
                details={"values": sorted(values)},
                captions=tuple(captions[: base.SHOWN]),
            )


def empty(case: base.Case) -> Iterator[base.Finding]:
    """Yields masks in which all pixels are ignored."""
    for of, column in case.kinds("mask"):
        rows = [row for row, own in _values(case, column) if own.tolist() == [IGNORED]]
        if rows:
            masks = base.count(len(rows), "mask labels", "masks label")
            yield case.finding(
                "warning",
                f"{masks} no pixel{of}: all are ignored",
                rows,
                fix="Leave these images out, or give None for their masks.",
            )


def _values(case: base.Case, column: base.Column) -> list[tuple[int, np.ndarray]]:
    """Returns the number of each picture that has a mask, and the values in it; masks are read once."""
    kept = case.facts.setdefault("values in masks", {})
    if id(column) not in kept:
        rows = np.flatnonzero(column.present).tolist()
        kept[id(column)] = [(row, np.unique(base.of_rows(column.targets, [row]))) for row in rows]
    return kept[id(column)]
