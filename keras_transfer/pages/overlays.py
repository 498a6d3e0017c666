"""Draws answers that have places onto pictures: regions of a mask."""

import colorsys

import numpy as np

__all__ = ["PALETTE_STEP", "colour", "paint_mask"]

PALETTE_STEP = 0.618  # of the hue from one class to the next: neighbours differ most
OPACITY = 0.5


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
