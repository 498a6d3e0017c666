"""Boxes without area, boxes outside their picture, boxes too small to be found."""

import re
from collections.abc import Callable, Iterator

import numpy as np

from keras_transfer.studies.doctor import base

__all__ = ["degenerate", "outside", "tiny"]

SLACK = 1.0  # pixels that a box may reach over the edge: annotators count pixels from 1
STRIDE = 8  # of level P3, where detection starts
SHARE = 0.01  # of all boxes that may be tiny


def degenerate(case: base.Case) -> Iterator[base.Finding]:
    """Yields boxes without area: those that are there, and those that the source has left out."""

    def has_none(boxes: np.ndarray) -> np.ndarray:
        return (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])

    yield from _report(
        case, has_none, "error", "without area", "Remove them, or correct x1 < x2, y1 < y2."
    )


def outside(case: base.Case) -> Iterator[base.Finding]:
    """Yields boxes that reach over the edge of their picture."""
    if case.image_size is None:
        return
    height, width = case.image_size
    limits = np.array([width, height, width, height]) + SLACK

    def reaches_out(boxes: np.ndarray) -> np.ndarray:
        corners = boxes[:, :4]
        return np.any((corners < -SLACK) | (corners > limits), axis=1)

    fix = "Clip them; if there are many, the picture was resized or turned after it was annotated."
    yield from _report(case, reaches_out, "error", "outside their image", fix)


def tiny(case: base.Case) -> Iterator[base.Finding]:
    """Yields boxes smaller than half a place of the finest feature map, in the size that the network sees."""
    stride = STRIDE
    levels = getattr(case.model, "levels", None)
    if levels:
        stride = min(2 ** int(re.sub(r"\D", "", level)) for level in levels)
        stride = max(stride, STRIDE // 2)

    def is_tiny(boxes: np.ndarray) -> np.ndarray:
        sides = boxes[:, 2:4] - boxes[:, :2]
        return (sides > 0).all(axis=1) & (sides.max(axis=1) < stride / 2)

    fix = f"Raise `image_size`: the finest feature map has a place for every {stride} pixels."
    for finding in _report(case, is_tiny, "warning", f"smaller than {stride / 2:g} pixels", fix):
        if finding.count >= SHARE * finding.details["boxes"]:
            yield finding


def _report(
    case: base.Case,
    chosen: Callable[[np.ndarray], np.ndarray],
    severity: str,
    word: str,
    fix: str,
) -> Iterator[base.Finding]:
    """Yields a finding of each task with chosen boxes; `chosen` takes all boxes of a picture."""
    for of, column in case.kinds("boxes"):
        rows, captions, total, found = [], [], 0, 0
        for row in np.flatnonzero(column.present).tolist():
            boxes = base.of_rows(column.targets, [row])[0]
            boxes = boxes[boxes[:, 4] >= 0]
            total += len(boxes)
            wrong = boxes[chosen(boxes)]
            if len(wrong):
                found += len(wrong)
                rows.append(row)
                captions.append(", ".join(f"{value:.4g}" for value in wrong[0, :4]))
        if rows:
            yield case.finding(
                severity,
                f"{base.count(found, 'box is', 'boxes are')} {word}{of}, in {base.count(len(rows), 'image')}",
                rows,
                fix=fix,
                count=found,
                details={"boxes": total},
                captions=tuple(captions[: base.SHOWN]),
            )
