"""Masks and pictures that are targets: they follow the changes of their pictures, pixel by pixel.

Masks are whole numbers `(b, height, width)`, 255 where a pixel counts for nothing. Target pictures are `(b, height,
width, channels)`: where their values are whole they are resampled as pictures are; others, such as depths, are copied
from the nearest pixel, since a mean of two depths may be nowhere. What a change leaves open is 255 in a mask, grey in a
picture of whole values, and 0 in others.
"""

import tensorflow as tf

from keras_transfer.data.changes import blending, mosaics, warping

__all__ = ["UNKNOWN", "cover", "cutmix", "has_unknown", "holds", "is_mask", "mosaic", "move"]

UNKNOWN = 255


def holds(spec: tf.TensorSpec) -> bool:
    """Whether targets are masks or pictures.

    Example:
        >>> holds(tf.TensorSpec((None, 8, 8), tf.uint8)), holds(tf.TensorSpec((None, 8)))
        (True, False)
    """
    return is_mask(spec) or spec.shape.rank == 4


def is_mask(values: tf.Tensor | tf.TensorSpec) -> bool:
    """Whether targets are masks.

    Example:
        >>> is_mask(tf.zeros((2, 8, 8), tf.uint8)), is_mask(tf.zeros((2, 8, 8, 1)))
        (True, False)
    """
    return values.shape.rank == 3 and values.dtype.is_integer


def has_unknown(values: tf.Tensor | tf.TensorSpec) -> bool:
    """Whether a value says that a pixel is not known: 255 in masks, 0 in depths; pixels of both are copied, not mixed.

    Example:
        >>> has_unknown(tf.zeros((2, 8, 8, 1))), has_unknown(tf.zeros((2, 8, 8, 3), tf.uint8))
        (True, False)
    """
    return is_mask(values) or not values.dtype.is_integer


def move(values: tf.Tensor, how: warping.Move) -> tf.Tensor:
    """Returns the values at the places that the pictures show.

    Example:
        >>> matrices = warping.flips(tf.constant([True]), tf.constant([False]))
        >>> how = warping.Move(matrices, tf.constant([1, 3]), upright=True, fill=None)
        >>> move(tf.constant([[[0, 1, 2]]], tf.uint8), how).numpy().tolist()
        [[[2, 1, 0]]]
    """
    fill = None if how.fill is None else float(_blank(values, how.fill))
    moved = warping.warp(
        _as_pictures(values),
        how.matrices,
        upright=how.upright,
        fill=fill,
        nearest=has_unknown(values),
    )
    return _as_before(moved, values)


def cover(values: tf.Tensor, patches: tf.Tensor) -> tf.Tensor:
    """Returns masks and depths that know nothing of a patch of each picture, which is hidden; target pictures stay.

    Example:
        >>> cover(tf.zeros((1, 1, 3), tf.uint8), tf.constant([[0, 0, 1, 2]])).numpy().tolist()
        [[[255, 255, 0]]]
    """
    if not has_unknown(values):
        return values
    pictures = _as_pictures(values)
    shape = (tf.shape(values)[0], 1, 1, pictures.shape[-1])
    unknown = tf.cast(tf.fill(shape, _blank(values, 0.0)), values.dtype)
    return _as_before(blending.paste(pictures, unknown, patches), values)


def cutmix(values: tf.Tensor, partners: tf.Tensor, patches: tf.Tensor) -> tf.Tensor:
    """Returns the values with a patch of each one's partner in it.

    Example:
        >>> masks = tf.constant([[[0, 0]], [[1, 1]]], tf.uint8)
        >>> cutmix(masks, [1, 0], tf.constant([[0, 0, 1, 1], [0, 0, 0, 0]])).numpy().tolist()
        [[[1, 0]], [[1, 1]]]
    """
    pictures = values[..., None] if is_mask(values) else values
    mixed = blending.paste(pictures, tf.gather(pictures, partners), patches)
    return tf.reshape(mixed, tf.shape(values))


def mosaic(values: tf.Tensor, layout: mosaics.Layout) -> tf.Tensor:
    """Returns the mosaics of the values.

    Example:
        >>> layout = mosaics.draw(tf.constant([8, 8]), 2, seed=(0, 1))
        >>> mosaic(tf.ones((2, 8, 8), tf.uint8), layout).shape
        TensorShape([2, 8, 8])
    """
    return _as_before(
        mosaics.show(_as_pictures(values), layout, nearest=has_unknown(values)), values
    )


def _blank(values: tf.Tensor, grey: float) -> float:
    if is_mask(values):
        return UNKNOWN
    return grey if values.dtype.is_integer else 0.0


def _as_pictures(values: tf.Tensor) -> tf.Tensor:
    """With channels; in float32 where values will be means."""
    if is_mask(values):
        return values[..., None]
    return values if has_unknown(values) else tf.cast(values, tf.float32)


def _as_before(changed: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    if is_mask(values):
        changed = changed[..., 0]
    elif not has_unknown(values):
        changed = tf.round(changed)
    return tf.ensure_shape(tf.cast(changed, values.dtype), values.shape)
