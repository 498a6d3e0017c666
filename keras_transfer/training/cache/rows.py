"""The images that frozen layers run over once, and the batches of cached rows that `fit` gets instead.

Cached rows are those of the training images, or of several random views of each, one view after the other; then those
of the validation images.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.data import base, pipeline
from keras_transfer.data.changes import augment
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
        views = [
            changes.apply(images, seed=self.seed or 0, passes=_SamePass(view))
            for view in range(self.views)
        ]
        return functools.reduce(lambda first, second: first.concatenate(second), views)

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
        def select(places: tf.Tensor, *answers: object) -> tuple:
            values = tuple(read(places + first) for read in reads)
            if isinstance(answers[0], Mapping):
                answers = inputs.narrow(answers, self.given.targets)
            targets, *weights = answers
            targets = targets if smooth is None else smooth(targets)
            return (values if len(values) > 1 else values[0]), targets, *weights

        if kind != VIEWS or split != TRAIN:
            batches = self.source.places(split, then=select)
            return streams.untuned(batches.prefetch(pipeline.READERS))

        @streams.plain
        def select_view(number: tf.Tensor, batch: tuple) -> tuple:
            places = batch[0] + self.count(TRAIN) * (number % self.views)
            return select(places, *batch[1:])

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
