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
from keras_transfer.core import code, graph, kernels

__all__ = ["array", "joined", "network", "plain"]


def joined(*parts: str) -> str:
    """Returns one hash for several, and for what computes: the packages, the processor, its kernels, accelerators.

    Example:
        >>> len(joined("a", "b"))
        32
    """
    versions = [keras.__version__, tf.__version__, keras_transfer.__version__]
    devices = [tf.config.experimental.get_device_details(each) for each in tf.config.list_physical_devices("GPU")]
    computes = [platform.machine(), *kernels.rounding(), *(str(each.get("device_name")) for each in devices)]
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
    found = [type(layer) for layer in layers]  # and their activations, say
    found += [value for layer in layers for value in vars(layer).values() if inspect.isfunction(value)]
    parts = (part for each in found for part in code.parts(each))
    return [[_source(part.code), [[name, _value(value)] for name, value in part.values.items()]] for part in parts]


def _value(value: object) -> object:
    if isinstance(value, tuple | list):
        return [_value(each) for each in value]
    if isinstance(value, dict):
        return [[repr(key), _value(each)] for key, each in value.items()]
    if inspect.isfunction(value):
        return [_source(part.code) for part in code.parts(value)] or value.__qualname__
    return _constant(value)


def _source(part: object) -> str:
    try:
        return inspect.getsource(part)
    except (OSError, TypeError) as unknown:
        raise NotImplementedError(f"the code of {part!r} cannot be read") from unknown
