"""Pictures of odd shapes and sizes."""

from collections.abc import Iterator

import numpy as np

from keras_transfer.studies.doctor import base

__all__ = ["check"]

LONGEST = 4.0  # times as long as wide
STRETCH = 2.5  # how much further from square than the typical picture
SMALLER = 4.0  # how many times smaller, by the shorter side, than the typical picture


def check(case: base.Case) -> Iterator[base.Finding]:
    """Yields pictures that resizing stretches much, and those that it enlarges much."""
    readable = case.pictures.readable
    if not len(readable):
        return
    heights = case.pictures.heights[readable].astype(float)
    widths = case.pictures.widths[readable].astype(float)

    shapes = np.log(widths / heights)
    stretch = np.abs(shapes - np.median(shapes))
    is_long = (np.abs(shapes) > np.log(LONGEST)) & (stretch > np.log(STRETCH))
    rows = readable[is_long]
    if len(rows):
        rows = rows[np.argsort(-stretch[is_long], kind="stable")]
        yield case.finding(
            "warning",
            f"{base.count(len(rows), 'image is', 'images are')} more than {LONGEST:g} times as long as wide",
            rows,
            fix="Crop them to their subject: resizing to one size distorts them.",
            captions=_sizes(case, rows),
        )

    sides = np.minimum(heights, widths)
    typical = np.median(sides)
    is_small = sides * SMALLER < typical
    if case.image_size is not None:  # a picture that is not enlarged is large enough
        is_small &= sides < min(case.image_size)
    rows = readable[is_small]
    if len(rows):
        rows = rows[np.argsort(sides[is_small], kind="stable")]
        yield case.finding(
            "warning",
            f"{base.count(len(rows), 'image is', 'images are')} more than {SMALLER:g} times smaller than the others",
            rows,
            fix="Replace them by larger ones, or remove them: enlarged, they have no detail.",
            captions=_sizes(case, rows),
        )


def _sizes(case: base.Case, rows: np.ndarray) -> tuple[str, ...]:
    pictures = case.pictures
    shown = rows[: base.SHOWN]
    return tuple(f"{pictures.widths[row]} x {pictures.heights[row]}" for row in shown)
