"""The one order of steps from examples to batches: order, pixels, batch, float, prefetch."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_transfer.data import stores
from keras_transfer.data.targets import columns, encoding
from keras_transfer.machine import streams

__all__ = [
    "READERS",
    "Epochs",
    "Examples",
    "Share",
    "batches",
    "on_cpu",
    "on_one_tensor",
    "places",
    "together",
]

AHEAD = 4  # batches that are ready before they are asked for
READERS = 2  # batches on which `places` calls `then` at a time
Columns = Any  # an array, or a dict of arrays by task


@dataclasses.dataclass(frozen=True)
class Examples:
    """The examples of one split.

    Attributes:
        pixels: Images `(m, height, width, channels)`, or a store that reads them, such as `stores.Files`; a tensor of
            paths `(m,)` becomes one. Other splits may share them.
        rows: Those rows of `pixels` that belong to the split, in its order.
        targets: Targets in the same order, or a dict of them: arrays, or `columns.FileColumn` for those that are files.
        channels: Of the images, also of those that files are decoded to.
        weights: 0 for each target that is missing, else 1, in the form of the targets; None where no label is missing.
    """

    pixels: Any
    rows: np.ndarray
    targets: Columns
    channels: int = 3
    weights: Columns = None

    def __post_init__(self) -> None:
        if getattr(self.pixels, "dtype", None) == tf.string:
            object.__setattr__(self, "pixels", stores.Files.of_tensor(self.pixels))

    @classmethod
    def of(cls, pixels: np.ndarray, targets: Columns, weights: Columns = None) -> "Examples":
        """Makes examples of decoded images, all of them, in their order."""
        return cls(on_cpu(pixels), np.arange(len(pixels)), targets, pixels.shape[-1], weights)

    @property
    def answers(self) -> tuple:
        """What goes with the images: the targets, and their weights where labels are missing."""
        return (self.targets,) if self.weights is None else (self.targets, self.weights)

    @property
    def is_decoded(self) -> bool:
        """Whether the pixels are in memory."""
        return tf.is_tensor(self.pixels)

    def __len__(self) -> int:
        return len(self.rows)

    def pick(self, chosen: np.ndarray) -> "Examples":
        """Returns the examples at the indices `chosen`, in that order."""
        targets, *weights = tf.nest.map_structure(lambda values: values[chosen], self.answers)
        return Examples(self.pixels, self.rows[chosen], targets, self.channels, *weights)


def on_one_tensor(parts: Sequence[Examples]) -> list[Examples]:
    """Returns the same parts with the pixels of all of them in one tensor or store, which they share."""
    sources = list({id(part.pixels): part.pixels for part in parts}.values())
    if len(sources) == 1:
        return list(parts)
    starts = np.cumsum([0, *map(len, sources)])
    places = {id(source): start for source, start in zip(sources, starts, strict=False)}
    pixels = _concatenated(sources) if parts[0].is_decoded else stores.joined(sources)
    return [
        dataclasses.replace(part, pixels=pixels, rows=part.rows + places[id(part.pixels)])
        for part in parts
    ]


def _concatenated(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    is_one_type = len({tensor.dtype for tensor in tensors}) == 1
    with tf.device("CPU:0"):
        if not is_one_type:
            tensors = [tf.cast(each, tf.float32) for each in tensors]
        return tf.concat(tensors, axis=0)


def together(parts: Sequence[Examples]) -> Examples:
    """All of the examples, one part after the other."""
    parts = on_one_tensor(parts)
    rows = np.concatenate([part.rows for part in parts])
    targets = encoding.join([part.targets for part in parts])
    weights = []
    if parts[0].weights is not None:
        own = (part.weights for part in parts)
        weights = [tf.nest.map_structure(lambda *values: np.concatenate(values), *own)]
    return Examples(parts[0].pixels, rows, targets, parts[0].channels, *weights)


class Epochs:
    """Counts the passes over the training data and gives each its own order.

    The order depends on the seed and the number of the pass only, never on TensorFlow's random state.

    Attributes:
        length: How many examples a pass has; those of a subclass may be more or fewer than there are.
        rule: What the orders depend on besides size and seed, such as the sampling of a mixture, as plain values.
        next: The number of the next pass.

    Example:
        >>> Epochs(4, seed=0).order(0).tolist() == Epochs(4, seed=0).order(0).tolist()
        True
    """

    def __init__(self, size: int, *, seed: int) -> None:
        self.size = self.length = size
        self.seed = seed
        self.rule: tuple = ()
        self.next = 0

    def order(self, epoch: int) -> np.ndarray:
        """The permutation of pass number `epoch`."""
        return np.random.default_rng((self.seed, epoch)).permutation(self.size).astype(np.int64)

    def advance(self) -> np.ndarray:
        """The permutation of the next pass."""
        self.next += 1
        return self.order(self.next - 1)


class Share(Epochs):
    """The part of each pass that one of several processes reads: together they read what one process would.

    Of as many batches as there are processes, each takes one in turn, so the batches of all processes at one step are
    the one large batch that a single process would have. The rest of a pass is cut into equal parts.

    Args:
        whole: The orders of all.
        index: Number of the process, from 0.
        count: How many processes there are.
        batch_size: Of the batches of each.

    Example:
        >>> whole = Epochs(7, seed=0)
        >>> parts = [Share(whole, index, 2, batch_size=2).order(0) for index in (0, 1)]
        >>> sorted(np.concatenate(parts).tolist())
        [0, 1, 2, 3, 4, 5, 6]
    """

    def __init__(self, whole: Epochs, index: int, count: int, *, batch_size: int) -> None:
        self.whole, self.index, self.count, self.batch_size = whole, index, count, batch_size
        super().__init__(whole.size, seed=whole.seed)
        self.length = len(self._take(np.arange(whole.length)))
        self.rule = (*whole.rule, f"process {index} of {count}")

    def order(self, epoch: int) -> np.ndarray:
        """The process's part of pass number `epoch`."""
        self.whole.seed = self.seed
        return self._take(self.whole.order(epoch))

    def _take(self, order: np.ndarray) -> np.ndarray:
        full = len(order) - len(order) % (self.count * self.batch_size)
        in_turn = order[:full].reshape(-1, self.count, self.batch_size)[:, self.index]
        rest = np.array_split(order[full:], self.count)[self.index]
        return np.concatenate([in_turn.reshape(-1), rest])


