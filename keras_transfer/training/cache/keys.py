"""Hashes of what the output of a network depends on: settings, connections, weights and code."""

import functools
import hashlib
import inspect
import json
import platform
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

import keras_transfer
from keras_transfer.core import code
from keras_transfer.graphs import nodes
from keras_transfer.machine import kernels

__all__ = ["array", "joined", "network", "plain"]

NAMES = ("name", "trainable", "built")  # settings that say nothing of the output
PLAIN = int | float | str | bytes | np.ndarray


def joined(*parts: str) -> str:
    """Returns one hash for several, and for what computes: the packages, the processor, its kernels, accelerators.

    Example:
        >>> len(joined("a", "b"))
        32
    """
    versions = [keras.__version__, tf.__version__, keras_transfer.__version__]
    devices = [
        tf.config.experimental.get_device_details(each)
        for each in tf.config.list_physical_devices("GPU")
    ]
    computes = [
        platform.machine(),
        *kernels.rounding(),
        *(str(each.get("device_name")) for each in devices),
    ]
    computes.append(f"tf32={tf.config.experimental.tensor_float_32_execution_enabled()}")
    return hashlib.sha256("|".join([*parts, *versions, *computes]).encode()).hexdigest()[:32]


def array(values: np.ndarray) -> str:
    """Returns a hash of an array's values, shape and type."""
    values = np.ascontiguousarray(values)
    return hashlib.sha256(f"{values.shape} {values.dtype}".encode() + values.tobytes()).hexdigest()


def plain(facts: object) -> str:
    """Returns a hash of plain values."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=repr).encode()).hexdigest()


def network(order: Sequence[nodes.Node], ends: Sequence[keras.KerasTensor]) -> str:
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
    for position in sorted(nodes.ancestors(order, ends)):
        node = order[position]
        config = _config(node.operation)
        lines.append(
            [
                type(node.operation).__name__,
                {name: value for name, value in config.items() if name not in NAMES},
                [numbers[id(tensor)] for tensor in node.inputs],
                [
                    _constant(value)
                    for value in _arguments(node)
                    if not isinstance(value, keras.KerasTensor)
                ],
                [
                    array(keras.ops.convert_to_numpy(each))
                    for each in getattr(node.operation, "weights", ())
                ],
                _code(node.operation),
            ]
        )
        for tensor in node.outputs:
            numbers[id(tensor)] = len(numbers)
    return plain([lines, [numbers[id(tensor)] for tensor in ends]])


def _config(operation: keras.Operation) -> dict:
    if isinstance(
        operation, keras.layers.Lambda
    ):  # whose settings hold compiled code; `_code` has its text
        return {"arguments": operation.arguments}
    return operation.get_config()


def _arguments(node: nodes.Node) -> list:
    return keras.tree.flatten((node.call.arguments.args, node.call.arguments.kwargs))


def _constant(value: object) -> str:
    is_array = isinstance(value, np.ndarray | tf.Tensor | keras.Variable)
    return array(keras.ops.convert_to_numpy(value)) if is_array else repr(value)


def _code(operation: keras.Operation) -> list:
    """The source of what is neither of Keras nor of this package: it may be another one tomorrow."""
    found = []
    for layer in (
        operation._flatten_layers() if isinstance(operation, keras.layers.Layer) else [operation]
    ):
        parts = code.parts(type(layer))
        found += [
            [_source(part.code), _value(part.values)]
            for part in parts
            if not _is_within(part, parts)
        ]
        inside = vars(layer).items()
        found += [
            [name, _value(value)] for name, value in inside if _is_called(value)
        ]  # activations, say
        if not code.is_known(type(layer)):  # what its settings may not tell
            shown = {
                name: value
                for name, value in inside
                if not name.startswith("_") and name not in NAMES
            }
            found.append(
                [[name, _value(each)] for name, each in shown.items() if isinstance(each, PLAIN)]
            )
    return found


def _is_called(value: object) -> bool:
    return isinstance(value, functools.partial | np.ufunc) or inspect.isroutine(
        code.unwrapped(value)
    )


def _is_within(part: code.Part, parts: Sequence[code.Part]) -> bool:
    """Whether a method sees nothing that is not in the source of its class."""
    is_method = any(
        inspect.isclass(each.code) and part.code in each.uses.values() for each in parts
    )
    return is_method and inspect.isfunction(part.code) and not part.values


def _value(value: object) -> object:
    """What a value is, the same in every process."""
    if isinstance(value, functools.partial):
        return [_value(value.func), _value(value.args), _value(value.keywords)]
    if inspect.ismethod(value):
        return [_value(value.__func__), _value(value.__self__)]
    value = code.unwrapped(value)
    if isinstance(value, tuple | list):
        return [_value(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    if isinstance(value, dict):
        return [[repr(key), _value(each)] for key, each in value.items()]
    if inspect.isfunction(value):
        followed = [[_source(part.code), _value(part.values)] for part in code.parts(value)]
        return followed or f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, keras.layers.Layer):
        weights = [_constant(weight) for weight in value.weights]
        return [plain({**value.get_config(), "name": None}), weights]
    shown = _constant(value)
    if " at 0x" in shown and hasattr(value, "__dict__"):  # an address, another one in every process
        return [
            type(value).__qualname__,
            [[name, repr(each)] for name, each in vars(value).items()],
        ]
    return shown


def _source(part: object) -> str:
    """The text of a function or a class; of one that was generated, what it has."""
    try:
        return inspect.getsource(part)
    except (OSError, TypeError) as unknown:
        if inspect.isclass(part):
            return f"{part.__module__}.{part.__qualname__} {sorted(vars(part))}"
        if getattr(
            getattr(part, "__code__", None), "co_filename", ""
        ) == "<string>" and part.__name__.startswith("__"):
            return f"{part.__qualname__} {part.__code__.co_code.hex()} {part.__code__.co_names}"  # of a data class
        raise NotImplementedError(f"the code of {part!r} cannot be read") from unknown
