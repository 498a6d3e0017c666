"""The one order of steps from examples to batches: order, pixels, batch, float, prefetch."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_transfer.core import images

__all__ = ["Epochs", "Examples", "batches", "on_cpu", "places", "together"]


@dataclass(frozen=True)
class Examples:
    """The examples of one split.

    Attributes:
        pixels: Images `(m, height, width, channels)`, or the paths of image files `(m,)`; other splits may share them.
        rows: Those rows of `pixels` that belong to the split, in its order.
        targets: Targets in the same order, or a dict of them.
        channels: Of the images, also of those that files are decoded to.
    """

    pixels: tf.Tensor
    rows: np.ndarray
    targets: np.ndarray | dict[str, np.ndarray]
    channels: int = 3

    @classmethod
    def of(cls, pixels: np.ndarray, targets: np.ndarray | dict[str, np.ndarray]) -> "Examples":
        """All of the images, decoded."""
        return cls(on_cpu(pixels), np.arange(len(pixels)), targets, pixels.shape[-1])

    @property
    def is_decoded(self) -> bool:
        """Whether the pixels are in memory."""
        return self.pixels.dtype != tf.string

    def __len__(self) -> int:
        return len(self.rows)

    def pick(self, chosen: np.ndarray) -> "Examples":
        """Those of the examples, in that order."""
        targets = tf.nest.map_structure(lambda values: values[chosen], self.targets)
        return Examples(self.pixels, self.rows[chosen], targets, self.channels)


def together(parts: Sequence[Examples]) -> Examples:
    """All of the examples, one part after the other."""
    first = parts[0]
    if all(part.pixels is first.pixels for part in parts):
        pixels, rows = first.pixels, [part.rows for part in parts]
    else:
        starts = np.cumsum([0, *(int(part.pixels.shape[0]) for part in parts)])
        rows = [part.rows + start for part, start in zip(parts, starts, strict=False)]
        with tf.device("CPU:0"):
            pixels = tf.concat([part.pixels for part in parts], axis=0)
    targets = tf.nest.map_structure(lambda *values: np.concatenate(values), *(part.targets for part in parts))
    return Examples(pixels, np.concatenate(rows), targets, first.channels)


class Epochs:
    """Counts the passes over the training data and gives each its own order.

    The order depends on the seed and the number of the pass only, never on TensorFlow's random state.

    Example:
        >>> Epochs(4, seed=0).order(0).tolist() == Epochs(4, seed=0).order(0).tolist()
        True
    """

    def __init__(self, size: int, *, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.next = 0

    def order(self, epoch: int) -> np.ndarray:
        """The permutation of pass number `epoch`."""
        return np.random.default_rng((self.seed, epoch)).permutation(self.size).astype(np.int64)

    def advance(self) -> np.ndarray:
        """The permutation of the next pass."""
        self.next += 1
        return self.order(self.next - 1)


def on_cpu(array: np.ndarray) -> tf.Tensor:
    """`array` as a tensor in main memory; data sets refer to it, no graph holds a copy."""
    with tf.device("CPU:0"):
        return tf.constant(array)


def batches(
    examples: Examples, *, size: tuple[int, int], batch_size: int, epochs: Epochs | None = None
) -> tf.data.Dataset:
    """Makes batches of `(images, targets)`.

    Args:
        examples: What to go through.
        size: Height and width of the images.
        batch_size: Images in a batch; the last one may be smaller.
        epochs: Gives every pass its order; without it the examples keep theirs.

    Returns:
        Data set of known length: float32 images `(b, *size, channels)` with values 0..255, and their targets.
    """
    return (
        _loaded(_indices(len(examples), epochs), examples, size, batch_size)
        .apply(tf.data.experimental.assert_cardinality(-(-len(examples) // batch_size)))
        .prefetch(tf.data.AUTOTUNE)
    )


def places(examples: Examples, *, batch_size: int, epochs: Epochs | None = None) -> tf.data.Dataset:
    """Makes the batches of `batches` without their pixels: `(indices of the examples, targets)`.

    Example:
        >>> examples = Examples.of(np.zeros((3, 8, 8, 3), np.uint8), np.array([5, 6, 7]))
        >>> [answers.numpy().tolist() for _, answers in places(examples, batch_size=2)]
        [[5, 6], [7]]
    """
    targets = tf.nest.map_structure(on_cpu, examples.targets)
    found = _indices(len(examples), epochs).batch(batch_size)
    found = found.map(lambda index: (index, tf.nest.map_structure(lambda values: tf.gather(values, index), targets)))
    return found.apply(tf.data.experimental.assert_cardinality(-(-len(examples) // batch_size)))


def _indices(count: int, epochs: Epochs | None) -> tf.data.Dataset:
    """The numbers of the examples, in the order of the next pass, or in their own."""
    if epochs is None:
        return tf.data.Dataset.range(count)

    def shuffled(_: tf.Tensor) -> tf.data.Dataset:
        order = tf.numpy_function(epochs.advance, [], tf.int64)  # once a pass
        return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(order, (count,)))

    return tf.data.Dataset.from_tensors(0).flat_map(shuffled)


def _loaded(indices: tf.data.Dataset, examples: Examples, size: tuple[int, int], batch_size: int) -> tf.data.Dataset:
    targets = tf.nest.map_structure(on_cpu, examples.targets)
    rows, pixels, channels = on_cpu(examples.rows), examples.pixels, examples.channels

    def picked(index: tf.Tensor, read: Callable[[tf.Tensor], tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor | Mapping]:
        found = read(tf.gather(pixels, tf.gather(rows, index)))
        return found, tf.nest.map_structure(lambda values: tf.gather(values, index), targets)

    def as_floats(batch: tf.Tensor, answers: tf.Tensor | Mapping) -> tuple[tf.Tensor, tf.Tensor | Mapping]:
        return tf.ensure_shape(tf.cast(batch, tf.float32), (None, *size, channels)), answers

    if examples.is_decoded:
        data = indices.batch(batch_size).map(
            lambda index: picked(index, tf.identity), num_parallel_calls=tf.data.AUTOTUNE
        )
    else:
        read = functools.partial(images.load, size=size, channels=channels)
        data = indices.map(lambda index: picked(index, read), num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size)
    return data.map(as_floats, num_parallel_calls=tf.data.AUTOTUNE)
