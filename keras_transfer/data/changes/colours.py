"""Changes the colours of a batch: a matrix and an offset for each image, and one pass over the pixels for all of them.

A pixel `x`, a row of channels, becomes `x @ matrix + offset`.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

__all__ = ["brighten", "contrast", "recolour", "saturate"]

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
TOGETHER = 4  # pixels in a row of a product


def _luma(channels: int) -> tf.Tensor:
    """How much each channel adds to the brightness."""
    return tf.constant(LUMA if channels == 3 else [1.0 / channels] * channels)


def brighten(factors: tf.Tensor, means: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Multiplies the light.

    Example:
        >>> brighten(tf.constant([2.0]), tf.zeros((1, 1)))[0].numpy().tolist()
        [[[2.0]]]
    """
    return factors[:, None, None] * tf.eye(means.shape[-1]), tf.zeros_like(means)


def contrast(factors: tf.Tensor, means: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Multiplies the distance to the mean brightness of the image, whose mean colour is `means`.

    Example:
        >>> contrast(tf.constant([0.0]), tf.constant([[50.0]]))[1].numpy().tolist()
        [[50.0]]
    """
    grey = tf.linalg.matvec(means, _luma(means.shape[-1]))
    return factors[:, None, None] * tf.eye(means.shape[-1]), ((1.0 - factors) * grey)[
        :, None
    ] * tf.ones_like(means)


def saturate(factors: tf.Tensor, means: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Multiplies the distance to the grey of equal brightness: 0 is a grey image. Nothing unless there are 3 channels.

    Example:
        >>> matrix, _ = saturate(tf.constant([0.0]), tf.zeros((1, 3)))
        >>> (tf.constant([[255.0, 0.0, 0.0]]) @ matrix[0]).numpy().round().tolist()
        [[76.0, 76.0, 76.0]]
    """
    channels = means.shape[-1]
    if channels != 3:
        factors = tf.ones_like(factors)
    grey = _luma(channels)[:, None] * tf.ones((1, channels))
    own = factors[:, None, None]
    return own * tf.eye(channels) + (1.0 - own) * grey, tf.zeros_like(means)


def _multiply(images: tf.Tensor, matrices: tf.Tensor) -> tf.Tensor:
    """Multiplies pixels by the matrix of their image, several in one row, which takes half the time."""
    channels, pixels = images.shape[-1], tf.TensorShape(images.shape[1:3]).num_elements()
    together = 1 if pixels is None else math.gcd(pixels, TOGETHER)
    same = tf.eye(together)[:, None, :, None] * matrices[:, None, :, None, :]
    side = together * channels
    rows = tf.reshape(images, (tf.shape(images)[0], -1, side))
    return rows @ tf.reshape(same, (-1, side, side))


def recolour(images: tf.Tensor, steps: Sequence[tuple]) -> tf.Tensor:
    """Takes the steps in their order, clipped to 0..255 once, at the end.

    Args:
        images: float32 `(b, height, width, channels)` with values 0..255.
        steps: Pairs of one of the functions above and its factors `(b,)`.

    Example:
        >>> recolour(tf.fill((1, 1, 1, 1), 200.0), [(brighten, tf.constant([2.0]))]).numpy().item()
        255.0
    """
    channels = images.shape[-1]
    count, height, width = tf.unstack(tf.shape(images)[:3])
    # Width and channels are one axis where possible: broadcasting along the channels alone takes three times as long.
    lines = (count, height, width * channels)
    means = tf.reduce_mean(tf.reshape(images, lines), axis=1)
    means = tf.reduce_mean(tf.reshape(means, (count, width, channels)), axis=1)
    matrices, offsets = brighten(tf.ones((count,)), means)
    for step, factors in steps:
        matrix, offset = step(factors, means)
        matrices = matrices @ matrix
        offsets, means = (
            tf.linalg.matvec(matrix, rows, transpose_a=True) + offset for rows in (offsets, means)
        )
    changed = tf.reshape(_multiply(images, matrices), lines)
    changed += tf.tile(offsets, (1, width))[:, None]
    return tf.reshape(tf.clip_by_value(changed, 0.0, 255.0), tf.shape(images))
