"""RandAugment (Cubuk et al. 2020, arXiv:1909.13719) for a whole batch at once.

Each image gets a few of fourteen changes, each with a strength of its own (as in TrivialAugment, Müller and Hutter
2021, arXiv:2103.10158). All changes of places of an image are one matrix, those of colours another one, those of single
values a table of 256 entries: so a batch takes four passes over its pixels, whatever its images drew. Places change
first, then colours, then values, then sharpness, whichever was drawn first.
"""

import tensorflow as tf

from keras_transfer.data.changes import colours, warping

__all__ = ["CHANGES", "Draw", "draw", "matrices", "retouch"]

# What may happen to an image, with the strongest form of it: a share of a full turn, a slant, a share of the sides,
# what is added to or taken from a factor of 1.
CHANGES = {
    "identity": 0.0,
    "rotate": 1 / 12,
    "shear_x": 0.3,
    "shear_y": 0.3,
    "translate_x": 0.3,
    "translate_y": 0.3,
    "brightness": 0.9,
    "contrast": 0.9,
    "saturation": 0.9,
    "sharpness": 0.9,
    "posterize": 4.0,  # bits that are lost
    "solarize": 256.0,
    "autocontrast": 0.0,
    "equalize": 0.0,
}
TABLES = ("posterize", "solarize", "autocontrast", "equalize")
LEVELS = 256


class Draw:
    """What one of the changes of each image of a batch is.

    Args:
        chosen: Which change, as an index of `CHANGES`, `(b,)`.
        strength: How strong, in [0, 1), `(b,)`.
        sign: -1 or 1, `(b,)`.

    Example:
        >>> drawn = Draw(tf.constant([1]), tf.constant([0.5]), tf.constant([-1.0]))
        >>> round(float(drawn.amount("rotate")[0]), 3)
        -0.042
    """

    def __init__(self, chosen: tf.Tensor, strength: tf.Tensor, sign: tf.Tensor) -> None:
        self.chosen, self.strength, self.sign = chosen, strength, sign

    def has(self, name: str) -> tf.Tensor:
        """Whether each image has a change."""
        return self.chosen == list(CHANGES).index(name)

    def amount(self, name: str, *, signed: bool = True) -> tf.Tensor:
        """How much of a change each image has, 0 for most."""
        amounts = CHANGES[name] * self.strength * (self.sign if signed else 1.0)
        return tf.where(self.has(name), amounts, 0.0)


def draw(times: int, count: tf.Tensor, *, seed: tf.Tensor) -> list[Draw]:
    """Draws `times` changes for each of `count` images.

    Example:
        >>> len(draw(2, 4, seed=(0, 1)))
        2
    """
    draws = []
    for key in tf.unstack(tf.random.experimental.stateless_split(seed, times)):
        which, strength, side = tf.unstack(tf.random.experimental.stateless_split(key, 3))
        chosen = tf.random.stateless_uniform((count,), which, 0, len(CHANGES), tf.int32)
        signs = tf.where(tf.random.stateless_uniform((count,), side) < 0.5, -1.0, 1.0)
        draws.append(Draw(chosen, tf.random.stateless_uniform((count,), strength), signs))
    return draws


def matrices(draws: list[Draw], size: tf.Tensor) -> tf.Tensor:
    """Returns how places change, `(b, 3, 3)`: see `warping`.

    Example:
        >>> matrices(draw(2, 4, seed=(0, 1)), tf.constant([8, 8])).shape
        TensorShape([4, 3, 3])
    """
    product = None
    for each in draws:
        shift = warping.shifts(each.amount("translate_x"), each.amount("translate_y"), size=size)
        slant = warping.shears(each.amount("shear_x"), each.amount("shear_y"))
        one = warping.rotations(each.amount("rotate")) @ slant @ shift
        product = one if product is None else product @ one
    return product


