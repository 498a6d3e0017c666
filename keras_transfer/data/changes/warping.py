"""Moves the pixels of a batch: matrices for flips, turns, zooms, shifts and windows, and one resampling for them all.

A matrix takes a place in the result to the place in the image that it shows. Places are `(x, y, 1)` in pixels from the
image's centre, x to the right and y down, so matrices multiply: `a @ b` shows what `b` makes of the result of `a`.
"""

import math
from typing import NamedTuple

import tensorflow as tf

__all__ = ["Move", "flips", "rotations", "scalings", "shears", "shifts", "warp", "windows"]

MARGIN = 1e-5  # of a side; see `windows`


class Move(NamedTuple):
    """How the pictures of a batch are moved, and with them what has places in them.

    Attributes:
        matrices: `(b, 3, 3)`, see above.
        size: Height and width of the pictures.
        upright: As for `warp`.
        fill: What pictures show beyond their edges; None for themselves, mirrored.
    """

    matrices: tf.Tensor
    size: tf.Tensor
    upright: bool
    fill: float | None


def _matrices(
    xx: tf.Tensor, xy: tf.Tensor, xt: tf.Tensor, yx: tf.Tensor, yy: tf.Tensor, yt: tf.Tensor
) -> tf.Tensor:
    zeros, ones = tf.zeros_like(xx), tf.ones_like(xx)
    return tf.reshape(tf.stack([xx, xy, xt, yx, yy, yt, zeros, zeros, ones], axis=-1), (-1, 3, 3))


def flips(across: tf.Tensor, down: tf.Tensor) -> tf.Tensor:
    """Mirrors left and right where `across`, top and bottom where `down`.

    Example:
        >>> flips(tf.constant([True]), tf.constant([False]))[0, 0].numpy().tolist()
        [-1.0, 0.0, 0.0]
    """
    x, y = (1.0 - 2.0 * tf.cast(turned, tf.float32) for turned in (across, down))
    zeros = tf.zeros_like(x)
    return _matrices(x, zeros, zeros, zeros, y, zeros)


def rotations(turns: tf.Tensor) -> tf.Tensor:
    """Turns about the centre, against the clock; 0.25 is a right angle.

    Example:
        >>> rotations(tf.constant([0.25]))[0, 1].numpy().round(3).tolist()[0]
        1.0
    """
    angle = 2.0 * math.pi * turns
    zeros = tf.zeros_like(turns)
    return _matrices(tf.cos(angle), -tf.sin(angle), zeros, tf.sin(angle), tf.cos(angle), zeros)


def shears(across: tf.Tensor, down: tf.Tensor) -> tf.Tensor:
    """Slants: a row is moved to the right by `across` times its distance above the centre, a column likewise.

    Example:
        >>> shears(tf.constant([0.5]), tf.constant([0.0]))[0, 0].numpy().tolist()
        [1.0, 0.5, 0.0]
    """
    zeros, ones = tf.zeros_like(across), tf.ones_like(across)
    return _matrices(ones, across, zeros, down, ones, zeros)


def scalings(factors: tf.Tensor) -> tf.Tensor:
    """Enlarges by `factors` about the centre; below 1 it shrinks.

    Example:
        >>> scalings(tf.constant([2.0]))[0, 0].numpy().tolist()
        [0.5, 0.0, 0.0]
    """
    zeros = tf.zeros_like(factors)
    return _matrices(1.0 / factors, zeros, zeros, zeros, 1.0 / factors, zeros)


def shifts(across: tf.Tensor, down: tf.Tensor, *, size: tf.Tensor) -> tf.Tensor:
    """Moves to the right by `across` widths and down by `down` heights; `size` is `(height, width)`.

    Example:
        >>> shifts(tf.constant([0.1]), tf.constant([0.0]), size=(10, 20))[0, 0].numpy().tolist()
        [1.0, 0.0, -2.0]
    """
    height, width = tf.unstack(tf.cast(size, tf.float32))
    zeros, ones = tf.zeros_like(across), tf.ones_like(across)
    return _matrices(ones, zeros, -width * across, zeros, ones, -height * down)


def windows(share: tf.Tensor, across: tf.Tensor, down: tf.Tensor, *, size: tf.Tensor) -> tf.Tensor:
    """Enlarges a window, `share` of the image in width and in height.

    `across` and `down` say where it lies: -1 at the left or the top edge, 1 at the right or the bottom edge.

    Example:
        >>> windows(tf.constant([0.5]), tf.constant([0.0]), tf.constant([0.0]), size=(9, 9))[0, 0].numpy().tolist()
        [0.5, 0.0, 0.0]
    """
    height, width = tf.unstack(tf.cast(size, tf.float32))
    # Rounding must not take the outermost pixel of a window off the image, where `crop_and_resize` would put black.
    room = 0.5 * tf.maximum(1.0 - share - MARGIN, 0.0)
    zeros = tf.zeros_like(share)
    return _matrices(
        share, zeros, across * room * (width - 1.0), zeros, share, down * room * (height - 1.0)
    )


