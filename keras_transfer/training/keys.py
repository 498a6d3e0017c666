"""Hashes of what the output of a network depends on: settings, connections, weights and code."""

import hashlib
import inspect
import json
import platform
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

import keras_transfer
from keras_transfer.core import graph, kernels

__all__ = ["array", "joined", "network", "plain"]

KNOWN = ("keras", "keras_transfer")  # packages whose code is known by their version


def joined(*parts: str) -> str:
    """Returns one hash for several, and for what computes: the packages, the processor, its kernels, accelerators.

    Example:
        >>> len(joined("a", "b"))
        32
    """
    versions = [keras.__version__, tf.__version__, keras_transfer.__version__]
    devices = [tf.config.experimental.get_device_details(each) for each in tf.config.list_physical_devices("GPU")]
    computes = [platform.machine(), kernels.in_use(), *(str(each.get("device_name")) for each in devices)]
    computes.append(f"tf32={tf.config.experimental.tensor_float_32_execution_enabled()}")
    return hashlib.sha256("|".join([*parts, *versions, *computes]).encode()).hexdigest()[:32]


def array(values: np.ndarray) -> str:
    """Returns a hash of an array's values, shape and type."""
    values = np.ascontiguousarray(values)
    return hashlib.sha256(f"{values.shape} {values.dtype}".encode() + values.tobytes()).hexdigest()


def plain(facts: object) -> str:
    """Returns a hash of plain values."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=repr).encode()).hexdigest()


def network(order: Sequence[graph.Node], ends: Sequence[keras.KerasTensor]) -> str:
    """Returns a hash of the operations that tensors depend on; names do not count.

    Args:
        order: All of the model's, see `graph.nodes`.
        ends: The tensors.

    Raises:
        NotImplementedError: If a layer has no config, or the code of one cannot be read.

    Example:
        >>> def key():
        ...     model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, kernel_initializer="ones")])
        ...     return network(graph.nodes(model), model.outputs)
        >>> key() == key()
        True
    """
    numbers: dict[int, int] = {}
    lines = []
    for position in sorted(graph.ancestors(order, ends)):
        node = order[position]
        config = node.operation.get_config()
        lines.append(
            [
                type(node.operation).__name__,
                {name: value for name, value in config.items() if name not in ("name", "trainable")},
                [numbers[id(tensor)] for tensor in node.inputs],
                [_constant(value) for value in _arguments(node) if not isinstance(value, keras.KerasTensor)],
                [array(keras.ops.convert_to_numpy(each)) for each in getattr(node.operation, "weights", ())],
                _code(node.operation),
            ]
        )
        for tensor in node.outputs:
            numbers[id(tensor)] = len(numbers)
    return plain([lines, [numbers[id(tensor)] for tensor in ends]])


def _arguments(node: graph.Node) -> list:
    return keras.tree.flatten((node.call.arguments.args, node.call.arguments.kwargs))


def _constant(value: object) -> str:
    is_array = isinstance(value, np.ndarray | tf.Tensor | keras.Variable)
    return array(keras.ops.convert_to_numpy(value)) if is_array else repr(value)


def _code(operation: keras.Operation) -> list:
    """The source of what is neither of Keras nor of this package: it may be another one tomorrow."""
    layers = operation._flatten_layers() if isinstance(operation, keras.layers.Layer) else [operation]
    found = [type(layer) for layer in layers] + [layer.function for layer in layers if hasattr(layer, "function")]
    return [_followed(each, set()) for each in found if not _is_known(each)]


def _is_known(code: object) -> bool:
    return (getattr(code, "__module__", None) or "").partition(".")[0] in (*KNOWN, "builtins")


def _followed(code: object, seen: set[int]) -> list:
    """The source of a function or a class, and of what it uses of its own package; values that it sees, too."""
    if id(code) in seen:
        return []
    seen.add(id(code))
    lines = [_source(code)]
    if inspect.isclass(code):
        parts = [base for base in code.__mro__[1:] if not _is_known(base)]
        parts += [method for method in vars(code).values() if inspect.isfunction(method)]
        return lines + [_followed(part, seen) for part in parts]
    if not inspect.isfunction(code):
        return lines
    used = inspect.getclosurevars(code)
    home = code.__module__.partition(".")[0]
    for name, value in sorted({**used.globals, **used.nonlocals}.items()):
        lines.append([name, _used(value, home, seen)])
    return lines


def _used(value: object, home: str, seen: set[int]) -> object:
    if inspect.ismodule(value):
        return value.__name__
    if inspect.isfunction(value) or inspect.isclass(value):
        is_own = value.__module__.partition(".")[0] == home
        return _followed(value, seen) if is_own else f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, tuple | list):
        return [_used(each, home, seen) for each in value]
    if isinstance(value, dict):
        return [[repr(key), _used(each, home, seen)] for key, each in value.items()]
    return _constant(value)


def _source(code: object) -> str:
    try:
        return inspect.getsource(code)
    except (OSError, TypeError) as unknown:
        raise NotImplementedError(f"the code of {code!r} cannot be read") from unknown
