"""Boxes gathered one by one from tables and annotation files, in the label form of `data.targets.boxes`."""

import math
from collections.abc import Hashable, Sequence
from typing import Any  # what stands in a file may be anything

import numpy as np

from keras_transfer.core import checks

__all__ = ["FORMS", "Gathered", "in_pixels"]

FORMS = ("xyxy", "xywh", "centre")
SHOWN = 5
BEYOND = 0.01  # of the picture's side: shares are rounded


class Gathered:
    """Collects the boxes of images.

    A box without area is left out: it shows nothing.

    Args:
        form: Of four numbers: "xyxy" for two corners, "xywh" for a corner, width and height, "centre" for centre, width
            and height.

    Attributes:
        flat: How notes call each box without area.

    Example:
        >>> gathered = Gathered("xywh")
        >>> gathered.add("a.jpg", (5, 5, 10, 10), "cat", place="line 2")
        ''
        >>> gathered.add("a.jpg", (5, 5, -10, 10), "cat", place="line 3")
        'a box of negative size: 5, 5, -10, 10'
        >>> gathered.label("a.jpg")
        {'boxes': [(5.0, 5.0, 15.0, 15.0)], 'labels': ['cat'], 'ignored': [False]}
    """

    def __init__(self, form: str = "xyxy") -> None:
        self.form = checks.choice(form, FORMS, name="form")
        self.flat: list[str] = []
        self._images: dict[Hashable, dict[str, list]] = {}

    def begin(self, image: Hashable) -> None:
        """Says that an image was looked at: without boxes it shows no objects."""
        self._images.setdefault(image, {"boxes": [], "labels": [], "ignored": []})

    def add(
        self,
        image: Hashable,
        numbers: Sequence[Any],
        label: Any,
        *,
        ignored: bool = False,
        place: str,
    ) -> str:
        """Adds a box of an image; returns in a few words why it cannot be one, or "".

        Args:
            image: What tells the image from others.
            numbers: Four of them, or texts.
            label: The class.
            ignored: Whether it neither counts as found nor as missed.
            place: How notes call it.
        """
        try:
            left, top, right, bottom = self._corners(numbers)
        except (TypeError, ValueError, OverflowError) as problem:
            return str(problem)
        self.begin(image)
        if left == right or top == bottom:
            self.flat.append(place)
            return ""
        entry = self._images[image]
        entry["boxes"].append((left, top, right, bottom))
        entry["labels"].append(label)
        entry["ignored"].append(ignored)
        return ""

    def label(self, image: Hashable) -> dict[str, list] | None:
        """Returns the label of an image, None if it was never looked at."""
        return self._images.get(image)

    def note_flat(self) -> list[str]:
        """Notes the boxes without area."""
        if not self.flat:
            return []
        text = "1 box" if len(self.flat) == 1 else f"{len(self.flat)} boxes"
        shown = ", ".join(self.flat[:SHOWN])
        more = f" and {len(self.flat) - SHOWN} more" if len(self.flat) > SHOWN else ""
        return [checks.note(f"left out {text} without area: {shown}{more}")]

    def _corners(self, numbers: Sequence[Any]) -> tuple[float, float, float, float]:
        values = [float(number) for number in numbers]
        if len(values) != 4:
            raise ValueError(f"{len(values)} numbers for a box")
        shown = ", ".join(f"{value:g}" for value in values)
        if not all(map(math.isfinite, values)):
            raise ValueError(f"a box that is not finite: {shown}")
        first, second, third, fourth = values
        if self.form == "xyxy":
            if third < first or fourth < second:
                raise ValueError(f"a box that ends before it begins: {shown}")
            return first, second, third, fourth
        if third < 0 or fourth < 0:
            raise ValueError(f"a box of negative size: {shown}")
        if self.form == "centre":
            first, second = first - third / 2, second - fourth / 2
        return first, second, first + third, second + fourth


def in_pixels(labels: Sequence[dict | None], sizes: np.ndarray) -> list[dict | None]:
    """Turns boxes in shares of the picture into pixels; one that reaches at most 1 % beyond is cut off.

    Args:
        labels: One an image.
        sizes: Height and width of each picture.

    Example:
        >>> in_pixels([{"boxes": [(0, 0, 0.5, 1)], "labels": [0]}], np.array([[10, 20]]))
        [{'boxes': [(0.0, 0.0, 10.0, 10.0)], 'labels': [0]}]
    """
    turned: list[dict | None] = []
    for label, (height, width) in zip(labels, sizes.tolist(), strict=True):
        if label is None:
            turned.append(None)
            continue
        factors = (width, height, width, height)
        boxes = []
        for box in label["boxes"]:
            corners = []
            for share, factor in zip(box, factors, strict=True):
                is_near = -BEYOND <= share <= 1 + BEYOND
                corners.append(float((min(max(share, 0), 1) if is_near else share) * factor))
            boxes.append(tuple(corners))
        turned.append({**label, "boxes": boxes})
    return turned
