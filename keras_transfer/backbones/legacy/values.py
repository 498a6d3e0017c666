"""What the arguments of old layers stand for: initialisers, regularisers, activations, precision.

Names are looked up in Keras and among what the user's program has registered with Keras; nothing is
imported by a name from a file, and no stored code is run.
"""

import inspect
from collections.abc import Callable

import keras
from keras import ops

from keras_transfer.core import checks

__all__ = ["activation", "constraint", "dtype", "hard_sigmoid", "initializer", "plain", "registered",
           "registered_function", "regularizer"]  # fmt: skip

_ACTIVATIONS = {
    name
    for name, value in vars(keras.activations).items()
    if inspect.isfunction(value) and name not in ("deserialize", "get", "serialize")
}
_POLICIES = {"float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"}
_INPUTS = {"uint8", "uint16", "int8", "int16", "int32", "int64", "bool"}
_KERAS_1 = {"m": "max_value", "min_m": "min_value", "max_m": "max_value"}


@keras.saving.register_keras_serializable("keras_transfer", name="hard_sigmoid_of_keras_2")
def hard_sigmoid(x: keras.KerasTensor) -> keras.KerasTensor:
    """The hard sigmoid of Keras 1 and 2, with slope 0.2; that of Keras 3 has slope 1/6.

    Example:
        >>> round(float(hard_sigmoid(ops.array(1.0))), 3)
        0.7
    """
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def registered(name: object) -> type[keras.layers.Layer] | None:
    """Returns the layer class that the user's program has made known to Keras under `name`.

    Example:
        >>> with keras.saving.custom_object_scope({"Mine": keras.layers.Dense}):
        ...     registered("Mine").__name__
        'Dense'
    """
    found = _registered(name)
    return found if inspect.isclass(found) and issubclass(found, keras.layers.Layer) else None


def registered_function(value: object) -> Callable | None:
    """Returns the function that the user's program has made known to Keras, None for all else, such as bytecode."""
    if isinstance(value, dict):
        value = value.get("config") if value.get("class_name") == "function" else None
    found = _registered(value)
    return found if inspect.isfunction(found) else None


def _registered(name: object) -> object | None:
    if not isinstance(name, str):
        return None
    return keras.saving.get_registered_object(name) or keras.saving.get_registered_object(
        f"Custom>{name}"
    )


def activation(value: object, *, keras_version: int) -> Callable | None:
    """Returns the function that an activation's name stood for in that version of Keras."""
    if value is None:
        return None
    name = (
        value.get("config")
        if isinstance(value, dict) and value.get("class_name") == "function"
        else value
    )
    if _registered(name) and inspect.isfunction(_registered(name)):
        return _registered(name)
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
    """Returns the initialiser, for whoever wants the network without its weights; None (the layer's own) if unknown."""
    if value is None:
        return None
    if isinstance(value, str):
        name, config = value, {}
    else:
        name, config = _named(value)
    aliases = {
        "normal": "random_normal",
        "uniform": "random_uniform",
        "one": "ones",
        "zero": "zeros",
    }
    cls = _find(keras.initializers, aliases.get(name, name), keras.initializers.Initializer)
    if cls is None:
        checks.note(
            f"initialiser {name!r} is unknown to Keras 3; without its weights, the network would start otherwise"
        )
        return None
    return _made(cls, name, config)


def regularizer(value: object) -> keras.regularizers.Regularizer | None:
    """Returns L1, L2, both, or the orthogonal regulariser; an error for others, since training would differ."""
    if value is None:
        return None
    if isinstance(value, str):
        name, config = value, {}
    else:
        name, config = _named(value)
    if name in ("WeightRegularizer", "ActivityRegularizer", "L1L2Regularizer"):
        name = "L1L2"
    return _made(_find(keras.regularizers, name, keras.regularizers.Regularizer), name, config)


def constraint(value: object) -> keras.constraints.Constraint | None:
    """Returns the constraint; an error for unknown ones, since training would differ."""
    if value is None:
        return None
    name, config = (value, {}) if isinstance(value, str) else _named(value)
    config = {_KERAS_1.get(key, key): item for key, item in config.items()}
    return _made(_find(keras.constraints, name, keras.constraints.Constraint), name, config)


def dtype(value: object) -> str | None:
    """Returns the name of a precision or policy; None (the default) for what an old file left open."""
    if isinstance(value, dict):
        value = (value.get("config") or {}).get("name")
    if value in (None, "_infer", "infer"):
        return None
    if not isinstance(value, str) or value not in _POLICIES | _INPUTS:
        raise checks.error("the precision of a layer must be known", given=repr(value)[:80])
    return value


def plain(value: object, *, what: str) -> object:
    """Returns numbers, texts and lists as they are, and what old files wrap (NumPy values, tuples) as such.

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


def _named(value: object) -> tuple[str, dict]:
    """Name and arguments of `{"class_name": ..., "config": {...}}`, or of Keras 1's `{"name": ..., "l2": ...}`."""
    if not isinstance(value, dict):
        raise checks.error("the arguments of a layer must be plain data", given=str(value)[:80])
    config = value.get("config", {key: item for key, item in value.items() if key != "name"})
    name = value.get("class_name", value.get("name"))
    return name, {key: plain(item, what=f"{key} of {name}") for key, item in (config or {}).items()}


def _find(module: object, name: object, kind: type) -> type | None:
    """The class that `name` stands for: the user's, or Keras's in any spelling ("he_normal", "HeNormal")."""
    found = _registered(name)
    if found is None and isinstance(name, str):
        plain_name = name.replace("_", "").lower()
        classes = {key.lower(): item for key, item in vars(module).items() if inspect.isclass(item)}
        found = classes.get(plain_name)
    return found if inspect.isclass(found) and issubclass(found, kind) else None


def _made(cls: type | None, name: str, config: dict) -> object:
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
