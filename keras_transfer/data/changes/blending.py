"""MixUp and CutMix: every example of a batch is mixed with another one, pictures and answers by the same share.

MixUp (Zhang et al. 2018, arXiv:1710.09412) blends two pictures. CutMix (Yun et al. 2019, arXiv:1905.04899) puts a box
of one into the other. The share that stays is drawn from Beta(alpha, alpha) for each pair; partners are a permutation
of the batch, so a few examples stay as they are.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import tensorflow as tf

from keras_transfer.core import checks, labelled

__all__ = [
    "Parts", "beta", "check_targets", "cuts", "kept", "mix_targets", "mix_weights", "mixup", "pair", "paste",
    "patches", "smoothed",
]  # fmt: skip

# What a mixture is made of: indices of examples, one a mixture, and how much of each mixture they are. The indices may
# be None, for the examples themselves.
Parts = Sequence[tuple[tf.Tensor | None, tf.Tensor]]


def beta(alpha: float, count: tf.Tensor, *, seed: tf.Tensor) -> tf.Tensor:
    """Draws `count` numbers from Beta(alpha, alpha); equal seeds, equal numbers.

    Example:
        >>> beta(1.0, 3, seed=(0, 0)).shape
        TensorShape([3])
    """
    keys = tf.random.experimental.stateless_split(seed)
    # X / (X + Y) of two Gamma(alpha), each Gamma(alpha + 1) * U**(1 / alpha): only the logarithms are sure not to be 0.
    larger = tf.math.log(tf.random.stateless_gamma((2, count), keys[0], alpha=alpha + 1.0))
    logs = larger + tf.math.log1p(-tf.random.stateless_uniform((2, count), keys[1])) / alpha
    return tf.sigmoid(logs[0] - logs[1])


def mixup(images: tf.Tensor, partners: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
    """Blends each image with that of its partner.

    Args:
        images: `(b, height, width, channels)`.
        partners: The index of each one's partner.
        shares: How much of itself each image keeps.

    Example:
        >>> mixup(tf.reshape([0.0, 100.0], (2, 1, 1, 1)), [1, 0], tf.constant([0.75, 0.5])).numpy().ravel().tolist()
        [25.0, 50.0]
    """
    own = shares[:, None, None, None]
    return own * images + (1.0 - own) * tf.gather(images, partners)


def pair(partners: tf.Tensor, shares: tf.Tensor) -> Parts:
    """Returns the parts of mixtures of two: `shares` of each example itself, and the rest of its partner.

    Example:
        >>> [amounts.numpy().tolist() for _, amounts in pair([1, 0], tf.constant([0.75, 0.5]))]
        [[0.75, 0.5], [0.25, 0.5]]
    """
    return [(None, shares), (partners, 1.0 - shares)]


def kept(found: tf.Tensor, *, size: tf.Tensor) -> tf.Tensor:
    """Returns the share of each picture that lies outside its patch.

    Example:
        >>> kept(tf.constant([[0, 0, 2, 4]]), size=(4, 4)).numpy().tolist()
        [0.5]
    """
    top, left, bottom, right = tf.unstack(tf.cast(found, tf.float32), axis=-1)
    area = tf.cast(tf.reduce_prod(size), tf.float32)
    return 1.0 - (bottom - top) * (right - left) / area


def cuts(shares: tf.Tensor, centres: tf.Tensor, *, size: tf.Tensor) -> tf.Tensor:
    """Patches for CutMix, of the shape of the pictures.

    Args:
        shares: How much of its area each picture should keep.
        centres: As for `patches`.
        size: As for `patches`.

    Example:
        >>> cuts(tf.constant([0.75]), tf.constant([[0.5, 0.5]]), size=(8, 8)).numpy().tolist()
        [[2, 2, 6, 6]]
    """
    side = tf.sqrt(1.0 - shares)
    return patches(tf.stack([side, side], axis=-1), centres, size=size)


def patches(sides: tf.Tensor, centres: tf.Tensor, *, size: tf.Tensor) -> tf.Tensor:
    """Patches in whole pixels, cut off at the edges: `(b, 4)` as top, left, bottom, right, the last two exclusive.

    Args:
        sides: Height and width as shares of the image's, `(b, 2)`.
        centres: Their centres, `(b, 2)` in [0, 1).
        size: Height and width of the images.

    Example:
        >>> patches(tf.constant([[0.5, 0.5]]), tf.constant([[0.0, 0.5]]), size=(8, 8)).numpy().tolist()
        [[0, 2, 2, 6]]
    """
    size = tf.convert_to_tensor(size)
    cut = tf.cast(tf.round(sides * tf.cast(size, tf.float32)), tf.int32)
    begin = tf.cast(centres * tf.cast(size, tf.float32), tf.int32) - cut // 2
    return tf.concat([tf.maximum(begin, 0), tf.minimum(begin + cut, size)], axis=-1)


def paste(images: tf.Tensor, others: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """The images, with the others inside the patches.

    Args:
        images: `(b, height, width, channels)`.
        others: Of the same shape, or one pixel each, `(b, 1, 1, channels)`.
        found: From `patches`.

    Example:
        >>> paste(tf.zeros((1, 1, 3, 1)), tf.ones((1, 1, 3, 1)), [[0, 0, 1, 2]]).numpy().ravel().tolist()
        [1.0, 1.0, 0.0]
    """
    count, height, width = tf.unstack(tf.shape(images)[:3])
    channels = images.shape[-1]
    top, left, bottom, right = tf.unstack(tf.convert_to_tensor(found)[:, :, None], axis=1)
    rows, columns = tf.range(height), tf.range(width * channels) // channels
    inside = ((rows >= top) & (rows < bottom))[:, :, None] & (
        (columns >= left) & (columns < right)
    )[:, None, :]
    if others.shape[2] == 1:
        others = tf.tile(others, (1, 1, width, 1))
    # Width and channels are one axis here: `tf.where` takes four times as long where it broadcasts the last one.
    lines, own = (tf.reshape(pixels, (count, -1, width * channels)) for pixels in (others, images))
    return tf.reshape(tf.where(inside, lines, own), tf.shape(images))


def check_targets(targets: Any, classes: Any, *, moving: Collection[str] = ()) -> None:
    """Checks, from a data set's `element_spec`, that targets can be mixed.

    Args:
        targets: The specs, one or a dict.
        classes: As for `mix_targets`; a dict where targets are.
        moving: The names of targets with places in the picture, which are mixed as it is; one target has the name "".

    Example:
        >>> check_targets(tf.TensorSpec((None,), tf.int64), 3)
    """
    named = isinstance(targets, Mapping)
    if isinstance(classes, Mapping) != named and classes is not None:
        wanted = (
            f"a dict of class counts for some of {', '.join(map(repr, targets))}"
            if named
            else "a number"
        )
        raise checks.error(f"`classes` must be {wanted}, as the targets are", given=repr(classes))
    for name in set(classes or ()) - set(targets) if named else ():
        raise checks.error(
            f"`classes` must have names among {', '.join(map(repr, targets))}", given=repr(name)
        )
    for name, spec in labelled.by_task(targets).items():
        if name in moving:
            continue
        count = labelled.of_task(classes, name)
        if count is not None:
            checks.integer(count, name="classes", minimum=2)
        shown = f"target {name!r}" if named else "targets"
        if not isinstance(spec, tf.TensorSpec) or spec.shape.rank not in (1, 2):
            raise checks.error(
                f"class ids, distributions and numbers can be mixed or smoothed, so {shown} must have shape "
                "(batch,) or (batch, outputs)",
                given=getattr(spec, "shape", type(spec).__name__),
            )
        if not spec.dtype.is_floating and count is None:
            which = f'`classes={{"{name}": n}}`' if named else "`classes=n`"
            raise checks.error(
                f"{shown} must be numbers, or class ids of a known number of classes, to be mixed",
                given=spec.dtype.name,
                fix=f"Say {which}.",
            )


def mix_targets(
    targets: tf.Tensor,
    weights: tf.Tensor | None,
    parts: Parts,
    *,
    classes: int | None = None,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Mixes one target of the examples of a batch as their images were.

    A target becomes the mean of its parts', an example's weight the mean of their weights. All count with their amount
    and the targets with their weight, too: a missing label (weight 0) adds nothing, and a cross-entropy of the mixture
    is the same mixture of cross-entropies.

    Args:
        targets: Class ids `(b,)` or `(b, 1)`, which become distributions `(b, classes)`; or distributions; or numbers,
            which are interpolated.
        weights: None, or a weight an example.
        parts: What the mixtures are made of.
        classes: The number of classes where targets are class ids.

    Returns:
        Targets and weights.

    Example:
        >>> parts = pair([1, 0], tf.constant([0.75, 0.5]))
        >>> mix_targets(tf.constant([0, 1]), None, parts, classes=2)[0].numpy().tolist()
        [[0.75, 0.25], [0.5, 0.5]]
    """
    values = _soft(targets, classes)
    given = tf.ones_like(parts[0][1])
    if weights is not None:
        given = tf.reshape(tf.cast(weights, tf.float32), (-1,))
    amounts = [amount * _chosen(given, examples) for examples, amount in parts]
    total = tf.add_n(amounts)
    inner = [1] * (values.shape.rank - 1)
    rows = []
    for (examples, _), amount in zip(parts, amounts, strict=True):
        share = tf.reshape(tf.math.divide_no_nan(amount, total), (-1, *inner))
        part = _chosen(values, examples)
        # A missing number may be NaN, and NaN times 0 is NaN.
        rows.append(tf.where(share > 0, share * part, tf.zeros_like(part)))
    return tf.add_n(rows), None if weights is None else total


