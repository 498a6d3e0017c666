"""What can happen to the pictures of a batch: how each change draws its random numbers, and the tables of changes.

A row of `GEOMETRY` makes the matrices of one change of places (see `warping`), a row of `COLOUR` the steps of one
change of colours (see `colours`), both from the value of the field of `Augment` with that name. Changes of
places that turn nothing are also in `UPRIGHT`, those of them that show nothing from beyond the edges in `INSIDE`: they
are faster then.
"""

import math
import zlib

import tensorflow as tf

from keras_transfer.data.changes import blending, colours, warping

__all__ = ["COLOUR", "GEOMETRY", "INSIDE", "UPRIGHT", "Draws", "erase", "erasures"]

ERASED_AREA = (0.02, 0.4)  # Zhong et al. 2020 (arXiv:1708.04896), also the aspect
ERASED_ASPECT = (0.3, 1 / 0.3)


class Draws:
    """The random numbers of one batch, each by the name of what it is for: one more name changes no other's.

    Args:
        seed: Two whole numbers.
        count: The number of images.

    Example:
        >>> Draws((0, 0), 3).between(0.0, 1.0, "zoom").shape
        TensorShape([3])
    """

    def __init__(self, seed: object, count: tf.Tensor) -> None:
        self.seed = tf.cast(seed, tf.int64)
        self.count = count

    def key(self, name: str) -> tf.Tensor:
        """A seed."""
        # Far apart for any two names; to fold them in would take most of the time that small batches take.
        return self.seed + tf.constant([0, zlib.crc32(name.encode()) << 31], tf.int64)

    def between(self, low: float, high: float, name: str) -> tf.Tensor:
        """A number in [low, high) for each image."""
        return low + (high - low) * tf.random.stateless_uniform((self.count,), self.key(name))

    def about(self, centre: float, spread: float, name: str) -> tf.Tensor:
        """A number at most `spread` from `centre` for each image."""
        return self.between(centre - spread, centre + spread, name)

    def chance(self, probability: float, name: str) -> tf.Tensor:
        """Whether, for each image."""
        return self.between(0.0, 1.0, name) < probability


def _flip(sides: bool | str, draws: Draws, size: tf.Tensor) -> tf.Tensor:
    across = draws.chance(0.0 if sides == "vertical" else 0.5, "flip across")
    return warping.flips(across, draws.chance(0.0 if sides is True else 0.5, "flip down"))


def _turn(share: float, draws: Draws, size: tf.Tensor) -> tf.Tensor:
    return warping.rotations(draws.about(0.0, share, "rotation"))


def _zoom(share: float, draws: Draws, size: tf.Tensor) -> tf.Tensor:
    return warping.scalings(draws.about(1.0, share, "zoom"))


def _shift(share: float, draws: Draws, size: tf.Tensor) -> tf.Tensor:
    return warping.shifts(
        *(draws.about(0.0, share, name) for name in ("shift across", "shift down")), size=size
    )


def _window(share: float, draws: Draws, size: tf.Tensor) -> tf.Tensor:
    places = (draws.about(0.0, 1.0, name) for name in ("window across", "window down"))
    return warping.windows(draws.between(share, 1.0, "window"), *places, size=size)


def _jitter(strength: float, draws: Draws) -> list[tuple]:
    steps = (colours.brighten, colours.contrast, colours.saturate)
    return [(step, draws.about(1.0, strength, step.__name__)) for step in steps]


def _grey(probability: float, draws: Draws) -> list[tuple]:
    return [(colours.saturate, 1.0 - tf.cast(draws.chance(probability, "grey"), tf.float32))]


def erasures(probability: float, draws: Draws, size: tf.Tensor) -> tf.Tensor:
    """Returns the patch of each image that is erased, as `blending.patches` does; without area for most.

    Example:
        >>> erasures(1.0, Draws((0, 0), 2), (8, 8)).shape
        TensorShape([2, 4])
    """
    area = draws.between(*ERASED_AREA, "erased area")
    low, high = map(math.log, ERASED_ASPECT)
    ratio = tf.exp(draws.between(low, high, "erased aspect"))
    area = tf.where(draws.chance(probability, "erase"), area, 0.0)
    sides = tf.minimum(tf.stack([tf.sqrt(area * ratio), tf.sqrt(area / ratio)], axis=-1), 1.0)
    centres = tf.stack(
        [draws.between(0.0, 1.0, name) for name in ("erased row", "erased column")], axis=-1
    )
    return blending.patches(sides, centres, size=size)


def erase(images: tf.Tensor, patches: tf.Tensor, draws: Draws) -> tf.Tensor:
    """Gives each image's patch one random colour.

    Example:
        >>> erase(tf.zeros((2, 4, 4, 3)), tf.constant([[0, 0, 2, 2]] * 2), Draws((0, 0), 2)).shape
        TensorShape([2, 4, 4, 3])
    """
    shape = (draws.count, 1, 1, images.shape[-1])
    colours = tf.random.stateless_uniform(shape, draws.key("erased colour"), maxval=255.0)
    return blending.paste(images, colours, patches)


GEOMETRY = {"flip": _flip, "rotation": _turn, "zoom": _zoom, "translation": _shift, "crop": _window}
UPRIGHT = {"flip", "zoom", "translation", "crop"}  # nothing turns: see `warping.warp`
INSIDE = {"flip", "crop"}  # upright, and nothing from beyond the edges
COLOUR = {"colour": _jitter, "grey": _grey}
