"""`data.show()`: a Matplotlib figure of labelled images, to look at before training."""

import dataclasses
import functools
import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any  # targets and names are one thing, or dicts by task

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks, labelled
from keras_transfer.data.changes import augment as augmenting
from keras_transfer.data.targets import KINDS, encoding

__all__ = ["Sheet", "caption", "changed", "draw", "marks"]

SIDE = 1.4  # inches of a picture


class Sheet:
    """A figure of pictures with captions: notebooks show it, `save` writes it.

    Args:
        figure: The Matplotlib figure.
        captions: Of the pictures, row by row.

    Example:
        >>> draw([[np.zeros((4, 4, 3))]], ["cat"]).captions
        ['cat']
    """

    def __init__(self, figure: Any, captions: Sequence[str]) -> None:
        self.figure = figure
        self.captions = list(captions)

    def __repr__(self) -> str:
        return f"Sheet({', '.join(self.captions)})"

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=96)
        return buffer.getvalue()

    def save(self, path: str | os.PathLike) -> None:
        """Writes the figure; the ending is any that Matplotlib knows, such as ".png" or ".pdf"."""
        try:
            self.figure.savefig(path)
        except (OSError, ValueError) as refused:
            raise checks.error(
                "`path` must be a file that can be written, such as 'sheet.png'",
                given=f"{os.fspath(path)!r} ({checks.first_line(refused)})",
            ) from refused


Marks = list[Callable[[Any], None]]  # each draws on the axes of a picture


def draw(
    rows: Sequence[Sequence[np.ndarray]],
    captions: Sequence[str],
    *,
    marks: Sequence[Marks] | None = None,
) -> Sheet:
    """Draws rows of pictures with values 0..255; a caption stands over the first of its row, or over each picture.

    Args:
        rows: Pictures `(height, width, channels)`.
        captions: One a row, or one a picture.
        marks: Of each picture, row by row, what is drawn over it.
    """
    from matplotlib import figure as plotting  # takes a second

    columns = max(map(len, rows))
    side = SIDE * 2 if any(marks or ()) else SIDE
    size = (columns * side, len(rows) * side * 1.2)
    figure = plotting.Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    has_one_a_row = len(captions) == len(rows)
    waiting, waiting_marks = list(captions), list(marks or ())
    for number, (pictures, places) in enumerate(zip(rows, axes, strict=True)):
        for column, place in enumerate(places):
            place.set_axis_off()
            if column >= len(pictures):
                continue
            _draw_picture(place, pictures[column])
            for mark in waiting_marks.pop(0) if waiting_marks else ():
                mark(place)
            if has_one_a_row and column == 0:
                place.set_title(captions[number], fontsize=8, loc="left")
            elif not has_one_a_row:
                place.set_title(waiting.pop(0), fontsize=8)
    return Sheet(figure, captions)


def _draw_picture(place: Any, picture: np.ndarray) -> None:
    pixels = np.clip(np.rint(picture), 0, 255).astype("uint8")
    if pixels.shape[-1] == 1:
        place.imshow(pixels[..., 0], cmap="gray", vmin=0, vmax=255)
    else:
        # Of other numbers of channels, the first is shown.
        shown = pixels if pixels.shape[-1] in (3, 4) else pixels[..., :1].repeat(3, axis=-1)
        place.imshow(shown)


def changed(
    element: tuple, names: Any, augment: object, *, times: int, seed: int
) -> tuple[list[list[np.ndarray]], list[Marks]]:
    """Returns each image of a batch with random changes of it, as training sees them, and what is drawn over them.

    Args:
        element: `(images, targets)` or `(images, targets, weights)`.
        names: Class names, or a dict of them.
        augment: As for `Augment.of`.
        times: How many changes.
        seed: Of the changes.

    Returns:
        A row of pictures for each image, which stands first, and the marks of all pictures, row by row.
    """
    changes = dataclasses.replace(augmenting.Augment.of(augment), label_smoothing=0.0)
    classes = _class_counts(element[1], names)
    batches = [element]
    for number in range(times):
        batches.append(changes.batch(element, seed=seed, number=number, classes=classes))

    rows, drawn = [], []
    batches = [tf.nest.map_structure(np.asarray, batch) for batch in batches]
    for row in range(len(element[0])):
        rows.append([images[row] for images, *_ in batches])
        for _, targets, *weights in batches:
            drawn.append(marks(targets, names, weights[0] if weights else None, row))
    return rows, drawn


def _class_counts(targets: Any, names: Any) -> Any:
    """Returns the number of classes where targets are class ids, which mixtures need; a dict where targets are one."""
    if isinstance(targets, Mapping):
        counts = {
            key: _class_counts(part, labelled.of_task(names, key)) for key, part in targets.items()
        }
        return {key: count for key, count in counts.items() if count is not None}
    values = np.asarray(targets)
    if encoding.kind_of(values, names) is not KINDS["category"]:
        return None
    return max(2, len(names) if names is not None else int(values.max()) + 1)


def caption(targets: Any, names: Any, weights: Any, row: int) -> str:
    """Returns the label of one example in words, of several tasks one a line.

    Example:
        >>> caption(np.array([1, 0]), ["cat", "dog"], None, 0)
        'dog'
    """
    if isinstance(targets, Mapping):
        lines = []
        for key, values in targets.items():
            own = names.get(key) if isinstance(names, Mapping) else None
            text = caption(values, own, labelled.of_task(weights, key), row)
            lines.append(f"{key}: {text}")
        return "\n".join(lines)
    if weights is not None and not np.any(weights[row]):
        return "no label"
    kind = encoding.kind_of(targets, names)
    return kind.describe_one(targets[row], names)


def marks(targets: Any, names: Any, weights: Any, row: int) -> Marks:
    """Returns what draws the targets of one example that have places in its picture: boxes, masks, images.

    Example:
        >>> len(marks(np.zeros((1, 4, 4), np.uint8), ["cat", "dog"], None, 0))
        1
    """
    if isinstance(targets, Mapping):
        parts = []
        for key, values in targets.items():
            own = names.get(key) if isinstance(names, Mapping) else None
            parts += marks(values, own, labelled.of_task(weights, key), row)
        return parts
    kind = encoding.kind_of(targets, names)
    if not kind.MOVES or (weights is not None and not np.any(weights[row])):
        return []
    return [functools.partial(kind.draw, target=targets[row], names=names)]