def retouch(images: tf.Tensor, draws: list[Draw]) -> tf.Tensor:
    """Returns the images with what changes them pixel by pixel.

    Args:
        images: float32 `(b, height, width, channels)` with values 0..255.
        draws: From `draw`.

    Example:
        >>> retouch(tf.zeros((4, 8, 8, 3)), draw(2, 4, seed=(0, 1))).shape
        TensorShape([4, 8, 8, 3])
    """
    steps = []
    for each in draws:
        steps += [
            (colours.brighten, 1.0 + each.amount("brightness")),
            (colours.contrast, 1.0 + each.amount("contrast")),
            (colours.saturate, 1.0 + each.amount("saturation")),
        ]
    images = colours.recolour(images, steps)
    images = _look_up(images, draws)
    sharpness = tf.add_n([each.amount("sharpness") for each in draws])
    return _sharpen(images, 1.0 + tf.clip_by_value(sharpness, -1.0, 1.0))


def _look_up(images: tf.Tensor, draws: list[Draw]) -> tf.Tensor:
    """Replaces values by a table's, one table an image and channel; of two tables the image has the second."""
    count, height, width = tf.unstack(tf.shape(images)[:3])
    channels = images.shape[-1]
    levels = tf.cast(tf.round(images), tf.int32)
    starts = LEVELS * tf.reshape(tf.range(count * channels), (count, 1, 1, channels))
    # Width and channels are one axis here: broadcasting along the channels alone takes three times as long.
    starts = tf.reshape(tf.tile(starts, (1, 1, width, 1)), (count, 1, width * channels))
    places = tf.reshape(levels, (count, height, width * channels)) + starts
    counts = tf.math.bincount(
        tf.reshape(places, (-1,)),
        minlength=count * channels * LEVELS,
        maxlength=count * channels * LEVELS,
    )
    counts = tf.reshape(counts, (count, channels, LEVELS))

    values = tf.range(float(LEVELS))
    tables = tf.broadcast_to(values, tf.shape(counts))
    is_changed = tf.zeros((count,), tf.bool)
    for each in draws:
        bits = tf.round(each.amount("posterize", signed=False))[:, None, None]
        threshold = (256.0 - each.amount("solarize", signed=False))[:, None, None]
        own = {
            "posterize": tf.floor(values / 2.0**bits) * 2.0**bits,
            "solarize": tf.where(values < threshold, values, 255.0 - values),
            "autocontrast": _autocontrast(counts, values),
            "equalize": _equalize(counts, values),
        }
        for name in TABLES:
            tables = tf.where(each.has(name)[:, None, None], own[name], tables)
            is_changed |= each.has(name)
    shown = tf.gather(tf.reshape(tables, (-1,)), places)
    kept = tf.reshape(images, tf.shape(shown))
    return tf.reshape(tf.where(is_changed[:, None, None], shown, kept), tf.shape(images))


def _autocontrast(counts: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Tables that stretch each channel to 0..255; one with a single value stays."""
    is_there = counts > 0
    low = tf.reduce_min(tf.where(is_there, values, 255.0), axis=-1, keepdims=True)
    high = tf.reduce_max(tf.where(is_there, values, 0.0), axis=-1, keepdims=True)
    span = high - low
    stretched = tf.clip_by_value((values - low) * 255.0 / tf.maximum(span, 1.0), 0.0, 255.0)
    return tf.where(span > 0.0, stretched, values)


def _equalize(counts: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Tables that make all values about as frequent, as `PIL.ImageOps.equalize` does."""
    numbers = tf.range(LEVELS)
    last = tf.reduce_max(tf.where(counts > 0, numbers, 0), axis=-1)
    of_last = tf.gather(counts, last, batch_dims=2)
    step = ((tf.reduce_sum(counts, axis=-1) - of_last) // 255)[..., None]
    before = tf.cumsum(counts, axis=-1, exclusive=True)
    table = tf.minimum((step // 2 + before) // tf.maximum(step, 1), 255)
    return tf.where(step > 0, tf.cast(table, tf.float32), values)


def _sharpen(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Moves the images away from a smoother copy, or towards it for factors below 1."""
    channels = images.shape[-1]
    kernel = tf.constant([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]]) / 13.0
    kernel = tf.tile(kernel[:, :, None, None], (1, 1, channels, 1))
    padded = tf.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="SYMMETRIC")
    smooth = tf.nn.depthwise_conv2d(padded, kernel, [1, 1, 1, 1], "VALID")
    factors = factors[:, None, None, None]
    changed = tf.clip_by_value(smooth + factors * (images - smooth), 0.0, 255.0)
    return tf.where(factors == 1.0, images, changed)
