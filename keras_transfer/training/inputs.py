"""What `fine_tune` takes as data, checked against the model before training starts."""

from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_transfer import layers
from keras_transfer.core import checks

__all__ = ["Inputs", "check", "inputs"]


class Inputs(NamedTuple):
    """Data in the parts that training needs."""

    train: tf.data.Dataset
    validation: tf.data.Dataset | None
    targets: object
    """Targets of all training examples, an array or a dict of arrays, or None where unknown."""
    examples: int | None
    digest: str | None
    notes: list[str]


def inputs(data: object) -> Inputs:
    """Takes apart what came from `kt.data`, a dataset, or a pair (train, validation) of datasets."""
    if isinstance(data, tf.data.Dataset):
        data = (data, None)
    if isinstance(data, tuple) and len(data) == 2 and isinstance(data[0], tf.data.Dataset):
        return Inputs(*data, None, None, None, [])
    if not isinstance(getattr(data, "train", None), tf.data.Dataset):
        raise checks.error(
            "`data` must come from kt.data, be a tf.data.Dataset, or a pair (train, validation) of them",
            given=type(data).__name__,
        )
    targets = data.targets["train"]
    one = next(iter(targets.values())) if isinstance(targets, Mapping) else targets
    return Inputs(data.train, data.validation, targets, len(one), data.digest, list(getattr(data, "notes", [])))


def check(model: keras.Model, given: Inputs) -> None:
    """Raises an error if images or targets do not fit the model."""
    for name, dataset in (("train", given.train), ("validation", given.validation)):
        if dataset is not None:
            _check_spec(model, dataset, name)
    found = layers.outputs(model)
    if not found or given.targets is None:
        return
    if isinstance(model.output, Mapping):
        _check_names(found, given.targets)
        for name, layer in found.items():
            layer.task.encode(given.targets[name])
    elif isinstance(given.targets, Mapping):
        raise checks.error(
            "`data` must have one target for a model with one task", given=f"targets {', '.join(given.targets)}"
        )
    else:
        next(iter(found.values())).task.encode(given.targets)


def _check_names(found: Mapping, targets: object) -> None:
    names = list(targets) if isinstance(targets, Mapping) else ["one unnamed target"]
    if not isinstance(targets, Mapping) or not set(found) <= set(targets):
        raise checks.error(
            f"`data` must have a target for each task: {', '.join(found)}", given=", ".join(map(str, names))
        )


def _check_spec(model: keras.Model, dataset: tf.data.Dataset, name: str) -> None:
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3):
        raise checks.error(
            f"`data` must give (images, targets) or (images, targets, weights) for {name}", given=type(spec).__name__
        )
    if not isinstance(spec[0], tf.TensorSpec) or len(model.inputs) != 1:
        return
    wanted, shape = model.inputs[0].shape, spec[0].shape
    if shape.rank is not None and not shape.is_compatible_with(wanted):
        raise checks.error(
            f"images of {name} must have shape {tuple(wanted)}",
            given=tuple(shape),
            fix="Batch them, and use the backbone's image_size for the data.",
        )


def all_targets(given: Inputs) -> object:
    """Returns the targets of all training examples, read from the dataset where they are not known."""
    if given.targets is not None:
        return given.targets
    batches = [element[1] for element in given.train.as_numpy_iterator()]
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *batches)
