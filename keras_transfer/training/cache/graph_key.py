"""Two questions about a TensorFlow graph: is it the same every time, and what is its key?

A graph is the same every time if it holds no stateful operation but reads of variables. Its key is a hash of its
operations and of the values that it reads. How the Python was written that made the graph does not matter.
"""

import functools
import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, function_pb2
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework import op_def_registry

__all__ = [
    "calls_python",
    "captured_value",
    "find_stateful",
    "functions_in",
    "hash_graph",
    "is_pure",
]

Functions = Mapping[str, function_pb2.FunctionDef]

# TensorFlow calls these stateful, too, though they only read or check.
READS = {
    "Assert",
    "CheckNumerics",
    "CheckNumericsV2",
    "LookupTableFindV2",
    "LookupTableSizeV2",
    "ReadVariableOp",
    "ResourceGather",
    "ResourceGatherNd",
    "VarIsInitializedOp",
    "VariableShape",
}
# These only call functions, and are as stateful as those are.
CALLS = {"Case", "If", "PartitionedCall", "StatefulPartitionedCall", "While"}
# Attributes that do not change the result; those that begin with "_" are left out as well.
NEUTRAL = {
    "config",
    "config_proto",
    "container",
    "debug_name",
    "executor_type",
    "shared_name",
    "token",  # by which this process finds a Python function
}


def find_stateful(graph: Iterable[NodeDef], functions: Functions) -> tuple[str, str] | None:
    """Returns the name and the type of the first operation that may give another result next time, or None.

    Args:
        graph: The operations.
        functions: Those that they call, by name.

    Example:
        >>> graph = tf.Graph()
        >>> with graph.as_default():
        ...     _ = tf.random.uniform((2,), name="noise")
        >>> find_stateful(graph.as_graph_def().node, {})
        ('noise/RandomUniform', 'RandomUniform')
    """
    for node in graph:
        if is_pure(node.op):
            continue
        # TensorFlow also calls a function by naming it as the operation.
        called = [node.op] if node.op in functions else functions_in(node)
        for name in called:
            inside = find_stateful(functions[name].node_def, functions)
            if inside is not None:
                return node.name, inside[1]
        if node.op in READS | CALLS | set(functions):
            continue
        known = op_def_registry.get(node.op)
        if known is None or known.is_stateful:
            return node.name, node.op
    return None


@functools.cache
def is_pure(kind: str) -> bool:
    """Whether operations of a type have no state and call no functions, whatever their attributes."""
    known = op_def_registry.get(kind)
    if known is None or (known.is_stateful and kind not in READS):
        return False
    return not any("func" in attribute.type for attribute in known.attr)


def calls_python(graph: Iterable[NodeDef], functions: Functions) -> bool:
    """Whether an operation runs a Python function, which the graph does not show."""
    inside = [node for each in functions.values() for node in each.node_def]
    return any("PyFunc" in node.op for node in [*graph, *inside])


def functions_in(node: NodeDef) -> list[str]:
    """Returns the names of the functions that an operation calls: branches, the body of a loop."""
    return [name for value in node.attr.values() for name in _functions_in_attribute(value)]


def _functions_in_attribute(value: attr_value_pb2.AttrValue) -> list[str]:
    listed = [each.name for each in value.list.func]
    return listed + ([value.func.name] if value.HasField("func") else [])


def hash_graph(
    graph: Iterable[NodeDef], functions: Functions, ends: Iterable[str], known: Mapping[str, str]
) -> str:
    """Returns a hash of what some tensors compute; the names of operations do not count.

    Args:
        graph: The operations, each after those that it depends on.
        functions: Those that they call, by name.
        ends: The names of the tensors.
        known: By the name of an operation, a hash that stands for all its outputs.
    """
    hashes = dict(known)
    for node in graph:
        if node.name in hashes:
            continue
        result = hashlib.sha256(_hash_function(node.op, functions).encode())
        for name in sorted(node.attr):
            if not name.startswith("_") and name not in NEUTRAL:
                result.update(name.encode() + _hash_attribute(node.attr[name], functions))
        for each in node.input:
            if not each.startswith("^"):
                result.update(_hash_end(each, hashes))
        hashes[node.name] = result.hexdigest()
    return hashlib.sha256(b"|".join(_hash_end(each, hashes) for each in ends)).hexdigest()


def captured_value(captured: tf.Tensor) -> np.ndarray:
    """Returns what a tensor from outside the graph holds, or the variable behind it.

    Raises:
        NotImplementedError: If that is no array.
    """
    if captured.dtype == tf.resource:
        shapes = getattr(captured, "_handle_data", None)
        if shapes is None or not shapes.shape_and_type:
            raise NotImplementedError("a layer reads a table, which has no key")
        dtype = tf.as_dtype(shapes.shape_and_type[0].dtype)
        captured = tf.raw_ops.ReadVariableOp(resource=captured, dtype=dtype)
    if captured.dtype == tf.variant:
        raise NotImplementedError("a layer reads a value of TensorFlow's that has no key")
    return captured.numpy()


def _hash_end(end: str, hashes: Mapping[str, str]) -> bytes:
    name, _, output = end.partition(":")
    return f"{hashes[name]}:{output or 0} ".encode()


def _hash_attribute(value: attr_value_pb2.AttrValue, functions: Functions) -> bytes:
    called = _functions_in_attribute(value)
    if not called:
        return value.SerializeToString(deterministic=True)
    return "".join(_hash_function(name, functions) for name in called).encode()


def _hash_function(name: str, functions: Functions) -> str:
    """A hash of what a function of a graph computes; of an operation, its name."""
    if name not in functions:
        return name
    definition = functions[name]
    arguments = [each.name for each in definition.signature.input_arg]
    known = {each: f"argument {number}" for number, each in enumerate(arguments)}
    ends = [definition.ret[each.name] for each in definition.signature.output_arg]
    return hash_graph(definition.node_def, functions, ends, known)
