"""Arithmetic that stood between the layers of an old network, `x / 127.5 - 1`, as layers of Keras 3."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_transfer.core import checks

__all__ = ["KINDS", "is_operation", "known", "layer_for", "name_of"]

# Classes that tf.keras made of operations.
KINDS = {
    "TFOpLambda",
    "SlicingOpLambda",
    "ClassMethod",
    "InstanceMethod",
    "InstanceProperty",
    "TensorFlowOpLayer",
}

# As tf.keras (TFOpLambda) and as Keras 3 write them.
_OPERATIONS = {
    "__operators__.add": "add", "math.add": "add", "math.subtract": "subtract", "math.multiply": "multiply",
    "math.truediv": "divide", "math.divide": "divide", "nn.relu": "relu", "nn.relu6": "relu6",
}  # fmt: skip
_OF_KERAS_3 = {
    "Add": "add",
    "Subtract": "subtract",
    "Multiply": "multiply",
    "Divide": "divide",
    "TrueDivide": "divide",
}


def name_of(entry: dict) -> str | None:
    """Returns the operation that an entry of the file stands for, None for a layer and for what is not known."""
    kind, config = entry.get("class_name"), entry["config"]
    if kind == "TFOpLambda":
        return _OPERATIONS.get(str(config.get("function")))
    return _OF_KERAS_3.get(kind) if set(config) == {"name"} else None


def is_operation(entry: dict, values: Sequence[object]) -> bool:
    """Whether a call is one of arithmetic: the layer `Add` takes one list, the operation two values."""
    return name_of(entry) is not None and (
        entry.get("class_name") == "TFOpLambda" or len(values) > 1
    )


def known() -> str:
    """Returns the operations that are read, for errors."""
    return ", ".join(sorted(_OPERATIONS))


def layer_for(
    entry: dict, values: Sequence[object], *, name: str
) -> tuple[keras.layers.Layer, object]:
    """Returns the layer that does what an operation did, and what to call it on.

    Args:
        entry: Of the file, for which `is_operation` holds.
        values: Its arguments: tensors and constants.
        name: The layer's name.

    Raises:
        InputError: If no layer of Keras does that.

    Example:
        >>> entry = {"class_name": "TFOpLambda", "config": {"function": "math.truediv"}}
        >>> layer, x = layer_for(entry, [keras.Input((4, 4, 3)), 127.5], name="scale")
        >>> float(layer(np.array(255.0)))
        2.0
    """
    operation = name_of(entry)
    tensors = [value for value in values if isinstance(value, keras.KerasTensor)]
    if operation in ("relu", "relu6") and len(values) == len(tensors) == 1:
        return keras.layers.ReLU(6.0 if operation == "relu6" else None, name=name), tensors[0]
    merging = {
        "add": keras.layers.Add,
        "subtract": keras.layers.Subtract,
        "multiply": keras.layers.Multiply,
    }
    if operation in merging and len(values) == len(tensors) == 2:
        return merging[operation](name=name), tensors
    if len(tensors) != 1 or len(values) != 2 or (operation == "divide" and tensors[0] is values[1]):
        constants = len(values) - len(tensors)
        given = f"{entry.get('class_name')} {name!r} of {len(tensors)} tensors and {constants} constants"
        raise checks.error(
            "arithmetic between layers must be what a layer of Keras does", given=given
        )
    constant = np.asarray(values[1] if tensors[0] is values[0] else values[0], "float64")
    scale, offset = {
        "add": (1.0, constant),
        "subtract": (1.0, -constant) if tensors[0] is values[0] else (-1.0, constant),
        "multiply": (constant, 0.0),
        "divide": (1.0 / constant, 0.0),
    }[operation]
    return keras.layers.Rescaling(
        np.asarray(scale).tolist(), np.asarray(offset).tolist(), name=name
    ), tensors[0]
