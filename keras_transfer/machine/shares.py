"""Batches dealt to replicas: each gets as many rows, and rows that fill up the last batch do not count.

TensorFlow's own strategies give a replica too few rows, or none, of a last batch that is smaller: means over replicas
then weigh its examples wrongly, and a replica without rows fails.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any, NamedTuple  # elements of data sets

import keras
import tensorflow as tf

from keras_transfer.machine import streams

__all__ = [
    "Mirrored",
    "SeveralMachines",
    "Share",
    "can_be_dealt",
    "fill_up",
    "marked",
    "unpack",
]

_is_marked: contextvars.ContextVar[bool] = contextvars.ContextVar("marked", default=False)


class Share(NamedTuple):
    """The rows of a batch that one replica gets.

    Attributes:
        data: (images[, targets[, weights]]); a row that fills up the batch is a copy of another one, of weight 0.
        real: Whether a row is one of the batch.
    """

    data: tuple
    real: Any


@contextlib.contextmanager
def marked() -> Iterator[None]:
    """Data sets that a strategy deals within the block give a `Share` instead of what Keras's own models take.

    Example:
        >>> with marked():
        ...     _is_marked.get()
        True
    """
    token = _is_marked.set(True)
    try:
        yield
    finally:
        _is_marked.reset(token)


def unpack(data: Any) -> tuple[Any, Any, Any, Any]:
    """Returns images, targets, weights, and 1.0 for each row that is one of the batch, of what a step is given.

    Example:
        >>> images, targets, weights, real = unpack((tf.zeros((2, 3)), tf.zeros(2)))
        >>> weights is None, real.numpy().tolist()
        (True, [1.0, 1.0])
    """
    if isinstance(data, Share):
        images, targets, weights = keras.utils.unpack_x_y_sample_weight(data.data)
        return images, targets, weights, tf.cast(data.real, "float32")
    images, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
    return images, targets, weights, tf.ones(tf.shape(keras.tree.flatten(images)[0])[:1])


class Mirrored(tf.distribute.MirroredStrategy):
    """Several devices of one machine."""

    def experimental_distribute_dataset(self, dataset: Any, options: Any = None) -> Any:
        """Deals the batches of a data set to the replicas."""
        if not can_be_dealt(dataset):
            return super().experimental_distribute_dataset(dataset, options)
        count = self.num_replicas_in_sync
        dealt = deal(dataset, chunks=list(range(count)), replicas=count)
        return self.distribute_datasets_from_function(lambda context: dealt, options)


class SeveralMachines(tf.distribute.MultiWorkerMirroredStrategy):
    """The devices of several machines; every one reads all data and takes its rows of each batch."""

    def experimental_distribute_dataset(self, dataset: Any, options: Any = None) -> Any:
        """Deals the batches of a data set to the replicas of this worker."""
        count = self.num_replicas_in_sync
        workers = max(1, self.extended._num_workers)
        # Keras puts the answers of `predict` together in this order.
        chunks = list(range(self.extended._id_in_cluster, count, workers))
        dealt = deal(dataset, chunks=chunks, replicas=count)
        return self.distribute_datasets_from_function(lambda context: dealt, options)


def deal(dataset: tf.data.Dataset, *, chunks: list[int], replicas: int) -> tf.data.Dataset:
    """Returns batches for one replica each: a batch of `dataset` becomes as many as `chunks` has.

    Args:
        dataset: Batches.
        chunks: Which parts of each batch, in this order.
        replicas: Into how many equal parts a batch is divided.

    Example:
        >>> batches = tf.data.Dataset.from_tensors((tf.range(5), tf.range(5)))
        >>> for images, targets, weights in deal(batches, chunks=[0, 1], replicas=2):
        ...     print(images.numpy(), weights.numpy())
        [0 1 2] [1. 1. 1.]
        [3 4 0] [1. 1. 0.]
    """
    is_marked = _is_marked.get()

    def divide(*parts: Any) -> Any:
        count = tf.shape(tf.nest.flatten(parts)[0])[0]
        size = -(-count // replicas)
        places = tf.reshape(tf.range(replicas * size), (replicas, -1))
        places = tf.gather(places, chunks)  # (chunks, size)

        def take(values: tf.Tensor) -> tf.Tensor:
            return tf.gather(values, places % count)

        real = places < count
        taken = tf.nest.map_structure(take, parts)
        if is_marked:
            return Share(_weighted(taken, real) if len(taken) > 2 else taken, real)
        return _weighted(taken, real) if len(taken) > 1 else taken[0]

    return dataset.map(streams.plain(divide)).unbatch().prefetch(len(chunks))


def fill_up(
    dataset: tf.data.Dataset, *, devices: int, process: int = 0, processes: int = 1
) -> tf.data.Dataset:
    """Returns batches that devices divide, of the rows that one process has; copies of rows fill a batch up.

    Args:
        dataset: Batches.
        devices: Of all processes; each has as many rows.
        process: Which process, from 0.
        processes: How many.

    Example:
        >>> batches = tf.data.Dataset.from_tensors((tf.range(5), tf.range(5)))
        >>> for images, targets, weights in fill_up(batches, devices=4, process=1, processes=2):
        ...     print(images.numpy(), weights.numpy())
        [4 0 1 2] [1. 0. 0. 0.]
    """
    is_marked = _is_marked.get()

    def take_rows(*parts: Any) -> Any:
        count = tf.shape(tf.nest.flatten(parts)[0])[0]
        rows = -(-count // devices) * (devices // processes)
        places = tf.range(process * rows, (process + 1) * rows)
        real = places < count
        taken = tf.nest.map_structure(lambda values: tf.gather(values, places % count), parts)
        if is_marked:
            return Share(_weighted(taken, real) if len(taken) > 2 else taken, real)
        return _weighted(taken, real) if len(taken) > 1 else taken[0]

    return dataset.map(streams.plain(take_rows)).prefetch(1)


def _weighted(parts: tuple, real: tf.Tensor) -> tuple:
    """Returns the parts of a batch with weights that are 0 where a row does not count."""
    images, targets, *weights = parts
    if not weights:
        return images, targets, tf.cast(real, "float32")

    def count(values: tf.Tensor) -> tf.Tensor:
        flags = tf.reshape(real, (*tf.unstack(tf.shape(real)), *[1] * (values.shape.rank - 2)))
        return values * tf.cast(flags, values.dtype)

    return images, targets, tf.nest.map_structure(count, weights[0])


def can_be_dealt(dataset: Any) -> bool:
    """Whether the rows of a data set can be taken apart; TensorFlow deals those without targets, and adds none."""
    if not isinstance(dataset, tf.data.Dataset):
        return False
    spec = dataset.element_spec
    is_regular = all(isinstance(part, tf.TensorSpec) for part in tf.nest.flatten(spec))
    has_targets = isinstance(spec, tuple) and len(spec) > 1
    return is_regular and (has_targets or _is_marked.get())
