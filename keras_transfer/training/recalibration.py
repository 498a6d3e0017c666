"""Estimating batch-norm statistics again, with the weights as they are."""

import itertools
from collections.abc import Collection, Iterable

import keras
import numpy as np

from keras_transfer.core import checks
from keras_transfer.data import adapt
from keras_transfer.graphs import paths
from keras_transfer.machine import engine, progress

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
    chosen = _norms(model, norms)
    settings: list[tuple[keras.layers.Layer, str, object]] = []  # of layers, during the pass
    for path, layer in paths.leaves(model).items():
        if path in chosen:
            # After a batch, the moving statistics are the batch's.
            settings += [(layer, "momentum", 0.0), (layer, "trainable", True)]
        elif _is_norm(layer):
            settings.append((layer, "trainable", False))
        if hasattr(layer, "seed_generator") and getattr(layer, "rate", None):
            settings.append((layer, "rate", 0.0))
    before = [(layer, name, getattr(layer, name)) for layer, name, _ in settings]

    try:
        for layer, name, value in settings:
            setattr(layer, name, value)
        _estimate(model, list(chosen.values()), itertools.islice(batches.dataset, steps))
    finally:
        for layer, name, value in before:
            setattr(layer, name, value)
    return list(chosen)


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
    forward = engine.make_training_pass(model)
    count = 0
    sums = [np.zeros(layer.moving_mean.shape) for layer in norms]
    squares = [np.zeros(layer.moving_mean.shape) for layer in norms]
    for element in progress.follow(dataset, "Estimating the statistics of batch normalisation"):
        images = element[0] if isinstance(element, tuple) else element
        forward(images)
        size = int(images.shape[0])
        for place, layer in enumerate(norms):
            mean = keras.ops.convert_to_numpy(layer.moving_mean).astype("float64")
            variance = keras.ops.convert_to_numpy(layer.moving_variance).astype("float64")
            sums[place] += size * mean
            squares[place] += size * (variance + mean**2)
        count += size
    if not count:
        raise checks.error("`dataset` must have images", given="an empty dataset")

    for layer, total, square in zip(norms, sums, squares, strict=True):
        mean = total / count
        layer.moving_mean.assign(mean.astype("float32"))
        layer.moving_variance.assign((square / count - mean**2).clip(0).astype("float32"))
