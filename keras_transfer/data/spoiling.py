"""Pairs of a spoiled picture and the picture itself, made of any images: what a model of pictures learns from.

One more way to spoil pictures is a function and a row of `WAYS`.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from keras_transfer.core import checks, lookup
from keras_transfer.data import base, pipeline
from keras_transfer.machine import memory

__all__ = ["WAYS", "spoil"]

GREY = 128
LIGHT = np.array([0.299, 0.587, 0.114])  # of red, green and blue (ITU-R BT.601)


def spoil(
    data: base.Data, way: str = "noise", *, amount: float | None = None, seed: int = 0
) -> base.Data:
    """Returns data whose images are spoiled and whose targets are the pictures as they were.

    For `kt.tasks.ImageToImage`, of the images of any data set; labels are left out, splits stay. All pictures are kept
    in memory. Equal seeds spoil alike; in every epoch a picture is spoiled as before.

    Args:
        data: From `kt.data`, with images of one or three channels.
        way: "noise" (Gaussian), "grey" (to learn colours), "holes" (a grey square to fill in), or "small" (to learn to
            enlarge: the images are smaller than their targets, `ImageToImage(scale=2)`).
        amount: Of noise its standard deviation (25 of 255); of holes the share of the picture (0.25); of "small" by how
            much (2). None for these.
        seed: Of noise and places.

    Raises:
        InputError: If the way is unknown, or the pictures do not suit it or do not fit in memory.

    Example:
        >>> import keras_transfer as kt
        >>> data = spoil(kt.data.scenes(80, image_size=32), "noise", amount=40)
        >>> data, data.targets["train"].shape
        (Data(train=64, validation=16, image_size=32x32, batch_size=32), (64, 32, 32, 3))
    """
    row = lookup.find(way, WAYS, argument="way")
    amount = row.amount if amount is None else checks.number(amount, name="amount", above=0)
    checks.integer(seed, name="seed", minimum=0)
    _check_pictures(data, way)

    examples = {}
    for number, split in enumerate(data.examples):
        batches = [element[0] for element in data.ordered(split).as_numpy_iterator()]
        clean = np.concatenate(batches).round().astype("uint8")
        spoiled = []
        for place, picture in enumerate(clean):
            rng = np.random.default_rng([seed, number, place])
            values = row.spoil(picture.astype("float32"), amount, rng)
            spoiled.append(np.clip(np.rint(values), 0, 255).astype("uint8"))
        examples[split] = pipeline.Examples.of(np.stack(spoiled), clean)
    return base.from_examples(
        examples,
        class_names=None,
        image_size=tuple(next(iter(examples.values())).pixels.shape[1:3]),
        batch_size=data.batch_size,
        seed=data.seed,
        digest=f"{data.digest} {way} {amount:g} {seed}",
        files=data.files,
        notes=[],
        groups=data.groups,
    )


def _check_pictures(data: base.Data, way: str) -> None:
    if not isinstance(data, base.Data):
        raise checks.error("`data` must be from kt.data", given=type(data).__name__)
    if data.channels not in (1, 3) or (way == "grey" and data.channels == 1):
        given = f"{data.channels} channel(s) for {way!r}"
        raise checks.error("the images must be pictures that can be spoiled so", given=given)
    count = sum(map(len, data.examples.values()))
    size = 2 * count * data.image_size[0] * data.image_size[1] * data.channels
    free = memory.free_memory()
    if size > free:
        raise checks.error(
            "the pictures must fit in memory",
            given=f"{count:,} pictures, which take {size / 1e9:.1f} GB of {free / 1e9:.1f} GB",
            fix="Take fewer of them, or smaller ones.",
        )


def add_noise(picture: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Adds Gaussian noise of this standard deviation."""
    return picture + rng.normal(0, amount, picture.shape)


def take_colour(picture: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Takes a share of the colour away; 1 leaves grey in all channels."""
    grey = (picture @ LIGHT)[..., None]
    return picture + amount * (grey - picture)


def cut_hole(picture: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Makes a square of this share of the picture grey, anywhere in it."""
    height, width = picture.shape[:2]
    side = max(1, round(min(1.0, amount**0.5) * min(height, width)))
    top, left = rng.integers(0, [height - side + 1, width - side + 1])
    spoiled = picture.copy()
    spoiled[top : top + side, left : left + side] = GREY
    return spoiled


def shrink(picture: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Averages squares of pixels, so many wide."""
    times = int(amount)
    height, width, channels = picture.shape
    if times != amount or times < 2 or height % times or width % times:
        raise checks.error(
            "`amount` must be a whole number from 2 that divides height and width",
            given=f"{amount:g} for pictures of {height} x {width}",
        )
    squares = picture.reshape(height // times, times, width // times, times, channels)
    return squares.mean(axis=(1, 3))


@dataclasses.dataclass(frozen=True)
class _Way:
    """A way to spoil pictures, and how much it does by default."""

    spoil: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
    amount: float


WAYS = {
    "noise": _Way(add_noise, 25.0),
    "grey": _Way(take_colour, 1.0),
    "holes": _Way(cut_hole, 0.25),
    "small": _Way(shrink, 2.0),
}
