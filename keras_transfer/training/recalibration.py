"""Estimating batch-norm statistics again, with the weights as they are."""

import itertools
from collections.abc import Collection, Iterable

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.data import adapt
from keras_transfer.graphs import paths

__all__ = ["recalibrate"]


def recalibrate(
    model: keras.Model,
    dataset: object,
    *,
    steps: int | None = None,
    norms: Collection[str] | None = None,
) -> list[str]:
    """Sets moving means and variances of the layers that normalise by the batch to those of `dataset`.

    One pass in training mode, without dropout and without changing any weight. The variance is that of all
    examples, by the law of total variance, not the mean over batches. (Precise batch-norm, Wu and Johnson 2021,
    arXiv:2105.07576.)

    Args:
        model: A functional model.
        dataset: From `kt.data`, of which the training part is used without counting a pass; or what Keras's `fit`
            takes, with or without targets.
        steps: How many batches; None for all.
        norms: Paths of the batch normalisations to estimate; by default those above the lowest layer that trains,
            all of them where nothing trains.

    Returns:
        Paths of the layers whose statistics were set.
    """
    batches = adapt.split(dataset, name="dataset").first("train")
    if batches is None:
        raise checks.error("`dataset` must be data with a training part", given=repr(dataset))
    batches.check("dataset", labelled=False, endless=steps is not None)
    found = _norms(model, norms)
    kept = [(layer.momentum, layer.trainable) for layer in found.values()]
    dropouts = [
        layer
        for layer in paths.leaves(model).values()
        if hasattr(layer, "seed_generator") and getattr(layer, "rate", 0)
    ]
    rates = [layer.rate for layer in dropouts]
    others = [
        layer
        for layer in paths.leaves(model).values()
        if _is_norm(layer) and layer not in found.values()
    ]
    flags = [layer.trainable for layer in others]
    for layer in found.values():
        layer.momentum, layer.trainable = (
            0.0,
            True,
        )  # after a batch, the moving statistics are the batch's
    for layer in dropouts:
        layer.rate = 0.0
    for layer in others:
        layer.trainable = False
    try:
        _estimate(model, list(found.values()), itertools.islice(batches.dataset, steps))
    finally:
        for layer, (momentum, trainable) in zip(found.values(), kept, strict=True):
            layer.momentum, layer.trainable = momentum, trainable
        for layer, rate in zip(dropouts, rates, strict=True):
            layer.rate = rate
        for layer, trainable in zip(others, flags, strict=True):
            layer.trainable = trainable
    return list(found)


def _is_norm(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization)


def _norms(
    model: keras.Model, wanted: Collection[str] | None
) -> dict[str, keras.layers.BatchNormalization]:
    """The batch normalisations to estimate."""
    leaves = paths.leaves(model)
    if wanted is not None:
        return {path: leaves[path] for path in leaves if path in wanted}
    order = list(leaves)
    lowest = next((at for at, path in enumerate(order) if leaves[path].trainable_weights), 0)
    return {path: leaves[path] for path in order[lowest:] if _is_norm(leaves[path])}


def _estimate(model: keras.Model, norms: list, dataset: Iterable[tuple]) -> None:
    @tf.function(reduce_retracing=True)
    def forward(images: tf.Tensor) -> None:
        model(images, training=True)

    count, means, squares = 0, [0.0] * len(norms), [0.0] * len(norms)
    for element in dataset:
        images = element[0] if isinstance(element, tuple) else element
        forward(images)
        size = int(images.shape[0])
        for place, layer in enumerate(norms):
            mean = np.asarray(layer.moving_mean, np.float64)
            means[place] = means[place] + size * mean
            squares[place] = squares[place] + size * (
                np.asarray(layer.moving_variance, np.float64) + mean**2
            )
        count += size
    for layer, total, square in zip(norms, means, squares, strict=True):
        mean = total / count
        layer.moving_mean.assign(mean.astype("float32"))
        layer.moving_variance.assign((square / count - mean**2).clip(0).astype("float32"))
