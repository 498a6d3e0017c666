"""Batch normalisation on several replicas: the statistics of a whole batch, without rows that fill it up."""

import contextlib
import contextvars
import functools
from collections.abc import Iterator
from typing import Any  # tensors

import keras
from keras import ops

from keras_transfer.machine.engine import sum_over_replicas

__all__ = ["counting", "joined"]

_rows: contextvars.ContextVar[Any] = contextvars.ContextVar("rows", default=None)


@contextlib.contextmanager
def counting(rows: Any) -> Iterator[None]:
    """Says which rows of a replica's share count, for the calls of layers in the block.

    Args:
        rows: 1.0 for each row that counts.

    Example:
        >>> with counting([1.0, 0.0]):
        ...     _rows.get()
        [1.0, 0.0]
    """
    token = _rows.set(rows)
    try:
        yield
    finally:
        _rows.reset(token)


@contextlib.contextmanager
def joined(model: keras.Model) -> Iterator[None]:
    """Lets batch normalisations that train use the statistics of all replicas in the block.

    Those with `by_replica` (of a trunk with `batch_norm="train"`) use those of each replica's share, as Keras's do.
    """
    norms = []
    for layer in model._flatten_layers():
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        if is_norm and layer.trainable and not getattr(layer, "by_replica", False):
            norms.append(layer)
    for layer in norms:
        object.__setattr__(layer, "_moments", functools.partial(_moments, layer))
    try:
        yield
    finally:
        for layer in norms:
            vars(layer).pop("_moments", None)


def _moments(layer: keras.layers.BatchNormalization, inputs: Any, mask: Any) -> tuple[Any, Any]:
    """Returns mean and variance of a channel over all replicas."""
    rows = _rows.get()
    if rows is None or mask is not None:
        return type(layer)._moments(layer, inputs, mask)
    axes = layer._reduction_axes
    weights = ops.cast(ops.reshape(rows, (-1, *[1] * (len(inputs.shape) - 1))), inputs.dtype)

    places = ops.cast(
        ops.size(inputs) // ops.shape(inputs)[0] // inputs.shape[layer.axis], inputs.dtype
    )
    count = sum_over_replicas(ops.sum(weights)) * places
    mean = sum_over_replicas(ops.sum(inputs * weights, axis=axes)) / count
    shape = [1] * len(inputs.shape)
    shape[layer.axis] = inputs.shape[layer.axis]
    apart = ops.square(inputs - ops.reshape(mean, shape)) * weights
    return mean, sum_over_replicas(ops.sum(apart, axis=axes)) / count