def mix_weights(weights: tf.Tensor, parts: Parts, *, need_all: bool) -> tf.Tensor:
    """Returns the weights of mixtures.

    Args:
        weights: Of the examples.
        parts: What the mixtures are made of.
        need_all: Whether a mixture has no label as soon as one of its parts has none.

    Example:
        >>> parts = pair([1, 0], tf.constant([0.75, 1.0]))
        >>> mix_weights(tf.constant([1.0, 0.0]), parts, need_all=False).numpy().tolist()
        [0.75, 0.0]
        >>> mix_weights(tf.constant([1.0, 0.0]), parts, need_all=True).numpy().tolist()
        [0.0, 0.0]
    """
    given = tf.reshape(tf.cast(weights, tf.float32), (-1,))
    total = tf.zeros_like(given)
    is_known = tf.ones_like(given, tf.bool)
    for examples, amount in parts:
        own = _chosen(given, examples)
        total += amount * own
        is_known &= (own > 0.0) | (amount <= 0.0)
    return tf.where(is_known, total, 0.0) if need_all else total


def _chosen(values: tf.Tensor, examples: tf.Tensor | None) -> tf.Tensor:
    return values if examples is None else tf.gather(values, examples)


def smoothed(targets: Any, classes: Any, share: float) -> Any:
    """Spreads a share of each distribution over all classes; numbers stay as they are.

    Args:
        targets: As for `mix_targets`, or a dict of such targets.
        classes: As for `mix_targets`, or a dict; nothing happens to targets without a number of classes.
        share: In [0, 1).

    Example:
        >>> [round(float(each), 2) for each in smoothed(tf.constant([1]), 4, 0.2)[0]]
        [0.05, 0.85, 0.05, 0.05]
    """
    if isinstance(targets, Mapping):
        return {
            name: smoothed(values, (classes or {}).get(name), share)
            for name, values in targets.items()
        }
    if classes is None:
        return targets
    return (1.0 - share) * _soft(targets, classes) + share / classes


def _soft(targets: tf.Tensor, classes: int | None) -> tf.Tensor:
    """Class ids as distributions; what is a distribution or a number as it is."""
    rank, last = targets.shape.rank, targets.shape[-1]
    if classes is None or (rank == 2 and last == classes):
        return tf.cast(targets, tf.float32)
    ids = tf.cast(tf.reshape(targets, (-1,)), tf.int32)
    known = tf.cast((ids >= 0) & (ids < classes), tf.float32)
    return (
        tf.one_hot(ids, classes) / known[:, None]
    )  # NaN where there is no such class, as in `Crossentropy`
