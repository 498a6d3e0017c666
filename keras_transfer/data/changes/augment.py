"""Random changes to training pictures, repeatable: what happens follows from the seed, the pass and the place in it.

One more change is a field of `Augment`, a row of `CHECKS`, and a function and a row in `draws`: in `GEOMETRY` for
places, in `COLOUR` for colours. Changes happen in the order of these tables, places first.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks, lookup
from keras_transfer.data.changes import (
    blending,
    colours,
    draws,
    mixing,
    places,
    policies,
    warping,
)
from keras_transfer.machine import streams

__all__ = ["PRESETS", "Augment", "Passes", "numbered"]

PRESETS = {
    "light": {"flip": True, "crop": 0.85, "colour": 0.1},
    "medium": {"flip": True, "rotation": 0.02, "crop": 0.7, "colour": 0.2, "grey": 0.05},
    "strong": {
        "flip": True,
        "rotation": 0.04,
        "crop": 0.6,
        "colour": 0.4,
        "grey": 0.1,
        "erase": 0.25,
    },
}

GREY = 128.0  # beyond the edges where mirrored objects would have no boxes


class Passes:
    """Counts the passes over a data set; the next one has the number `next`, which may be set.

    A training that must come again sets it when an epoch begins: under a distribution strategy Keras looks at the data
    once before the first epoch, and that is a pass, too.

    Example:
        >>> passes = Passes()
        >>> passes.advance(), passes.advance(), passes.next
        (0, 1, 2)
    """

    def __init__(self) -> None:
        self.next = 0

    def advance(self) -> int:
        """The number of the pass that begins."""
        self.next += 1
        return self.next - 1


def numbered(passes: Passes) -> tf.data.Dataset:
    """Repeats the number of the pass without end; each iterator counts a pass."""

    def repeat(_: tf.Tensor) -> tf.data.Dataset:
        number = tf.numpy_function(lambda: np.int64(passes.advance()), [], tf.int64)  # once a pass
        return tf.data.Dataset.from_tensors(tf.ensure_shape(number, ())).repeat()

    return tf.data.Dataset.from_tensors(0).flat_map(repeat)


def _at_most_one(value: object, *, name: str, above: float = -math.inf) -> float:
    value = checks.number(value, name=name, above=above, minimum=0.0)
    if value > 1.0:
        raise checks.error(f"`{name}` must be at most 1", given=value)
    return value


CHECKS: dict[str, Callable[..., Any]] = {
    "flip": functools.partial(checks.choice, allowed=(False, True, "vertical", "both")),
    "rotation": checks.share,
    "zoom": checks.share,
    "translation": checks.share,
    "crop": functools.partial(_at_most_one, above=0.0),
    "colour": checks.share,
    "grey": _at_most_one,
    "erase": _at_most_one,
    "randaugment": functools.partial(checks.integer, minimum=0),
    "mosaic": _at_most_one,
    "mixup": functools.partial(checks.number, minimum=0.0),
    "cutmix": functools.partial(checks.number, minimum=0.0),
    "label_smoothing": checks.share,
}


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Augment:
    """Random changes to the pictures of a training set: what is not named does not happen.

    It lives in the data, so validation data and exported models never see it. All changes of places are one bilinear
    resampling, mirrored beyond the edges, and all changes of colours one pass. Every image has draws of its own.

    Boxes, masks and target pictures move with the picture. A box becomes the upright box around it, cut off at the
    edges; one of which less than a tenth is seen is ignored in training, one that is out of sight is gone. A mirrored
    object would have no box: where there are boxes, pictures are grey beyond the edges (128), masks 255 and depths 0.

    Args:
        flip: Left and right half of the time (True), or top and bottom ("vertical"), or each ("both").
        rotation: Share of a full turn, either way: 0.1 is up to 36 degrees.
        zoom: 0.1 shows things at 0.9 to 1.1 times their size.
        translation: Share of the height and of the width, either way.
        crop: The smallest window, as a share of the sides; the window is enlarged to the full size.
        colour: 0.2 multiplies brightness, contrast and saturation by 0.8 to 1.2 each.
        grey: Probability that an image loses its colours.
        erase: Probability that a patch of an image gets one random colour, 2 % to 40 % of the area, 255 in masks.
        randaugment: How many changes of RandAugment (Cubuk et al. 2020) each image gets, of fourteen: turns, slants,
            shifts, colours, tables of values, sharpness; each as strong as is drawn. 2 is common.
        mosaic: Probability that a batch has four pictures in each one. Of class ids it makes distributions by area.
        mixup: Alpha of MixUp (Zhang et al. 2018), which blends each example with another one, targets too: class ids
            become distributions, numbers are interpolated, boxes are those of both. Not for masks. 0.2 is common.
        cutmix: Alpha of CutMix (Yun et al. 2019), which puts a patch of another picture in, and mixes targets by area.
            1 is common. Batches that are no mosaics have one of MixUp and CutMix, at equal odds.
        label_smoothing: Share of the target that is spread over all classes: class ids become distributions, in the
            training data only, so the loss on validation data stays what it was.

    Example:
        >>> Augment(flip=True, rotation=0.1, crop=0.9)
        Augment(flip=True, rotation=0.1, crop=0.9)
    """

    flip: bool | str = False
    rotation: float = 0.0
    zoom: float = 0.0
    translation: float = 0.0
    crop: float = 1.0
    colour: float = 0.0
    grey: float = 0.0
    erase: float = 0.0
    randaugment: int = 0
    mosaic: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        for name, check in CHECKS.items():
            object.__setattr__(self, name, check(getattr(self, name), name=name))

    @classmethod
    def of(cls, value: object) -> "Augment":
        """The one meant by a preset's name ("light", "medium", "strong"), by what `get_config` returned, or by itself.

        Example:
            >>> Augment.of("light")
            Augment(flip=True, crop=0.85, colour=0.1)
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            value = lookup.find(value, PRESETS, argument="augment")
        if not isinstance(value, Mapping):
            names = ", ".join(map(repr, PRESETS))
            raise checks.error(
                f"`augment` must be a `kt.data.Augment` or one of {names}", given=repr(value)
            )
        for name in value:
            lookup.find(name, CHECKS, argument="augment")
        return cls(**value)

    @property
    def changes(self) -> dict[str, Any]:
        """What happens, by name; a field with its default does not."""
        fields = ((field.name, field.default) for field in dataclasses.fields(self))
        return {
            name: getattr(self, name) for name, default in fields if getattr(self, name) != default
        }

    @property
    def mixes(self) -> bool:
        """Whether examples are mixed with others."""
        return bool(self.mosaic or self.mixup or self.cutmix)

    @property
    def pictures(self) -> bool:
        """Whether pictures change, not targets only."""
        return bool(set(self.changes) - {"label_smoothing"})

    @property
    def softens(self) -> bool:
        """Whether targets change too: class ids become distributions."""
        return self.mixes or bool(self.label_smoothing)

    def apply(
        self,
        dataset: tf.data.Dataset,
        *,
        seed: int,
        passes: Passes | None = None,
        classes: object = None,
        moving: Collection[str] | None = None,
    ) -> tf.data.Dataset:
        """Changes the batches of a data set, others in every pass.

        The draws depend on the seed, the number of the pass and the place of the batch in it only. So a run that goes
        on at pass k, with `passes.next = k`, sees what it would have seen.

        Args:
            dataset: Batches of `(images, targets)` or `(images, targets, weights)`; images `(b, height, width,
                channels)` with values 0..255.
            seed: Equal seeds give equal pictures.
            passes: Counts the passes; None counts from 0 by itself.
            classes: For mixed or smoothed targets that are class ids: the number of classes, or a dict where targets
                are a dict. Such targets become distributions, `(b, classes)`.
            moving: The names of targets, in a dict, that have places in the picture; () for none. By default those in
                the form of boxes `(b, boxes, 6)`, masks `(b, height, width)` or pictures.

        Returns:
            Batches of the same form, images in float32. Mixtures have room for more boxes.

        Example:
            >>> images = tf.data.Dataset.from_tensors((tf.zeros((4, 8, 8, 3)), tf.constant([0, 1, 0, 1])))
            >>> Augment(mixup=0.2).apply(images, seed=0, classes=2).element_spec[1].shape
            TensorShape([4, 2])
        """
        passes = Passes() if passes is None else passes
        kinds = self._check(dataset.element_spec, seed, classes, moving)

        @streams.plain
        def changed(number: tf.Tensor, place: tf.Tensor, element: tuple) -> tuple:
            return self._batch(element, _key(seed, number, place), kinds, classes)

        result = tf.data.Dataset.zip((numbered(passes), tf.data.Dataset.counter(), dataset)).map(
            changed, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        if dataset.cardinality() >= 0:
            result = result.apply(tf.data.experimental.assert_cardinality(dataset.cardinality()))
        return result.prefetch(tf.data.AUTOTUNE)

    @streams.plain
    def batch(
        self,
        element: tuple,
        *,
        seed: int,
        number: int = 0,
        place: int = 0,
        classes: object = None,
        moving: Collection[str] | None = None,
    ) -> tuple:
        """Changes one batch as `apply` changes that at a place in a pass.

        Args:
            element: `(images, targets)` or `(images, targets, weights)`.
            seed: As for `apply`.
            number: Of the pass, from 0.
            place: Of the batch in the pass, from 0.
            classes: As for `apply`.
            moving: As for `apply`.

        Returns:
            The same, images in float32.

        Example:
            >>> images, ages = Augment(flip=True).batch((tf.ones((2, 4, 4, 3)), tf.constant([3.0, 5.0])), seed=0)
            >>> images.shape
            TensorShape([2, 4, 4, 3])
        """
        element = tf.nest.map_structure(tf.convert_to_tensor, element)
        spec = tf.nest.map_structure(tf.TensorSpec.from_tensor, element)
        kinds = self._check(spec, seed, classes, moving)
        return self._batch(element, _key(seed, number, place), kinds, classes)

    @streams.plain
    def images(self, images: tf.Tensor, seed: object, *, jit: bool = False) -> tf.Tensor:
        """Changes one batch; equal seeds, equal results.

        Args:
            images: `(b, height, width, channels)` with values 0..255.
            seed: Two whole numbers.
            jit: For use inside a function that XLA compiles, whose draws are others.

        Returns:
            float32 images of the same shape. Nothing is mixed: that would change targets.

        Example:
            >>> Augment(flip=True).images(tf.ones((2, 4, 4, 3)), seed=(0, 1)).shape
            TensorShape([2, 4, 4, 3])
        """
        images = tf.cast(images, tf.float32)
        _check_images(images)
        numbers = draws.Draws(seed, tf.shape(images)[0])
        return self._changed(images, (), {}, numbers, jit=jit)[0]

    def _check(
        self, spec: Any, seed: int, classes: object, moving: Collection[str] | None
    ) -> places.Kinds:
        """Checks the spec of a batch, and returns the kinds of the targets that move."""
        checks.integer(seed, name="seed", minimum=0, below=checks.SEEDS)
        if not isinstance(spec, tuple) or len(spec) not in (2, 3):
            raise checks.error(
                "`dataset` must give (images, targets) or (images, targets, weights)",
                given=type(spec).__name__,
            )
        _check_images(spec[0])
        kinds = places.find(spec[1], moving)
        places.check_sizes(spec[1], kinds, spec[0])
        if self.softens:
            places.check_mixing(kinds, mixup=self.mixup)
            blending.check_targets(spec[1], classes, moving=kinds)
        return kinds

    def _batch(self, element: tuple, key: tf.Tensor, kinds: places.Kinds, classes: object) -> tuple:
        """Changes and mixes one batch of images, targets and maybe weights."""
        images, targets, *weights = element
        numbers = draws.Draws(key, tf.shape(images)[0])
        images, targets = self._changed(images, targets, kinds, numbers)
        if self.mixes:
            batch = mixing.Batch(images, targets, *weights, kinds=kinds, classes=classes)
            asked = {"mosaic": self.mosaic, "mixup": self.mixup, "cutmix": self.cutmix}
            images, targets, *weights = mixing.mix(batch, numbers, **asked)
        if self.label_smoothing:
            targets = blending.smoothed(targets, classes, self.label_smoothing)
        return images, targets, *weights

    def _changed(
        self,
        images: tf.Tensor,
        targets: Any,
        kinds: places.Kinds,
        numbers: draws.Draws,
        *,
        jit: bool = False,
    ) -> tuple[tf.Tensor, Any]:
        """Changes the images of a batch one by one, and the targets that move with them."""
        images = tf.cast(images, tf.float32)
        size = tf.shape(images)[1:3]
        policy = []
        if self.randaugment:
            key = numbers.key("randaugment")
            policy = policies.draw(self.randaugment, numbers.count, seed=key)

        how = self._move(numbers, size, policy, has_boxes=places.have_boxes(kinds))
        if how is not None:
            images = warping.warp(images, how.matrices, upright=how.upright, fill=how.fill, jit=jit)
            targets = places.change(targets, kinds, lambda kind, values: kind.move(values, how))

        steps = []
        for name in draws.COLOUR:
            if name in self.changes:
                steps += draws.COLOUR[name](self.changes[name], numbers)
        if steps:
            images = colours.recolour(images, steps)
        if policy:
            images = policies.retouch(images, policy)
        if not self.erase:
            return images, targets

        hidden = draws.erasures(self.erase, numbers, size)
        images = draws.erase(images, hidden, numbers)
        return images, places.change(
            targets, kinds, lambda kind, values: kind.cover(values, hidden)
        )

    def _move(
        self, numbers: draws.Draws, size: tf.Tensor, policy: list, *, has_boxes: bool
    ) -> warping.Move | None:
        """Draws how the images move; None where they stay."""
        moves = [name for name in draws.GEOMETRY if name in self.changes]
        matrices = [draws.GEOMETRY[name](self.changes[name], numbers, size) for name in moves]
        if policy:
            matrices.append(policies.matrices(policy, size))
        if not matrices:
            return None
        quick = draws.UPRIGHT if has_boxes else draws.INSIDE
        return warping.Move(
            matrices=functools.reduce(tf.matmul, matrices),
            size=size,
            upright=set(moves) <= quick and not policy,
            fill=GREY if has_boxes else None,
        )

    def get_config(self) -> dict:
        """Plain values, for `Augment(**config)`."""
        return dataclasses.asdict(self)

    def __repr__(self) -> str:
        return f"Augment({', '.join(f'{name}={value!r}' for name, value in self.changes.items())})"


def _key(seed: int, number: object, place: object) -> tf.Tensor:
    """The seed of all draws of a batch."""
    key = tf.constant([seed, 0], tf.int64)
    for part in (number, place):
        key = tf.random.experimental.stateless_fold_in(key, tf.cast(part, tf.int64))
    return key


def _check_images(images: tf.Tensor | tf.TensorSpec) -> None:
    shape = getattr(images, "shape", None)
    if shape is None or shape.rank != 4 or shape[-1] is None:
        raise checks.error(
            "images must come in batches (b, height, width, channels)",
            given=type(images).__name__ if shape is None else shape,
            fix="Use `dataset.batch(32)` first.",
        )