def on_cpu(array: np.ndarray) -> tf.Tensor:
    """`array` as a tensor in main memory; data sets refer to it, no graph holds a copy."""
    with tf.device("CPU:0"):
        return tf.constant(array)


def batches(
    examples: Examples, *, size: tuple[int, int], batch_size: int, epochs: Epochs | None = None
) -> tf.data.Dataset:
    """Makes batches of `(images, targets)`, or `(images, targets, weights)` where labels are missing.

    Args:
        examples: What to go through.
        size: Height and width of the images.
        batch_size: Images in a batch; the last one may be smaller.
        epochs: Gives every pass its order; without it the examples keep theirs.

    Returns:
        Data set of known length: float32 images `(b, *size, channels)` with values 0..255, and their targets.
    """
    dataset = _load(_indices(len(examples), epochs), examples, size, batch_size)
    return streams.untuned(dataset.apply(_of_length(examples, batch_size, epochs)).prefetch(AHEAD))


def places(
    examples: Examples,
    *,
    batch_size: int,
    epochs: Epochs | None = None,
    then: Callable | None = None,
) -> tf.data.Dataset:
    """Makes the batches of `batches` without their pixels: `(indices of the examples, targets[, weights])`.

    Args:
        examples: As for `batches`.
        batch_size: As for `batches`.
        epochs: As for `batches`.
        then: Called on each batch; the data set has what it returns.

    Example:
        >>> examples = Examples.of(np.zeros((3, 8, 8, 3), np.uint8), np.array([5, 6, 7]))
        >>> [answers.numpy().tolist() for _, answers in places(examples, batch_size=2)]
        [[5, 6], [7]]
    """
    answers = _answers(examples)
    indices = _indices(len(examples), epochs).batch(batch_size)

    @streams.plain
    def pick(index: tf.Tensor) -> tuple:
        batch = index, *answers(index)
        return batch if then is None else then(*batch)

    dataset = indices.map(pick, num_parallel_calls=None if then is None else READERS)
    return dataset.apply(_of_length(examples, batch_size, epochs))


def _of_length(examples: Examples, batch_size: int, epochs: Epochs | None) -> Callable:
    """Tells a data set how many batches it has."""
    count = len(examples) if epochs is None else epochs.length
    return tf.data.experimental.assert_cardinality(-(-count // batch_size))


def _indices(count: int, epochs: Epochs | None) -> tf.data.Dataset:
    """The numbers of the examples, in the order of the next pass, or in their own."""
    if epochs is None:
        return tf.data.Dataset.range(count)

    @streams.plain
    def shuffled(_: tf.Tensor) -> tf.data.Dataset:
        order = tf.numpy_function(epochs.advance, [], tf.int64)  # once a pass
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(order, (epochs.length,)))

    return tf.data.Dataset.from_tensors(0).flat_map(shuffled)


def _answers(examples: Examples) -> Callable[[tf.Tensor], tuple]:
    """Returns a function from one index or several to targets and weights; files are read when it runs."""

    def gather(values: np.ndarray | columns.FileColumn) -> Callable[[tf.Tensor], tf.Tensor]:
        if isinstance(values, columns.FileColumn):
            return values.gather()
        tensor = on_cpu(values)
        return lambda index: tf.gather(tensor, index)

    gathers = tf.nest.map_structure(gather, examples.answers)
    return lambda index: tf.nest.map_structure(lambda read: read(index), gathers)


def _load(
    indices: tf.data.Dataset, examples: Examples, size: tuple[int, int], batch_size: int
) -> tf.data.Dataset:
    answers = _answers(examples)
    rows, pixels, channels = on_cpu(examples.rows), examples.pixels, examples.channels
    read: Callable[[tf.Tensor], tf.Tensor]
    if examples.is_decoded:
        read = functools.partial(tf.gather, pixels)
    else:
        read = stores.reading(pixels, size, channels)

    @streams.plain
    def pick(
        index: tf.Tensor,
    ) -> tuple:  # in one step: each takes milliseconds at the start of a pass
        batch = tf.cast(read(tf.gather(rows, index)), tf.float32)
        batch = tf.ensure_shape(batch, (None, *size, channels))
        return batch, *answers(index)

    return indices.batch(batch_size).map(pick, num_parallel_calls=tf.data.AUTOTUNE)
