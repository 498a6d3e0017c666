"""Boxes that follow the changes of their pictures.

Boxes are float32 `(b, most boxes, 6)` with rows `x1, y1, x2, y2, class id, ignored`: edges in pixels of the picture,
and 1 where a box is neither an object to find nor background. Rows with class id -1 fill up.
Of a box that is hardly seen any more (less than `VISIBLE` of its area) nothing can be learned: it is ignored from then
on; one that is not seen at all is gone.
"""

import tensorflow as tf

from keras_transfer.data.changes import mosaics, warping

__all__ = ["VISIBLE", "clip", "cover", "cutmix", "holds", "mixup", "mosaic", "move", "pad"]

VISIBLE = 0.1  # share of a box's area, or of its picture in a blend
NOTHING = (0.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def holds(spec: tf.TensorSpec) -> bool:
    """Whether targets are boxes.

    Example:
        >>> holds(tf.TensorSpec((None, 9, 6))), holds(tf.TensorSpec((None, 6)))
        (True, False)
    """
    return spec.shape.rank == 3 and spec.shape[-1] == 6 and spec.dtype.is_floating


def move(boxes: tf.Tensor, how: warping.Move) -> tf.Tensor:
    """Returns the upright boxes around the moved ones, as far as they lie in the picture.

    Example:
        >>> matrices = warping.flips(tf.constant([True]), tf.constant([False]))
        >>> how = warping.Move(matrices, tf.constant([8, 10]), upright=True, fill=128.0)
        >>> move(tf.constant([[[1.0, 2.0, 4.0, 6.0, 0.0, 0.0]]]), how)[0, 0].numpy().tolist()
        [6.0, 2.0, 9.0, 6.0, 0.0, 0.0]
    """
    # A matrix takes places in the result to places in the picture, from its centre; here we go the other way.
    inverse = tf.linalg.inv(how.matrices)
    height, width = tf.unstack(tf.cast(how.size, tf.float32))
    x1, y1, x2, y2 = tf.unstack(boxes[..., :4], axis=-1)
    x = tf.stack([x1, x2, x1, x2], axis=-1) - 0.5 * width  # (b, m, corners)
    y = tf.stack([y1, y1, y2, y2], axis=-1) - 0.5 * height

    def along(row: int) -> tf.Tensor:
        xs, ys, shift = (inverse[:, row, column][:, None, None] for column in range(3))
        return xs * x + ys * y + shift

    across, down = along(0) + 0.5 * width, along(1) + 0.5 * height
    corners = [tf.reduce_min(across, -1), tf.reduce_min(down, -1)]
    corners += [tf.reduce_max(across, -1), tf.reduce_max(down, -1)]
    moved = tf.concat([tf.stack(corners, axis=-1), boxes[..., 4:]], axis=-1)
    return clip(moved, tf.stack([[0.0, 0.0, height, width]]))


def clip(boxes: tf.Tensor, patches: tf.Tensor) -> tf.Tensor:
    """Returns what is seen of the boxes where only one patch of each picture is.

    Args:
        boxes: See above.
        patches: `(b, 4)` as top, left, bottom, right.

    Example:
        >>> box = tf.constant([[[0.0, 0.0, 4.0, 4.0, 2.0, 0.0]]])
        >>> clip(box, tf.constant([[0, 3, 8, 8]]))[0, 0].numpy().tolist()
        [3.0, 0.0, 4.0, 4.0, 2.0, 0.0]
    """
    inside = _overlap(boxes, patches)
    return _seen(boxes, inside, tf.math.divide_no_nan(_area(inside), _area(boxes)))


def cover(boxes: tf.Tensor, patches: tf.Tensor) -> tf.Tensor:
    """Returns what is seen of the boxes where one patch of each picture hides what was there.

    Example:
        >>> box = tf.constant([[[0.0, 0.0, 4.0, 4.0, 2.0, 0.0]]])
        >>> cover(box, tf.constant([[0, 3, 8, 8]]))[0, 0].numpy().tolist()
        [0.0, 0.0, 3.0, 4.0, 2.0, 0.0]
    """
    hidden = _overlap(boxes, patches)
    area = _area(boxes)
    share = tf.math.divide_no_nan(area - _area(hidden), area)
    left, top, right, bottom = tf.unstack(boxes[..., :4], axis=-1)
    from_left, from_top, to_right, to_bottom = tf.unstack(hidden, axis=-1)

    # A patch that hides all of a box's height, from one side on, leaves a narrower box; likewise of its width.
    is_high = (from_top <= top) & (to_bottom >= bottom) & (to_right > from_left)
    is_wide = (from_left <= left) & (to_right >= right) & (to_bottom > from_top)
    seen = [
        tf.where(is_high & (from_left <= left), to_right, left),
        tf.where(is_wide & (from_top <= top), to_bottom, top),
        tf.where(is_high & (to_right >= right), from_left, right),
        tf.where(is_wide & (to_bottom >= bottom), from_top, bottom),
    ]
    return _seen(boxes, tf.stack(seen, axis=-1), share)


def pad(boxes: tf.Tensor, times: int) -> tf.Tensor:
    """Returns the boxes with rows that fill up: `times` as many rows as there are.

    Example:
        >>> pad(tf.zeros((1, 1, 6)), 2)[0, 1].numpy().tolist()
        [0.0, 0.0, 0.0, 0.0, -1.0, 0.0]
    """
    empty = tf.zeros_like(boxes) + tf.constant(NOTHING)
    return tf.concat([boxes] + [empty] * (times - 1), axis=1)


def mixup(boxes: tf.Tensor, partners: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
    """Returns the boxes of both pictures; one that shines through by less than `VISIBLE` has ignored boxes.

    Args:
        boxes: See above.
        partners: The index of each one's partner; an example that is its own has its boxes once.
        shares: How much of itself each picture keeps.

    Example:
        >>> boxes = tf.constant([[[0.0, 0.0, 4.0, 4.0, 2.0, 0.0]], [[1.0, 1.0, 2.0, 2.0, 0.0, 0.0]]])
        >>> mixup(boxes, [1, 0], tf.constant([0.95, 0.5]))[0, :, 4:].numpy().tolist()
        [[2.0, 0.0], [0.0, 1.0]]
    """
    is_other = partners != tf.range(tf.shape(boxes)[0])
    own = tf.where(is_other, shares, 1.0)
    both = []
    for part, share in ((boxes, own), (tf.gather(boxes, partners), 1.0 - own)):
        area = tf.broadcast_to(share[:, None], tf.shape(part)[:2])
        both.append(_seen(part, part[..., :4], area))
    return tf.concat(both, axis=1)


def cutmix(boxes: tf.Tensor, partners: tf.Tensor, patches: tf.Tensor) -> tf.Tensor:
    """Returns what is seen of the boxes of both pictures, one with a patch of the other in it.

    Args:
        boxes: See above.
        partners: As for `mixup`.
        patches: `(b, 4)` as top, left, bottom, right.

    Example:
        >>> boxes = tf.constant([[[0.0, 0.0, 4.0, 4.0, 2.0, 0.0]], [[1.0, 1.0, 2.0, 2.0, 0.0, 0.0]]])
        >>> cutmix(boxes, [1, 0], tf.constant([[0, 0, 3, 3], [0, 0, 0, 0]]))[0, :, 4].numpy().tolist()
        [2.0, 0.0]
    """
    is_other = partners != tf.range(tf.shape(boxes)[0])
    patches = tf.where(is_other[:, None], patches, 0)
    return tf.concat([cover(boxes, patches), clip(tf.gather(boxes, partners), patches)], axis=1)


def mosaic(boxes: tf.Tensor, layout: mosaics.Layout) -> tf.Tensor:
    """Returns what is seen of the boxes of the four pictures of each mosaic.

    Example:
        >>> layout = mosaics.draw(tf.constant([8, 8]), 2, seed=(0, 1))
        >>> mosaic(tf.tile([[[0.0, 0.0, 8.0, 8.0, 3.0, 0.0]]], (2, 1, 1)), layout).shape
        TensorShape([2, 4, 6])
    """
    parts = []
    for tile in layout.tiles:
        chosen = tf.gather(boxes, tile.examples)
        offset = tf.tile(tile.offset, (1, 2))[:, None, :]
        corner = tf.cast(tf.tile([tile.left, tile.top], (2,)), tf.float32)
        places = (chosen[..., :4] - offset) * tile.scale + corner
        patch = tf.stack([[tile.top, tile.left, tile.top + tile.height, tile.left + tile.width]])
        parts.append(clip(tf.concat([places, chosen[..., 4:]], axis=-1), patch))
    return tf.concat(parts, axis=1)


def _overlap(boxes: tf.Tensor, patches: tf.Tensor) -> tf.Tensor:
    """The part of each box that lies in a patch, as corners; without area where there is none."""
    sides = tf.cast(patches, tf.float32)
    top, left, bottom, right = tf.unstack(sides[:, None, :], axis=-1)
    x1, y1, x2, y2 = tf.unstack(boxes[..., :4], axis=-1)
    from_left, from_top = (
        tf.clip_by_value(*each) for each in ((x1, left, right), (y1, top, bottom))
    )
    to_right, to_bottom = (
        tf.clip_by_value(*each) for each in ((x2, left, right), (y2, top, bottom))
    )
    return tf.stack([from_left, from_top, to_right, to_bottom], axis=-1)


def _area(boxes: tf.Tensor) -> tf.Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _seen(boxes: tf.Tensor, corners: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Boxes with other corners, ignored or gone where a small share is seen."""
    is_seen = (boxes[..., 4] >= 0.0) & (share > 0.0)
    hardly = tf.cast(share < VISIBLE, tf.float32)
    ignored = tf.maximum(boxes[..., 5], hardly)
    rows = tf.concat([corners, boxes[..., 4:5], ignored[..., None]], axis=-1)
    return tf.where(is_seen[..., None], rows, tf.constant(NOTHING))
