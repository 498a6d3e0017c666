"""The images that frozen layers run over once, and the batches of cached rows that `fit` gets instead.

Cached rows are those of the training images, or of several random views of each, one view after the other; then those
of the validation images.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks, labelled
from keras_transfer.data import base, pipeline
from keras_transfer.data.changes import augment, places
from keras_transfer.machine import streams
from keras_transfer.training import inputs

__all__ = ["IMAGES", "TRAIN", "VALIDATION", "VIEWS", "Rows"]

IMAGES, VIEWS = "images", "views"  # kinds of training rows
TRAIN, VALIDATION = "train", "validation"

Read = Callable[[tf.Tensor], tf.Tensor]  # from places, the indices of examples, to cached rows


@dataclasses.dataclass
class Rows:
    """The rows of a data set.

    Attributes:
        given: The data; their order must be known.
        views: How many random views of each training image there are.
        seed: Of the views.
        passes: Counts the epochs, which take the views in turn.
    """

    given: inputs.Inputs
    views: int
    seed: int | None
    passes: augment.Passes = dataclasses.field(default_factory=augment.Passes)

    @property
    def source(self) -> base.Data:
        """The data, whose examples have a known order."""
        if self.given.source is None:
            raise checks.error("`data` must have a known order to be cached", given="none")
        return self.given.source

    @property
    def kind_of_fit(self) -> str:
        """The kind of training rows that `fit` sees; solved heads always see the images."""
        return VIEWS if self.given.changes is not None and self.given.changes.pictures else IMAGES

    def places(self, split: str) -> np.ndarray:
        """Which examples of the source a split has."""
        return self.source.examples[split].rows

    def count(self, split: str) -> int:
        """How many images a split has."""
        if split == VALIDATION and self.given.validation is None:
            return 0
        return len(self.places(split))

    def training_rows(self, kind: str) -> int:
        """How many training rows there are."""
        return self.count(TRAIN) * (self.views if kind == VIEWS else 1)

    def total(self, kind: str) -> int:
        """How many rows there are."""
        return self.training_rows(kind) + self.count(VALIDATION)

    def describe(self, kind: str) -> str:
        """The rows in words."""
        what = "views of training images" if kind == VIEWS else "training images"
        text = f"{self.training_rows(kind):,} {what}"
        if self.given.validation is None:
            return text
        return f"{text} and {self.count(VALIDATION):,} validation images"

    def images(self, kind: str) -> tf.data.Dataset:
        """Returns the batches of images that the rows are computed from, without targets."""
        changes = self.given.changes
        dataset = self.source.ordered(TRAIN)
        if kind == VIEWS and changes is not None:
            dataset = self._all_views(dataset, changes)
        dataset = dataset.map(_without_targets)
        if self.given.validation is None:
            return dataset
        return dataset.concatenate(self.source.ordered(VALIDATION).map(_without_targets))

    def _all_views(self, images: tf.data.Dataset, changes: augment.Augment) -> tf.data.Dataset:
        """Returns all views of the training images, one view after the other."""
        changes = dataclasses.replace(changes, label_smoothing=0.0)
        seed, moving = self.seed or 0, self.given.moving
        views = [
            changes.apply(images, seed=seed, passes=_SamePass(view), moving=moving)
            for view in range(self.views)
        ]
        return functools.reduce(lambda first, second: first.concatenate(second), views)

    @functools.cached_property
    def _moved_targets(self) -> dict[str, tf.Tensor]:
        """The targets that move with the images, of all views, one view after the other; no image is read for them."""
        changes = self.given.changes
        examples = self.source.examples[TRAIN]
        batches = pipeline.places(examples, batch_size=self.source.batch_size)
        kinds = places.find(batches.element_spec[1], self.given.moving)
        if changes is None or not kinds:
            return {}

        @streams.plain
        def without_pixels(index: tf.Tensor, targets: object, *_: object) -> tuple:
            images = tf.zeros((tf.shape(index)[0], *self.source.image_size, 1))
            by_task = labelled.by_task(targets)
            return images, {name: by_task[name] for name in kinds}

        colourless = dataclasses.replace(changes, colour=0.0, grey=0.0)
        moved = self._all_views(batches.map(without_pixels), colourless)
        parts: dict[str, list] = {name: [] for name in kinds}
        for _, targets in moved:
            for name, values in targets.items():
                parts[name].append(values)
        with tf.device("CPU:0"):
            return {name: tf.concat(values, axis=0) for name, values in parts.items()}

    def batches(
        self,
        split: str,
        kind: str,
        reads: Sequence[Read],
        *,
        smooth: Callable[[object], object] | None = None,
    ) -> tf.data.Dataset:
        """Returns batches of cached rows and targets, in the order in which the images would come.

        Args:
            split: "train" or "validation".
            kind: Which training rows are cached.
            reads: For each cached tensor, a function from places to its rows.
            smooth: Smooths the targets.
        """
        first = 0 if split == TRAIN else self.training_rows(kind)

        @streams.plain
        def select(rows: tf.Tensor, *answers: object) -> tuple:
            values = tuple(read(rows + first) for read in reads)
            if isinstance(answers[0], Mapping):
                answers = inputs.narrow(answers, self.given.targets)
            targets, *weights = answers
            targets = targets if smooth is None else smooth(targets)
            return (values if len(values) > 1 else values[0]), targets, *weights

        if kind != VIEWS or split != TRAIN:
            batches = self.source.places(split, then=select)
            return streams.untuned(batches.prefetch(pipeline.READERS))

        moved = self._moved_targets

        @streams.plain
        def select_view(number: tf.Tensor, batch: tuple) -> tuple:
            index, targets, *weights = batch
            rows = index + self.count(TRAIN) * (number % self.views)
            own = {name: tf.gather(values, rows) for name, values in moved.items()}
            if isinstance(targets, Mapping):
                targets = {**targets, **own}
            elif own:
                targets = own[""]
            return select(rows, targets, *weights)

        batches = self.source.places(split)
        numbered = tf.data.Dataset.zip((augment.numbered(self.passes), batches))
        result = numbered.map(select_view, num_parallel_calls=pipeline.READERS)
        length = tf.data.experimental.assert_cardinality(batches.cardinality())
        return streams.untuned(result.apply(length).prefetch(pipeline.READERS))


@streams.plain
def _without_targets(images: tf.Tensor, *targets: object) -> tf.Tensor:
    return images


class _SamePass(augment.Passes):
    """Draws the same random changes in every pass."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.next = number

    def advance(self) -> int:
        return self.next
