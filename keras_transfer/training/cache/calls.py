"""Calling the operations of a model one by one, as training and inference would call them."""

from collections.abc import Callable, Mapping
from typing import Any  # tensors of the engine

import keras

from keras_transfer.core import checks
from keras_transfer.graphs import nodes

__all__ = [
    "Within",
    "call",
    "count_losses",
    "describe_draws",
    "describe_state",
    "is_foreign",
    "start",
]

PACKAGES = (
    "keras.",
    "keras_transfer.",
)  # whose layers differ in training by what they draw or assign
RATES = ("rate", "dropout", "recurrent_dropout", "stddev", "drop_path_rate")


class Within(keras.layers.Layer):
    """Runs a function as the call of a layer, so that layers called within know whether they train."""

    def __init__(self, function: Callable[[Any], None], model: keras.Model) -> None:
        super().__init__(name=model.name, autocast=False)
        self.function = function

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Runs the function, and returns the images."""
        self.function(images)
        return images


def start(model: keras.Model, images: Any) -> dict[int, Any]:
    """Returns the value of the model's input, converted as Keras converts it, by the id of its tensor."""
    if len(model.inputs) != 1:
        given = f"{len(model.inputs)} inputs"
        raise checks.error("`model` must have one input, the images", given=given)
    (tensor,) = model.inputs
    return {id(tensor): keras.ops.convert_to_tensor(images, dtype=tensor.dtype)}


def call(node: nodes.Node, values: Mapping[int, Any], *, training: bool) -> dict[int, Any]:
    """Calls an operation as Keras's functional models do: their `training` goes before its own."""
    operation = node.operation
    arguments, keywords = node.call.arguments.fill_in(values)
    if "training" in getattr(operation, "_call_context_args", ()):
        keywords = {**keywords, "training": training}
    outputs = keras.tree.flatten(operation(*arguments, **keywords))
    return dict(zip(map(id, node.outputs), outputs, strict=True))


def count_losses(operation: keras.Operation) -> int:
    """Returns how many losses an operation has added."""
    return len(getattr(operation, "losses", ()))


def is_foreign(operation: keras.Operation) -> bool:
    """Whether an operation runs code that is neither Keras's nor this package's."""
    inside = [operation]
    if isinstance(operation, keras.layers.Layer):
        inside = operation._flatten_layers()
    return any(
        isinstance(each, keras.layers.Lambda) or not type(each).__module__.startswith(PACKAGES)
        for each in inside
    )


def describe_draws(layer: keras.Operation) -> str:
    """Returns the reason why the outputs of a layer that draws at random cannot be cached."""
    rate = next((name for name in RATES if getattr(layer, name, 0)), None)
    hint = f"; with its `{rate}` set to 0 its output could be cached" if rate else ""
    return f"{layer.name!r} draws at random in training{hint}"


def describe_state(layer: keras.Operation, what: str) -> str:
    """Returns the reason why the outputs of a layer with a state cannot be cached.

    Args:
        layer: The layer.
        what: Shows the state.
    """
    return f"{layer.name!r} has a state that may change in every step ({what})"
