"""Draws answers that have places: regions of a mask and boxes onto pictures, depths as shades."""

import colorsys
from collections.abc import Sequence

import numpy as np

__all__ = ["colour", "draw_boxes", "fit", "paint_heat", "paint_mask", "shade"]

PALETTE_STEP = 0.618  # of the hue from one class to the next: neighbours differ most
OPACITY = 0.5
# From cold to hot, at equal steps; they differ in brightness, too, for readers who do not tell red from green.
HEAT = ((59, 15, 112), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191))


def colour(number: int) -> tuple[int, int, int]:
    """Returns the colour of a class, red, green and blue from 0 to 255.

    Example:
        >>> colour(0) == colour(1)
        False
    """
    hue = (0.55 + PALETTE_STEP * number) % 1.0
    value = 0.95 if number % 2 == 0 else 0.75
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def paint_mask(picture: np.ndarray, mask: np.ndarray, *, ignored: int) -> np.ndarray:
    """Returns a picture with each region of a mask in the colour of its class; ignored pixels are darkened.

    Args:
        picture: uint8 RGB.
        mask: Class ids (height, width), of any size.
        ignored: The value of pixels that have no class.

    Example:
        >>> painted = paint_mask(np.zeros((4, 4, 3), "uint8"), np.zeros((2, 2), "uint8"), ignored=255)
        >>> bool((painted[0, 0] == np.array(colour(0)) // 2).all())
        True
    """
    places = [
        np.minimum(np.arange(side) * given // side, given - 1)
        for side, given in zip(picture.shape[:2], mask.shape, strict=True)
    ]
    ids = mask[np.ix_(*places)].astype(int)
    colours = np.zeros((256, 3), "uint8")
    for number in np.unique(ids[ids != ignored]):
        colours[number] = colour(int(number))
    mixed = (1 - OPACITY) * picture + OPACITY * colours[ids]
    return mixed.astype("uint8")


def paint_heat(picture: np.ndarray, heat: np.ndarray, *, opacity: float = 0.6) -> np.ndarray:
    """Returns a picture with a map on it: the hotter a place, the brighter and the less of the picture is seen.

    Args:
        picture: uint8 RGB.
        heat: Numbers from 0 to 1 (height, width), of any size.
        opacity: Of the hottest places; cold ones are left as they are.

    Example:
        >>> painted = paint_heat(np.zeros((4, 4, 3), "uint8"), np.array([[0.0, 1.0]]), opacity=1.0)
        >>> painted[0, 0].tolist(), painted[0, 3].tolist()
        ([0, 0, 0], [252, 253, 191])
    """
    from PIL import Image

    height, width = picture.shape[:2]
    shares = Image.fromarray(heat.astype("float32"), mode="F").resize((width, height), 2)
    shares = np.clip(np.asarray(shares), 0, 1)
    steps = np.linspace(0, 1, len(HEAT))
    channels = [np.interp(shares, steps, values) for values in zip(*HEAT, strict=True)]
    weights = opacity * np.sqrt(shares)[..., None]
    mixed = (1 - weights) * picture + weights * np.stack(channels, axis=-1)
    return np.rint(mixed).astype("uint8")


def draw_boxes(
    picture: np.ndarray, boxes: np.ndarray, captions: Sequence[str], numbers: Sequence[int]
) -> np.ndarray:
    """Returns a picture with boxes on it, each in the colour of its class, with a caption.

    Args:
        picture: uint8 RGB.
        boxes: `x1, y1, x2, y2` in pixels of the picture, (n, 4).
        captions: One a box.
        numbers: The class ids, for the colours.

    Example:
        >>> drawn = draw_boxes(np.zeros((8, 8, 3), "uint8"), np.array([[1, 1, 6, 6]]), [""], [0])
        >>> bool((drawn[1, 1:6] == colour(0)).all())
        True
    """
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    height, width = picture.shape[:2]
    thickness = 1 if max(height, width) < 200 else 2
    font = ImageFont.load_default(size=max(8, round(max(height, width) / 20)))
    for box, caption, number in zip(boxes, captions, numbers, strict=True):
        x1, y1 = np.clip(box[:2], 0, [width - 1, height - 1])
        x2, y2 = np.clip(np.asarray(box[2:]) - 1, [x1, y1], [width - 1, height - 1])
        pen.rectangle((x1, y1, x2, y2), outline=colour(number), width=thickness)
        if caption:
            edges = pen.textbbox((x1 + thickness, y1 + thickness), caption, font=font)
            pen.rectangle(edges, fill=colour(number))
            pen.text((x1 + thickness, y1 + thickness), caption, fill="white", font=font)
    return np.asarray(image)


def fit(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns values 0..255 as a uint8 RGB picture of a given size, by the nearest pixels.

    Args:
        pixels: (height, width, channels); of other than 3 channels the first is shown.
        size: Height and width of the result.

    Example:
        >>> fit(np.full((2, 2, 1), 7.4), (4, 6)).shape
        (4, 6, 3)
    """
    places = [
        np.minimum(np.arange(side) * given // side, given - 1)
        for side, given in zip(size, pixels.shape[:2], strict=True)
    ]
    chosen = np.rint(pixels[np.ix_(*places)]).astype("uint8")
    return chosen if chosen.shape[-1] == 3 else np.repeat(chosen[..., :1], 3, axis=-1)


def shade(depths: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns depths as shades of grey, near ones bright; what is not above 0, or not finite, is black.

    Args:
        depths: (height, width).
        size: Height and width of the result.

    Example:
        >>> shade(np.array([[1.0, 4.0, 0.0]]), (1, 3))[0, :, 0].tolist()
        [255, 55, 0]
    """
    known = np.isfinite(depths) & (depths > 0)
    logs = np.log(np.where(known, depths, 1.0))
    if not known.any():
        return fit(np.zeros((*depths.shape, 1)), size)
    low, high = logs[known].min(), logs[known].max()
    shares = (high - logs) / max(high - low, 1e-9)
    return fit(np.where(known, 55 + 200 * shares, 0.0)[..., None], size)
