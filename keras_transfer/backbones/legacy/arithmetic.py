"""Turns arithmetic between the layers of an old network, such as `x / 127.5 - 1`, into layers of Keras 3."""

from collections.abc import Sequence

import keras
import numpy as np

from keras_transfer.core import checks

__all__ = ["KINDS", "OPERATIONS", "is_operation", "layer_for", "name_of"]

# The classes in which tf.keras stores operations.
KINDS = {
    "TFOpLambda",
    "SlicingOpLambda",
    "ClassMethod",
    "InstanceMethod",
    "InstanceProperty",
    "TensorFlowOpLayer",
}

# As tf.keras (TFOpLambda) and as Keras 3 write them.
OPERATIONS = {
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
_MERGING = {
    "add": keras.layers.Add,
    "subtract": keras.layers.Subtract,
    "multiply": keras.layers.Multiply,
}
_LIMITS = {"relu": None, "relu6": 6.0}


def name_of(entry: dict) -> str:
    """Returns the operation that an entry of the file stands for, "" for layers and unknown operations."""
    kind, config = str(entry.get("class_name")), entry["config"]
    if kind == "TFOpLambda":
        return OPERATIONS.get(str(config.get("function")), "")
    return _OF_KERAS_3.get(kind, "") if set(config) == {"name"} else ""


def is_operation(entry: dict, values: Sequence[object]) -> bool:
    """Returns whether a call is arithmetic: the layer `Add` takes one list, the operation two values."""
    is_operation_of_keras_2 = entry.get("class_name") == "TFOpLambda"
    return name_of(entry) != "" and (is_operation_of_keras_2 or len(values) > 1)


def layer_for(
    entry: dict, values: Sequence[object], *, name: str | None
) -> tuple[keras.layers.Layer, object]:
    """Returns a layer that does the operation of an entry, and its inputs.

    Args:
        entry: An entry of the file for which `is_operation` holds.
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
    constants = len(values) - len(tensors)
    if operation in _MERGING and (len(tensors), constants) == (2, 0):
        return _MERGING[operation](name=name), tensors
    if operation in _LIMITS and (len(tensors), constants) == (1, 0):
        return keras.layers.ReLU(_LIMITS[operation], name=name), tensors[0]

    is_tensor_first = bool(tensors) and tensors[0] is values[0]
    is_affine = operation not in _LIMITS and (operation != "divide" or is_tensor_first)
    if not is_affine or (len(tensors), constants) != (1, 1):
        raise checks.error(
            "arithmetic between layers must be what a layer of Keras does",
            given=f"{entry.get('class_name')} {name!r} of {len(tensors)} tensors and {constants} constants",
        )
    constant = np.asarray(values[1 if is_tensor_first else 0], "float64")
    scale, offset = {
        "add": (1.0, constant),
        "subtract": (1.0, -constant) if is_tensor_first else (-1.0, constant),
        "multiply": (constant, 0.0),
        "divide": (1.0 / constant, 0.0),
    }[operation]
    rescaling = keras.layers.Rescaling(
        np.asarray(scale).tolist(), np.asarray(offset).tolist(), name=name
    )
    return rescaling, tensors[0]
