"""Mosaics: four pictures in one, each shrunk until it just covers its tile, cut off where it is longer.

The tiles of all mosaics of a batch meet in one place (Bochkovskiy et al. 2020, arXiv:2004.10934), so each tile is one
resampling of the batch.
"""

from typing import NamedTuple

import tensorflow as tf

__all__ = ["Layout", "Tile", "draw", "show"]

MIDDLE = (0.3, 0.7)  # where tiles meet, as a share of the sides


class Tile(NamedTuple):
    """One tile of the mosaics.

    Attributes:
        top: Its first row.
        left: Its first column.
        height: Its rows.
        width: Its columns.
        examples: Which example each mosaic shows in it, `(b,)`.
        scale: The size of things in it, by that in their picture.
        offset: Across and down, the place in the picture that its corner shows, `(b, 2)`.
    """

    top: tf.Tensor
    left: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    examples: tf.Tensor
    scale: tf.Tensor
    offset: tf.Tensor


class Layout(NamedTuple):
    """The four tiles of the mosaics of a batch, row by row.

    Attributes:
        size: Height and width.
        tiles: Of the mosaics.
    """

    size: tf.Tensor
    tiles: list[Tile]

    @property
    def parts(self) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """The examples of each tile, and its share of the area."""
        area = tf.cast(tf.reduce_prod(self.size), tf.float32)
        shares = [tf.cast(tile.height * tile.width, tf.float32) / area for tile in self.tiles]
        return [
            (tile.examples, tf.fill(tf.shape(tile.examples), share))
            for tile, share in zip(self.tiles, shares, strict=True)
        ]


def draw(size: tf.Tensor, count: tf.Tensor, *, seed: object) -> Layout:
    """Draws where tiles meet and what they show; the first tile of each mosaic shows the example itself.

    Args:
        size: Height and width of the pictures.
        count: Examples in the batch.
        seed: Two whole numbers.

    Example:
        >>> [int(tile.height) for tile in draw(tf.constant([10, 10]), 3, seed=(0, 0)).tiles]
        [5, 5, 5, 5]
    """
    keys = tf.random.experimental.stateless_split(tf.cast(seed, tf.int64), 9)
    sides = tf.cast(size, tf.float32)
    share = tf.random.stateless_uniform((2,), keys[0], *MIDDLE)
    row, column = tf.unstack(tf.cast(tf.round(share * sides), tf.int32))
    tiles = []
    for number in range(4):
        is_low, is_right = divmod(number, 2)
        top, height = (row, size[0] - row) if is_low else (tf.zeros_like(row), row)
        left, width = (column, size[1] - column) if is_right else (tf.zeros_like(column), column)
        examples = tf.range(count)
        if number:
            examples = tf.random.experimental.stateless_shuffle(examples, keys[number])
        own = tf.cast(tf.stack([width, height]), tf.float32)
        scale = tf.reduce_max(own / sides[::-1])
        room = sides[::-1] - own / scale
        offset = room * tf.random.stateless_uniform((count, 2), keys[4 + number])
        tiles.append(Tile(top, left, height, width, examples, scale, offset))
    return Layout(size, tiles)


def show(images: tf.Tensor, layout: Layout, *, nearest: bool = False) -> tf.Tensor:
    """Makes the mosaics.

    Args:
        images: `(b, height, width, channels)`.
        layout: From `draw`.
        nearest: Whether each pixel is one pixel of a picture, not a mean of four.

    Returns:
        Mosaics of the same shape, in float32.

    Example:
        >>> show(tf.ones((3, 8, 8, 1)), draw(tf.constant([8, 8]), 3, seed=(0, 0))).shape
        TensorShape([3, 8, 8, 1])
    """
    last = tf.maximum(tf.cast(layout.size, tf.float32) - 1.0, 1.0)
    shown = []
    for tile in layout.tiles:
        sides = tf.stack([tile.height, tile.width])
        # Pixel i of the tile has its middle at i + 0.5, and shows what is at offset + (i + 0.5) / scale.
        first = tile.offset[:, ::-1] + 0.5 / tile.scale - 0.5
        end = first + (tf.cast(sides, tf.float32) - 1.0) / tile.scale
        places = tf.concat([first / last, end / last], axis=-1)
        method = "nearest" if nearest else "bilinear"
        shown.append(tf.image.crop_and_resize(images, places, tile.examples, sides, method=method))
    rows = [tf.concat(shown[:2], axis=2), tf.concat(shown[2:], axis=2)]
    return tf.ensure_shape(tf.concat(rows, axis=1), images.shape)
