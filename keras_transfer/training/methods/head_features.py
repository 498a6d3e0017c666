"""The features that enter linear heads, with targets and weights, from data as training takes it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_transfer import features
from keras_transfer.training import inputs

__all__ = ["Part", "groups_of", "read"]


class Part(NamedTuple):
    """The features of one split by task, with its targets and weights."""

    features: Any = None
    targets: Any = None
    weights: Any = None


def read(
    model: keras.Model,
    data: inputs.Inputs,
    layers: Mapping[str, str],
    *,
    cached: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> tuple[Part, Part]:
    """Returns the training and the validation part; the latter is empty if there is no validation.

    Args:
        model: Runs in inference mode.
        data: Checked data.
        layers: The layer whose output enters the head of each task.
        cached: The features by split and task, if they are known.
    """
    parts = []
    for split, dataset in (("train", data.plain), ("validation", data.validation)):
        if dataset is None:
            part = Part()
        elif cached is not None and data.source is not None:
            weights = data.source.weights
            part = Part(cached[split], data.source.targets[split], weights and weights[split])
        else:
            # Always in one order, so that sums are equal to the bit.
            images = dataset if data.source is None else data.source.ordered(split)
            part = _extract(model, images, layers)
        parts.append(part)
    return parts[0], parts[1]


def groups_of(data: inputs.Inputs) -> np.ndarray | None:
    """Returns the groups of the training examples in the order of `read`; None where they are not known."""
    if data.source is None or data.source.groups is None:
        return None
    return data.source.groups["train"]


def _extract(model: keras.Model, images: tf.data.Dataset, layers: Mapping[str, str]) -> Part:
    images = images.map(lambda pixels, *answers: (pixels, answers))
    extracted = features.extract(model, images, layers=layers.values(), verbose=0)
    values = {name: extracted.arrays[layer] for name, layer in layers.items()}
    return Part(values, *extracted.targets)