def warp(
    images: tf.Tensor,
    matrices: tf.Tensor,
    *,
    upright: bool = False,
    fill: float | None = None,
    nearest: bool = False,
    jit: bool = False,
) -> tf.Tensor:
    """Shows the images through the matrices: bilinear, and mirrored beyond the edges.

    Where a matrix is the identity or a flip, pixels keep their bits.

    Args:
        images: `(b, height, width, channels)`: float32, or with `nearest` also whole numbers.
        matrices: `(b, 3, 3)`, see above.
        upright: Whether no matrix turns or slants, and, without a `fill`, none shows anything from beyond the edges.
            This is a quarter of the work.
        fill: What to show beyond the edges in place of the mirrored image.
        nearest: Whether each pixel is one pixel of the image, not a mean of four.
        jit: Whether to use operations that XLA can compile, for bilinear and mirrored images; uncompiled they are
            slower.

    Example:
        >>> row = tf.reshape(tf.range(3.0), (1, 1, 3, 1))
        >>> warp(row, flips(tf.constant([True]), tf.constant([False])))[0, 0, :, 0].numpy().tolist()
        [2.0, 1.0, 0.0]
    """
    centre_y, centre_x = tf.unstack(0.5 * (tf.cast(tf.shape(images)[1:3], tf.float32) - 1.0))
    (xx, xy, xt), (yx, yy, yt) = (tf.unstack(matrices[:, row], axis=-1) for row in (0, 1))
    if upright and not jit:
        axes = [(yy, yt, centre_y), (xx, xt, centre_x)]
        return _upright(images, axes, fill=fill or 0.0, nearest=nearest)
    x_start = xt + centre_x - xx * centre_x - xy * centre_y
    y_start = yt + centre_y - yx * centre_x - yy * centre_y
    if jit:
        return _gathered(images, (xx, xy, x_start), (yx, yy, y_start))
    zeros = tf.zeros_like(xx)
    return tf.ensure_shape(
        tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=tf.stack([xx, xy, x_start, yx, yy, y_start, zeros, zeros], axis=-1),
            output_shape=tf.shape(images)[1:3],
            fill_value=fill or 0.0,
            interpolation="NEAREST" if nearest else "BILINEAR",
            fill_mode="REFLECT" if fill is None else "CONSTANT",
        ),
        images.shape,
    )


def _upright(
    images: tf.Tensor,
    axes: list[tuple[tf.Tensor, tf.Tensor, tf.Tensor]],
    *,
    fill: float,
    nearest: bool,
) -> tf.Tensor:
    """The same by `crop_and_resize`, whose boxes are the first and the last place along each axis."""
    places = [
        (shift + centre + sign * scale * centre) / tf.maximum(2.0 * centre, 1.0)
        for sign in (-1.0, 1.0)
        for scale, shift, centre in axes
    ]
    shape = tf.shape(images)
    shown = tf.image.crop_and_resize(
        images,
        tf.stack(places, axis=-1),
        tf.range(shape[0]),
        shape[1:3],
        method="nearest" if nearest else "bilinear",
        extrapolation_value=fill,
    )
    return tf.ensure_shape(tf.cast(shown, images.dtype), images.shape)


def _gathered(images: tf.Tensor, across: tuple, down: tuple) -> tf.Tensor:
    """The same from the four neighbours of each place."""
    count, height, width = tf.unstack(tf.shape(images)[:3])
    channels = images.shape[-1]
    grids = tf.meshgrid(*map(tf.range, (tf.cast(width, tf.float32), tf.cast(height, tf.float32))))
    columns, rows = (tf.reshape(grid, (1, -1)) for grid in grids)
    x, y = (
        a[:, None] * columns + b[:, None] * rows + start[:, None] for a, b, start in (across, down)
    )
    left, top = tf.floor(x), tf.floor(y)
    flat = tf.reshape(images, (count, height * width, channels))

    def line(row: int) -> tf.Tensor:
        begin = width * _mirrored(tf.cast(top, tf.int32) + row, height)
        one, other = (
            tf.gather(
                flat, begin + _mirrored(tf.cast(left, tf.int32) + column, width), batch_dims=1
            )
            for column in (0, 1)
        )
        return one + (other - one) * (x - left)[..., None]

    upper = line(0)
    return tf.reshape(upper + (line(1) - upper) * (y - top)[..., None], tf.shape(images))


def _mirrored(places: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """... 1 0 0 1 2 ... n-1 n-1 n-2 ..."""
    places = tf.math.floormod(places, 2 * side)
    return tf.minimum(places, 2 * side - 1 - places)
