"""Cached rows in the memory of an accelerator: `fit` then gets their numbers, and the device reads them itself."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_transfer import features
from keras_transfer.graphs import nodes
from keras_transfer.machine import engine, memory

__all__ = ["ReadRows", "feed", "find_room", "number", "release"]

SHARE = 0.25  # of the accelerator's free memory: the rest is for the step itself

Rows: TypeAlias = features.FileRows | tf.Tensor


class ReadRows(keras.layers.Layer):
    """Returns the cached rows of some numbers.

    Args:
        rows: All of them.
        **options: Of a layer; `dtype` is that of the result.

    Example:
        >>> ReadRows(np.array([[1.0], [2.0]]))(np.array([1, 0]))[0].numpy()
        array([2.], dtype=float32)
    """

    def __init__(self, rows: np.ndarray, **options: Any) -> None:
        super().__init__(trainable=False, **options)
        self.rows = keras.Variable(rows, dtype=str(rows.dtype), trainable=False, name="rows")

    def call(self, numbers: Any) -> Any:
        """Returns a row for each number."""
        return ops.cast(ops.take(self.rows, numbers, axis=0), self.compute_dtype)


def find_room(arrays: Sequence[Rows]) -> tuple[int, int] | None:
    """Returns the size of arrays and the free memory of the accelerator, in bytes; None where they should not go there.

    Rows of files are read as a whole, so they must also fit into the memory of the host.

    Example:
        >>> find_room([tf.zeros((2, 3))]) is None  # on a CPU
        True
    """
    free = engine.free_device_memory()
    if free is None:
        return None
    size, in_files = 0, 0
    for array in arrays:
        if isinstance(array, features.FileRows):
            in_files += array.count * array.size
        else:
            size += int(np.prod(array.shape)) * array.dtype.size
    size += in_files
    has_room = size <= SHARE * free and in_files <= SHARE * memory.free_memory()
    return (size, free) if has_room else None


def feed(model: keras.Model, tensors: Sequence[keras.KerasTensor], arrays: Sequence[Rows]) -> Any:
    """Returns the part of `model` above some tensors that takes numbers of rows instead of the tensors.

    It shares its layers with `model`. The rows lie on the device until `release` is called.

    Args:
        model: A functional model.
        tensors: Of its graph.
        arrays: For each of them, its rows.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="a"), keras.layers.Dense(1)])
        >>> part = feed(model, [model.get_layer("a").output], [tf.zeros((5, 2))])
        >>> part.predict(np.array([4, 0, 4]), verbose=0).shape
        (3, 1)
    """
    upper = nodes.above(model, tensors)
    numbers = keras.Input((), dtype="int32", name="row_numbers")
    rows = [
        ReadRows(np.asarray(array), dtype=tensor.dtype)(numbers)
        for tensor, array in zip(tensors, arrays, strict=True)
    ]
    ends = nodes.replay(upper, rows, upper.outputs)
    return nodes.part(model, numbers, keras.tree.pack_sequence_as(upper.output, ends))


def number(places: tf.Tensor) -> tf.Tensor:
    """Returns places, the indices of rows, as the model takes them."""
    return tf.cast(places, "int32")


def release(model: keras.Model) -> None:
    """Lets go of the rows that `feed` has put on the device: layers that parts share would keep them."""
    for layer in model.layers:
        if isinstance(layer, ReadRows):
            del layer.rows
