"""A contact sheet for reports: pictures of a batch as the network sees it, targets painted in, as one PNG."""

import io
from collections.abc import Mapping, Sequence
from typing import Any  # targets and names are one thing, or dicts by task

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_transfer.core import labelled
from keras_transfer.data.changes import boxes, places, planes
from keras_transfer.data.targets import encoding
from keras_transfer.pages import overlays

__all__ = ["describe", "paint", "png"]

SIDE = 176  # pixels of a picture's longer side
COLUMNS = 4
LINE, LETTERS = 14, 12  # pixels of a line of text and of its letters
LONGEST = 28  # letters of a line
SHOWN = 0.05  # a share of a class below this is not told


def png(
    images: np.ndarray, targets: Any, names: Any = None, weights: Any = None, *, most: int = 16
) -> bytes:
    """Returns a PNG of the first images of a batch, with boxes, masks and target pictures, and labels below.

    Args:
        images: `(b, height, width, channels)` with values 0..255.
        targets: Encoded or mixed, or a dict of them.
        names: Class names, or a dict of them.
        weights: 0 for a missing label, in the form of the targets; None where none is missing.
        most: How many images at most.

    Example:
        >>> png(np.zeros((2, 8, 8, 3)), np.array([1, 0]), ["cat", "dog"])[1:4]
        b'PNG'
    """
    rows = range(min(most, len(images)))
    pictures = [paint(images[row], targets, names, row) for row in rows]
    captions = [describe(targets, names, weights, row) for row in rows]
    lines = max(len(caption) for caption in captions) * LINE
    height = max(len(picture) for picture in pictures)
    width = max(picture.shape[1] for picture in pictures)
    columns = min(COLUMNS, len(pictures))
    depth = -(-len(pictures) // columns)

    gap = 6
    size = (columns * (width + gap) + gap, depth * (height + lines + gap) + gap)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=LETTERS)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(number, columns)
        x, y = gap + column * (width + gap), gap + row * (height + lines + gap)
        sheet.paste(Image.fromarray(picture), (x, y))
        for line, text in enumerate(caption):
            shown = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
            pen.text((x, y + height + line * LINE), shown, fill="black", font=font)
    buffer = io.BytesIO()
    sheet.save(buffer, "png")
    return buffer.getvalue()


def paint(image: np.ndarray, targets: Any, names: Any, row: int) -> np.ndarray:
    """Returns a picture of `SIDE` pixels, uint8 RGB, with the targets of its example that have places in it.

    A target picture stands to the right of it.

    Args:
        image: With values 0..255.
        targets: Of the whole batch.
        names: Class names, or a dict of them.
        row: Of the example.

    Example:
        >>> paint(np.zeros((8, 8, 3)), np.zeros((1, 8, 8), np.uint8), None, 0).shape
        (176, 176, 3)
    """
    scale = SIDE / max(image.shape[:2])
    picture = _resized(_as_rgb(image), scale)
    beside: list[np.ndarray] = []
    by_task = labelled.by_task(targets)
    kinds = places.find_in(by_task)
    for name in kinds:
        values = np.asarray(by_task[name])[row]
        if values.ndim == 3:
            own_scale = scale * image.shape[0] / values.shape[0]  # it may be larger than the image
            beside.append(_resized(_as_rgb(_stretched(values)), own_scale))
        elif kinds[name] is planes:
            picture = overlays.paint_mask(picture, values, ignored=planes.UNKNOWN)
    for name in kinds:
        if kinds[name] is boxes:
            values = np.asarray(by_task[name])[row]
            own = labelled.of_task(names, name)
            picture = _paint_boxes(picture, values, own, scale)
    return np.concatenate([picture, *beside], axis=1)


def describe(targets: Any, names: Any, weights: Any, row: int) -> list[str]:
    """Returns the labels of an example that are no pictures: a line a task, of a mixture the largest shares.

    Example:
        >>> describe(np.array([[0.7, 0.3]]), ["cat", "dog"], None, 0)
        ['0.70 cat, 0.30 dog']
    """
    lines = []
    for name, values in labelled.by_task(targets).items():
        own, weight = labelled.of_task(names, name), labelled.of_task(weights, name)
        is_missing = weight is not None and not np.any(np.asarray(weight)[row])
        if is_missing:
            text = "no label"
        elif np.ndim(values) > 2 or name in places.find_in({name: values}):
            continue
        else:
            text = _in_words(np.asarray(values), own, row)
        lines.append(f"{name}: {text}" if isinstance(targets, Mapping) else text)
    return lines


def _in_words(values: np.ndarray, names: Sequence[str] | None, row: int) -> str:
    is_of_names = values.ndim == 2 and names is not None
    if names is None or not is_of_names or np.isin(values, (0, 1)).all():
        if is_of_names and (values.sum(axis=1) == 1).all():
            values = values.argmax(axis=1)
        return encoding.kind_of(values, names).describe_one(values[row], names)
    shares = values[row]
    order = [number for number in np.argsort(-shares, kind="stable") if shares[number] >= SHOWN]
    return ", ".join(f"{shares[number]:.2f} {names[number]}" for number in order[:3])


def _paint_boxes(
    picture: np.ndarray, rows: np.ndarray, names: Sequence[str] | None, scale: float
) -> np.ndarray:
    found = rows[rows[:, 4] >= 0]
    numbers = [int(number) for number in found[:, 4]]
    captions = []
    for number, is_ignored in zip(numbers, found[:, 5] > 0, strict=True):
        name = names[number] if names is not None else str(number)
        captions.append(f"({name})" if is_ignored else name)
    return overlays.draw_boxes(picture, found[:, :4] * scale, captions, numbers)


def _as_rgb(image: np.ndarray) -> np.ndarray:
    pixels = np.clip(np.rint(image), 0, 255).astype("uint8")
    return pixels[..., :3] if pixels.shape[-1] >= 3 else np.repeat(pixels[..., :1], 3, axis=-1)


def _stretched(values: np.ndarray) -> np.ndarray:
    """Values of another range, such as depths, from black to white."""
    if values.dtype == np.uint8:
        return values
    low, high = float(values.min()), float(values.max())
    return (values - low) * (255 / max(high - low, 1e-9))


def _resized(picture: np.ndarray, scale: float) -> np.ndarray:
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    way = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(picture).resize((width, height), way))
