"""Mixes the examples of a batch with one another: pictures, and the targets of all tasks as their pictures."""

import dataclasses
from collections.abc import Callable
from typing import Any  # targets and weights are one thing, or dicts by task

import tensorflow as tf

from keras_transfer.data.changes import blending, draws, mosaics, places

__all__ = ["Batch", "mix"]


@dataclasses.dataclass(frozen=True)
class Batch:
    """Examples to mix.

    Attributes:
        images: float32 `(b, height, width, channels)`.
        targets: One, or a dict.
        weights: None, a weight an example, or a dict of these.
        kinds: Of the targets that move with the picture.
        classes: As for `blending.mix_targets`; a dict where targets are.
    """

    images: tf.Tensor
    targets: Any
    weights: Any = None
    kinds: places.Kinds = dataclasses.field(kw_only=True)
    classes: Any = dataclasses.field(default=None, kw_only=True)

    @property
    def size(self) -> tf.Tensor:
        """Height and width."""
        return tf.shape(self.images)[1:3]

    def mixed(self, images: tf.Tensor, parts: blending.Parts, verb: Callable) -> tuple:
        """Returns the mixed batch, as an element of a data set.

        Args:
            images: Mixed.
            parts: What mixtures are made of.
            verb: As for `places.change`: mixes a target that moves.
        """
        targets, weights = places.mix(
            self.targets, self.weights, self.kinds, parts, verb, classes=self.classes
        )
        return (images, targets) if weights is None else (images, targets, weights)


def mix(batch: Batch, numbers: draws.Draws, *, mosaic: float, mixup: float, cutmix: float) -> tuple:
    """Mixes a batch in one of the ways that are asked for: see `kt.data.Augment`.

    Example:
        >>> batch = Batch(tf.zeros((2, 8, 8, 3)), tf.constant([10.0, 20.0]), kinds={})
        >>> images, ages = mix(batch, draws.Draws((0, 0), 2), mosaic=1.0, mixup=0.0, cutmix=0.0)
        >>> images.shape, ages.shape
        (TensorShape([2, 8, 8, 3]), TensorShape([2]))
    """
    partners = tf.random.experimental.stateless_shuffle(
        tf.range(numbers.count), numbers.key("partners")
    )
    room = 4 if mosaic else 2  # boxes of so many pictures, in each way, so that all have one form

    def of_one() -> tuple:
        alone: blending.Parts = [(None, tf.ones((numbers.count,)))]
        return batch.mixed(
            batch.images, alone, lambda kind, values: places.widen(kind, values, room)
        )

    def blended() -> tuple:
        return _mixup(batch, mixup, partners, numbers, room)

    def pasted() -> tuple:
        return _cutmix(batch, cutmix, partners, numbers, room)

    def of_two() -> tuple:
        if mixup and cutmix:
            is_mixup = tf.random.stateless_uniform((), numbers.key("mix")) < 0.5
            return tf.cond(is_mixup, blended, pasted)
        if mixup:
            return blended()
        return pasted() if cutmix else of_one()

    if not mosaic:
        return of_two()
    is_mosaic = tf.random.stateless_uniform((), numbers.key("is mosaic")) < mosaic
    return tf.cond(is_mosaic, lambda: _mosaic(batch, numbers), of_two)


def _mosaic(batch: Batch, numbers: draws.Draws) -> tuple:
    layout = mosaics.draw(batch.size, numbers.count, seed=numbers.key("mosaic"))
    return batch.mixed(
        mosaics.show(batch.images, layout),
        layout.parts,
        lambda kind, values: kind.mosaic(values, layout),
    )


def _mixup(
    batch: Batch, alpha: float, partners: tf.Tensor, numbers: draws.Draws, room: int
) -> tuple:
    shares = blending.beta(alpha, numbers.count, seed=numbers.key("mixup"))
    return batch.mixed(
        blending.mixup(batch.images, partners, shares),
        blending.pair(partners, shares),
        lambda kind, values: places.widen(kind, kind.mixup(values, partners, shares), room // 2),
    )


def _cutmix(
    batch: Batch, alpha: float, partners: tf.Tensor, numbers: draws.Draws, room: int
) -> tuple:
    wanted = blending.beta(alpha, numbers.count, seed=numbers.key("cutmix"))
    centres = tf.random.stateless_uniform((numbers.count, 2), numbers.key("cutmix centres"))
    patches = blending.cuts(wanted, centres, size=batch.size)
    return batch.mixed(
        blending.paste(batch.images, tf.gather(batch.images, partners), patches),
        blending.pair(partners, blending.kept(patches, size=batch.size)),
        lambda kind, values: places.widen(kind, kind.cutmix(values, partners, patches), room // 2),
    )
