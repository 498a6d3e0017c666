"""What a model of the user's own says about its outputs by the loss it was compiled with: whether they are logits."""

from collections.abc import Callable, Mapping
from typing import Any  # outputs of a model, in its own structure

import keras

from keras_transfer.graphs import compiling

__all__ = ["activations", "to_probabilities"]

SOFTMAX = (
    keras.losses.CategoricalCrossentropy,
    keras.losses.CategoricalFocalCrossentropy,
    keras.losses.SparseCategoricalCrossentropy,
)
SIGMOID = (keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy)


def activations(model: keras.Model, count: int = 1) -> list[Callable | None]:
    """Returns for each output of `model` what turns its logits into probabilities, None where they are no logits.

    A model that is not compiled has no logits.

    Args:
        model: Any Keras model.
        count: Of its outputs; the order is that of `keras.tree.flatten`.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> activations(model)[0].__name__
        'softmax'
    """
    if not getattr(model, "compiled", False):
        return [None] * count
    loss = compiling.arguments(model).get("loss")
    if isinstance(loss, Mapping):
        by_layer = {name: loss.get(name) for name in getattr(model, "output_names", ())}
        output = getattr(model, "output", None)
        keys = sorted(output) if isinstance(output, Mapping) else list(by_layer)
        losses = [loss.get(key, by_layer.get(key)) for key in keys]
    elif isinstance(loss, list | tuple):
        losses = list(loss)
    else:
        losses = [loss] * count
    found = [_activation(each) for each in losses]
    return found if len(found) == count else [None] * count


def to_probabilities(model: keras.Model, outputs: Any) -> Any:
    """Returns outputs of `model` with probabilities in the place of logits, as arrays in the same structure."""
    values = []
    flat = keras.tree.flatten(outputs)
    for activation, output in zip(activations(model, len(flat)), flat, strict=True):
        if activation is not None:
            output = activation(keras.ops.cast(output, "float32"))
        values.append(keras.ops.convert_to_numpy(output))
    return keras.tree.pack_sequence_as(outputs, values)


def _activation(loss: Any) -> Callable | None:
    if not isinstance(loss, (*SOFTMAX, *SIGMOID)) or not loss.get_config().get("from_logits"):
        return None
    return keras.ops.softmax if isinstance(loss, SOFTMAX) else keras.ops.sigmoid
