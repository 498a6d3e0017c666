"""Batches that can be read again and again, whatever they come from."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple  # images, targets, weights: arrays, tensors or dicts of them

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.data import pipeline

__all__ = ["Batch", "Batches", "from_arrays", "from_dataset", "from_iterable"]

SIZE = 32


class Batch(NamedTuple):
    """Some examples; `files` are their image files, where they have any."""

    images: Any
    targets: Any = None
    weights: Any = None
    files: list[str] | None = None

    @property
    def element(self) -> tuple:
        """The batch as an element of a data set: (images[, targets[, weights]])."""
        parts = (self.images, self.targets, self.weights)
        return tuple(part for part in parts if part is not None)


@dataclass(eq=False)
class Batches:
    """Batches of images, `(images, targets)` or `(images, targets, weights)`.

    Attributes:
        read: Starts a pass at the first batch.
        spec: The `tf.TensorSpec`s of one batch, as a tuple.
        steps: Number of batches, at most; None where unknown.
        rows: Number of examples, at most; None where unknown.
        split: "train", "validation" or "test"; None for data that is not divided.
        targets: Targets of all examples in order, where they are known without reading; else None.
        weights: Weights of all examples, likewise.
        files: Image files of all examples, likewise.
        skipped: Files that the last pass left out, with the reason.
        shuffled: The batches for training, in a new order in every pass; None where there is only one order.
        passes: Counters of the passes over `shuffled`, each with a settable `next`.
    """

    read: Callable[[], Iterator[Batch]]
    spec: tuple
    steps: int | None = None
    rows: int | None = None
    split: str | None = None
    targets: Any = None
    weights: Any = None
    files: list[str] | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    shuffled: tf.data.Dataset | None = None
    passes: tuple = ()

    @functools.cached_property
    def dataset(self) -> tf.data.Dataset:
        """The batches in their own order, as a data set."""
        return _generated(lambda: (batch.element for batch in self.read()), self.spec, self.steps)

    @property
    def training(self) -> tf.data.Dataset:
        """The batches in the order for training."""
        return self.dataset if self.shuffled is None else self.shuffled

    def check(self, name: str, *, labelled: bool = True, endless: bool = False) -> "Batches":
        """Returns the batches if a verb can use them, else raises an error.

        Args:
            name: How errors call the user's argument.
            labelled: Whether targets are needed.
            endless: Whether a data set without end will do.
        """
        expected = "(images, targets) or (images, targets, weights)"
        if not labelled:
            expected = f"images, {expected}"
        if not (2 if labelled else 1) <= len(self.spec) <= 3:
            given = "images only" if len(self.spec) == 1 else f"{len(self.spec)} parts"
            raise checks.error(f"`{name}` must give {expected}", given=given)
        if self.steps == tf.data.INFINITE_CARDINALITY and not endless:
            fix = f"Use `{name}.take(n)`."
            raise checks.error(f"`{name}` must end", given="an endless dataset", fix=fix)
        return self

    def image_spec(self, wanted: Sequence[int | None], name: str) -> tf.TensorSpec:
        """Returns the spec of the images, for batches of any size: a smaller last one is not traced again.

        Args:
            wanted: Shape of the model's input, for images of unknown shape.
            name: How errors call the user's argument.
        """
        images = self.spec[0]
        if not isinstance(images, tf.TensorSpec):
            raise checks.error(f"`{name}` must give images as one tensor", given=images)
        if images.shape.rank is None:
            return tf.TensorSpec(wanted, images.dtype)
        is_batch = images.shape.rank == len(wanted)
        shape = (None, *images.shape[1:]) if is_batch else images.shape
        return tf.TensorSpec(shape, images.dtype)


def from_dataset(dataset: tf.data.Dataset, *, batch_size: int | None = None) -> Batches:
    """Takes a data set as it is, or in batches of another size.

    Example:
        >>> dataset = tf.data.Dataset.from_tensor_slices(np.zeros((5, 8, 8, 3))).batch(4)
        >>> [len(batch.images) for batch in from_dataset(dataset, batch_size=3).read()]
        [3, 2]
    """
    spec = dataset.element_spec
    spec = spec if isinstance(spec, tuple) else (spec,)
    if batch_size is not None and getattr(getattr(spec[0], "shape", None), "rank", None) == 4:
        dataset = dataset.rebatch(batch_size)

    def read() -> Iterator[Batch]:
        for element in dataset:
            yield Batch(*(element if isinstance(element, tuple) else (element,)))

    steps = int(dataset.cardinality())
    known = steps != tf.data.UNKNOWN_CARDINALITY
    counter = getattr(dataset, "epochs", None)
    passes = () if counter is None else (counter,)
    batches = Batches(read, spec, steps if known else None, passes=passes)
    batches.dataset = dataset
    return batches


def from_arrays(arrays: tuple, *, batch_size: int = SIZE) -> Batches:
    """Cuts arrays into batches when they are read; nothing is copied.

    Args:
        arrays: `(images[, targets[, weights]])`, each an array or a dict of arrays, all of one length.
        batch_size: Examples in a batch; the last one may be smaller.

    Example:
        >>> [len(batch.images) for batch in from_arrays((np.zeros((5, 8, 8, 3)),), batch_size=2).read()]
        [2, 2, 1]
    """
    rows = len(tf.nest.flatten(arrays)[0])

    def read() -> Iterator[Batch]:
        for start in range(0, rows, batch_size):
            part = slice(start, start + batch_size)
            yield Batch(*_map(lambda values: values[part], arrays))  # noqa: B023

    spec = _map(_spec_of, arrays)
    targets, weights = (*arrays[1:], None, None)[:2]
    steps = -(-rows // batch_size)
    return Batches(read, spec, steps, rows, targets=targets, weights=weights)


def from_iterable(batches: Any, *, shuffle: bool = False, name: str = "data") -> Batches:
    """Takes batches from a `keras.utils.PyDataset`, or from any object that can be iterated again and again.

    Args:
        batches: Gives `images` or `(images[, targets[, weights]])`, by index or by iteration. An endless iterator
            must have a length, the batches of one pass.
        shuffle: Whether batches that have an index also come in a new order in every pass, as in `fit`.
        name: How errors call the user's argument.

    Example:
        >>> whole = from_iterable([(np.zeros((2, 8, 8, 3)), np.array([0, 1]))])
        >>> [batch.targets.tolist() for batch in whole.read()]
        [[0, 1]]
    """
    if hasattr(batches, "__len__") and hasattr(batches, "__getitem__"):
        return _from_indexed(batches, shuffle=shuffle, name=name)
    steps = len(batches) if hasattr(batches, "__len__") else None
    iterator = iter(batches)
    if iterator is batches and steps is None:
        fix = "Give a keras.utils.PyDataset, or `tf.data.Dataset.from_generator(...)`."
        raise checks.error(
            f"`{name}` must be readable more than once",
            given="a generator without a length",
            fix=fix,
        )
    first = next(itertools.islice(iterator, steps), None)
    if first is None:
        raise _empty(name)
    # An iterator does not give its first batch again.
    ahead = [first] if iterator is batches else []

    def read() -> Iterator[Batch]:
        start = [ahead.pop()] if ahead else []
        count = 0
        for item in itertools.islice(itertools.chain(start, batches), steps):
            count += 1
            yield Batch(*_element(item))
        if steps is not None and count < steps:
            given = f"{count} in this one"
            raise checks.error(f"`{name}` must give {steps} batches in every pass", given=given)

    return Batches(read, _spec_of_element(first), steps)


def _from_indexed(batches: Any, *, shuffle: bool, name: str) -> Batches:
    steps = len(batches)
    first = batches[0] if steps else None
    if first is None:
        raise _empty(name)

    def elements(order: Iterable[int]) -> Iterator[tuple]:
        for place in order:
            yield _element(batches[int(place)])
        if hasattr(batches, "on_epoch_end"):
            batches.on_epoch_end()

    def read() -> Iterator[Batch]:
        for element in elements(range(steps)):
            yield Batch(*element)

    whole = Batches(read, _spec_of_element(first), steps)
    if shuffle:
        epochs = pipeline.Epochs(steps, seed=0)
        whole.passes = (epochs,)
        whole.shuffled = _generated(lambda: elements(epochs.advance()), whole.spec, steps)
    return whole


def _empty(name: str) -> checks.InputError:
    return checks.error(f"`{name}` must have at least one example", given="no batches")


def _spec_of_element(item: Any) -> tuple:
    return tuple(_map(_spec_of, _element(item)))


def _generated(elements: Callable, spec: tuple, steps: int | None) -> tf.data.Dataset:
    dataset = tf.data.Dataset.from_generator(elements, output_signature=spec)
    if steps is not None:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    return dataset.prefetch(tf.data.AUTOTUNE)


def _element(item: Any) -> tuple:
    """Returns one batch as a tuple of arrays, without targets or weights that are None."""
    parts = list(item) if isinstance(item, list | tuple) else [item]
    while len(parts) > 1 and parts[-1] is None:
        parts.pop()
    return tuple(_map(np.asarray, part) for part in parts)


def _map(function: Callable, value: Any) -> Any:
    """Calls a function for each array in tuples and dicts."""
    if isinstance(value, Mapping):
        return {key: _map(function, part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(_map(function, part) for part in value)
    return function(value)


def _spec_of(values: np.ndarray) -> tf.TensorSpec:
    """Returns the spec of batches of any size."""
    return tf.TensorSpec((None, *values.shape[1:]), values.dtype)
