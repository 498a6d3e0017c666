"""Reads the arguments of old layers: initialisers, regularisers, activations, precision.

Names are looked up in Keras and among the objects that the user registered with Keras. Nothing is imported by a name
from a file, and no stored code is run.
"""

import inspect
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_transfer.core import checks

__all__ = ["activation", "constraint", "dtype", "find_function", "find_layer", "hard_sigmoid", "initializer",
           "plain", "regularizer"]  # fmt: skip

_ACTIVATIONS = {
    name
    for name, value in vars(keras.activations).items()
    if inspect.isfunction(value) and name not in ("deserialize", "get", "serialize")
}
_POLICIES = {"float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"}
_INPUTS = {"uint8", "uint16", "int8", "int16", "int32", "int64", "bool"}
_INITIALIZERS = {
    "normal": "random_normal", "uniform": "random_uniform", "one": "ones", "zero": "zeros",
}  # fmt: skip
_KERAS_1 = {"m": "max_value", "min_m": "min_value", "max_m": "max_value"}


@keras.saving.register_keras_serializable("keras_transfer", name="hard_sigmoid_of_keras_2")
def hard_sigmoid(x: keras.KerasTensor) -> keras.KerasTensor:
    """The hard sigmoid of Keras 1 and 2, with slope 0.2; that of Keras 3 has slope 1/6.

    Example:
        >>> round(float(hard_sigmoid(ops.array(1.0))), 3)
        0.7
    """
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def find_layer(name: object) -> type[keras.layers.Layer] | None:
    """Returns the layer class that the user registered with Keras under `name`.

    Example:
        >>> with keras.saving.custom_object_scope({"Mine": keras.layers.Dense}):
        ...     find_layer("Mine").__name__
        'Dense'
    """
    layer = _find_registered(name)
    return layer if inspect.isclass(layer) and issubclass(layer, keras.layers.Layer) else None


def find_function(value: object) -> Callable | None:
    """Returns the function that the user registered with Keras, None for anything else, such as bytecode."""
    if isinstance(value, dict):
        value = value.get("config") if value.get("class_name") == "function" else None
    function = _find_registered(value)
    return function if inspect.isfunction(function) else None


def _find_registered(name: object) -> object | None:
    if not isinstance(name, str):
        return None
    find = keras.saving.get_registered_object
    return find(name) or find(f"Custom>{name}")


def activation(value: object, *, keras_version: int) -> Callable | None:
    """Returns the function that an activation's name meant in that version of Keras."""
    if value is None:
        return None
    own = find_function(value)
    if own is not None:
        return own
    name = value
    if isinstance(value, dict) and value.get("class_name") == "function":
        name = value.get("config")
    if name == "hard_sigmoid" and keras_version < 3:
        return hard_sigmoid
    if isinstance(name, str) and name in _ACTIVATIONS:
        return getattr(keras.activations, name)
    raise checks.error(
        "an activation must be known",
        given=repr(name)[:80],
        fix="If it is yours, open the file within keras.saving.custom_object_scope({'its_name': its_function}).",
    )


def initializer(value: object) -> keras.initializers.Initializer | None:
    """Returns the initialiser, for a network without its weights; None (the layer's own) if unknown."""
    if value is None:
        return None
    name, config = _parse(value)
    name = _INITIALIZERS.get(name, name)
    kind = _find_class(keras.initializers, name, keras.initializers.Initializer)
    if kind is None:
        checks.note(
            f"Keras 3 has no initialiser {name!r}: without its weights, the network would start from other values"
        )
        return None
    return _make(kind, name, config)


def regularizer(value: object) -> keras.regularizers.Regularizer | None:
    """Returns L1, L2, both, or the orthogonal regulariser; an error for others, since training would differ."""
    if value is None:
        return None
    name, config = _parse(value)
    if name in ("WeightRegularizer", "ActivityRegularizer", "L1L2Regularizer"):
        name = "L1L2"
    kind = _find_class(keras.regularizers, name, keras.regularizers.Regularizer)
    return _make(kind, name, config)


def constraint(value: object) -> keras.constraints.Constraint | None:
    """Returns the constraint; an error for unknown ones, since training would differ."""
    if value is None:
        return None
    name, config = _parse(value)
    config = {_KERAS_1.get(key, key): item for key, item in config.items()}
    kind = _find_class(keras.constraints, name, keras.constraints.Constraint)
    return _make(kind, name, config)


def dtype(value: object) -> str | None:
    """Returns the name of a precision or policy; None (the default) if an old file leaves it open."""
    if isinstance(value, dict):
        value = (value.get("config") or {}).get("name")
    if value in (None, "_infer", "infer"):
        return None
    if not isinstance(value, str) or value not in _POLICIES | _INPUTS:
        raise checks.error("the precision of a layer must be known", given=repr(value)[:80])
    return value


def plain(value: Any, *, what: str) -> Any:
    """Returns numbers, texts and lists as they are, and unwraps the NumPy values and tuples of old files.

    Example:
        >>> plain({"class_name": "__tuple__", "items": [1, {"type": "ndarray", "value": 2.0}]}, what="size of Pool")
        [1, 2.0]
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [plain(item, what=what) for item in value]
    if isinstance(value, dict) and value.get("class_name") in ("__tuple__", "TensorShape"):
        return plain(value.get("items"), what=what)
    if isinstance(value, dict) and value.get("type") == "ndarray":
        return plain(value.get("value"), what=what)
    raise checks.error(
        "the arguments of a layer must be numbers, texts and lists",
        given=f"{what}: {str(value)[:80]}",
    )


def _parse(value: object) -> tuple[Any, dict]:
    """Returns name and arguments of a name alone, of `{"class_name": ..., "config": {...}}`, or of Keras 1's form.

    Keras 1 wrote `{"name": ..., "l2": ...}`.
    """
    if isinstance(value, str):
        return value, {}
    if not isinstance(value, dict):
        raise checks.error("the arguments of a layer must be plain data", given=str(value)[:80])
    config = value.get("config", {key: item for key, item in value.items() if key != "name"})
    name = value.get("class_name", value.get("name"))
    return name, {key: plain(item, what=f"{key} of {name}") for key, item in (config or {}).items()}


def _find_class(module: object, name: object, kind: type) -> Any:
    """Returns the class that `name` stands for: the user's, or Keras's in any spelling ("he_normal", "HeNormal")."""
    cls = _find_registered(name)
    if cls is None and isinstance(name, str):
        classes = {key.lower(): item for key, item in vars(module).items() if inspect.isclass(item)}
        cls = classes.get(name.replace("_", "").lower())
    return cls if inspect.isclass(cls) and issubclass(cls, kind) else None


def _make(cls: Any, name: object, config: dict) -> Any:
    if cls is None:
        raise checks.error(
            "regularisers and constraints must be known",
            given=repr(name),
            fix="If it is yours, register it with keras.saving.register_keras_serializable.",
        )
    known = inspect.signature(cls.__init__).parameters
    try:
        return cls(**{key: item for key, item in config.items() if key in known})
    except (ValueError, TypeError) as refused:
        raise checks.error(
            "the arguments of a layer must suit Keras 3", given=f"{name} {config} ({refused})"
        ) from refused
