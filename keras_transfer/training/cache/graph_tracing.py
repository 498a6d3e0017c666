"""The frozen part of a model as one graph of TensorFlow: the class of `tracing.trace` there."""

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

import keras
import tensorflow as tf
from tensorflow.core.framework import function_pb2, graph_pb2
from tensorflow.core.framework.node_def_pb2 import NodeDef

from keras_transfer.graphs import nodes
from keras_transfer.training.cache import calls, graph_key, keys

__all__ = ["Trace"]


class Trace:
    """Calls of a model, traced once as training runs them.

    Args:
        model: A functional model with one input; its `trainable` flags are those of the stage.
        positions: The calls to trace, in `nodes.nodes(model)`, with all that they depend on.
        images: Shape and type of a batch.
        changing: The variables that the stage changes: a call that reads one is not the same in every epoch.
        inference: Whether to trace what depends on unstable calls as well, as it is in inference.

    Attributes:
        unstable: The calls that may give another result in every epoch, each with the reason.
    """

    def __init__(
        self,
        model: keras.Model,
        positions: Iterable[int],
        images: tf.TensorSpec,
        *,
        changing: Iterable[keras.Variable] = (),
        inference: bool = False,
    ) -> None:
        self.model, self.images, self.inference = model, images, inference
        self.unstable: dict[int, str] = {}
        self._order = nodes.nodes(model)
        self._positions = sorted(positions)
        self._traced: dict[int, tf.Tensor] = {}  # by the id of the model's own tensor
        self._inferred: dict[int, tf.Tensor] = {}  # of what depends on unstable calls
        self._operations: dict[int, list[tf.Operation]] = {}  # by position
        function = tf.function(self._trace, input_signature=[images], autograph=False)
        self._graph = function.get_concrete_function().graph
        self._definition = self._graph.as_graph_def()
        self._places = {node.name: at for at, node in enumerate(self._definition.node)}
        self._functions = {each.signature.name: each for each in self._definition.library.function}
        self._find_readers(changing)
        self._find_different()

    def gives(self, tensors: Iterable[keras.KerasTensor], *, inference: bool = False) -> bool:
        """Whether all of the tensors are the same in every epoch, or, if `inference`, in inference only."""
        tensors = list(tensors)
        if not inference and nodes.ancestors(self._order, tensors) & set(self.unstable):
            return False
        if not all(id(tensor) in self._traced | self._inferred for tensor in tensors):
            return False
        return graph_key.find_stateful(self._part(self._ends(tensors)), self._functions) is None

    def key(self, tensors: Sequence[keras.KerasTensor]) -> str:
        """Returns a hash of all that the tensors depend on, but for the images.

        Raises:
            NotImplementedError: If the graph calls Python, or reads something that has no value.
        """
        ends = self._ends(tensors)
        part = self._part(ends)
        if graph_key.calls_python(part, self._functions):
            raise NotImplementedError("a layer calls Python code, which has no key")
        present = {node.name for node in part}
        known = {self._graph.inputs[0].op.name: "images"}
        for outer, inner in self._graph.captures:
            if inner.op.name in present:
                known[inner.op.name] = keys.hash_array(graph_key.captured_value(outer))
        return graph_key.hash_graph(part, self._functions, ends, known)

    def function(
        self, tensors: Mapping[str, keras.KerasTensor]
    ) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
        """Returns a function from images to the values of the tensors, in float32; nothing is traced anew."""
        if tf.config.functions_run_eagerly():  # then training runs eagerly, too
            return lambda images: self._run_eagerly(images, tensors)
        ends = self._ends(tensors.values())
        part = self._part(ends)
        present = {node.name for node in part}
        definition = graph_pb2.GraphDef(node=part, library=self._definition.library)
        definition.versions.CopyFrom(self._definition.versions)

        @tf.function(input_signature=[self.images], autograph=False)
        def run(images: tf.Tensor) -> dict[str, tf.Tensor]:
            graph = tf.compat.v1.get_default_graph()
            inputs = {self._graph.inputs[0].name: images}
            for outer, inner in self._graph.captures:
                if inner.op.name in present:
                    inputs[inner.name] = graph.capture(outer)
            values = tf.graph_util.import_graph_def(
                definition, inputs, return_elements=ends, name=""
            )
            values = [tf.cast(value, tf.float32) for value in values]
            return dict(zip(tensors, values, strict=True))

        return run.get_concrete_function()

    def _ends(self, tensors: Iterable[keras.KerasTensor]) -> list[str]:
        traced = self._inferred | self._traced
        return [traced[id(tensor)].name for tensor in tensors]

    def _part(self, ends: Iterable[str], *, above: Container[str] = ()) -> list[NodeDef]:
        """The nodes that the ends depend on, in their order; not those that only nodes `above` depend on."""
        waiting, reached = [_node_of(end) for end in ends], set()
        while waiting:
            name = waiting.pop()
            if name in reached:
                continue
            reached.add(name)
            if name not in above:
                waiting += map(_node_of, self._definition.node[self._places[name]].input)
        places = sorted(self._places[name] for name in reached)
        return [self._definition.node[place] for place in places]

    def _trace(self, images: tf.Tensor) -> None:
        self._again: dict[int, list[tf.Tensor]] = {}
        calls.Within(self._call_in_training, self.model)(images, training=True)
        calls.Within(self._call_in_inference, self.model)(images, training=False)

    def _call_in_training(self, images: tf.Tensor) -> None:
        """Calls one operation of the model after the other, and looks at what each adds to the graph."""
        graph = tf.compat.v1.get_default_graph()
        values = self._traced
        values.update(calls.start(self.model, images))
        for position in self._positions:
            node = self._order[position]
            if not node.inputs or any(id(tensor) not in values for tensor in node.inputs):
                continue
            before, losses = len(graph.get_operations()), calls.count_losses(node.operation)
            outputs = calls.call(node, values, training=True)
            self._operations[position] = graph.get_operations()[before:]
            self._note_state(position, losses)
            if position not in self.unstable:
                values.update(outputs)

    def _call_in_inference(self, images: tf.Tensor) -> None:
        """Calls operations with code that is not Keras's a second time, to compare; and what is unstable."""
        values = dict(self._traced)
        for position in self._positions:
            node = self._order[position]
            if not node.inputs or any(id(tensor) not in values for tensor in node.inputs):
                continue
            if position in self._operations and position not in self.unstable:
                if calls.is_foreign(node.operation):
                    again = calls.call(node, values, training=False)
                    self._again[position] = [again[id(tensor)] for tensor in node.outputs]
            elif self.inference:
                self._inferred |= calls.call(node, values, training=False)
                values |= self._inferred

    def _run_eagerly(
        self, images: tf.Tensor, tensors: Mapping[str, keras.KerasTensor]
    ) -> dict[str, tf.Tensor]:
        values: dict[int, tf.Tensor] = {}

        def call_all(images: tf.Tensor) -> None:
            values.update(calls.start(self.model, images))
            for position in sorted(nodes.ancestors(self._order, tensors.values())):
                node = self._order[position]
                if node.inputs:
                    is_stable = all(id(tensor) in self._traced for tensor in node.outputs)
                    values.update(calls.call(node, values, training=is_stable))

        calls.Within(call_all, self.model)(images, training=True)
        return {name: tf.cast(values[id(each)], tf.float32) for name, each in tensors.items()}

    def _note_state(self, position: int, losses: int) -> None:
        """Notes why the call at `position` is unstable, if it adds a loss or has a stateful operation."""
        operation = self._order[position].operation
        if calls.count_losses(operation) > losses:
            adding = [layer for layer in operation._flatten_layers() if layer.losses][-1]
            self.unstable[position] = f"{adding.name!r} adds a loss of its own"
            return
        # Most operations are pure by their type, so their definitions need not be read.
        operations = self._operations[position]
        made = [each.node_def for each in operations if not graph_key.is_pure(each.type)]
        library: dict[str, function_pb2.FunctionDef] = {}
        if any(graph_key.functions_in(node) for node in made):
            definition = tf.compat.v1.get_default_graph().as_graph_def()
            library = {each.signature.name: each for each in definition.library.function}
        reached = graph_key.find_stateful(made, library)
        if reached is not None:
            layer = _layer_of(reached[0], operation)
            types = [each.type for each in operations]
            self.unstable[position] = _reason(layer, reached[1], types)

    def _find_readers(self, changing: Iterable[keras.Variable]) -> None:
        """Notes the calls that read a variable which the stage, or an unstable call, changes."""
        handles = {id(each) for variable in changing for each in _handles(variable)}
        moving = {inner.op.name for outer, inner in self._graph.captures if id(outer) in handles}
        for position in self.unstable:
            for each in self._operations[position]:
                if each.type not in graph_key.READS:
                    resources = [tensor for tensor in each.inputs if tensor.dtype == tf.resource]
                    moving.update(tensor.op.name for tensor in resources)
        if not moving:
            return
        for position, operations in self._operations.items():
            inputs = {tensor.op.name for each in operations for tensor in each.inputs}
            if inputs & moving:
                name = self._order[position].operation.name
                self.unstable.setdefault(position, f"{name!r} reads variables that change")

    def _find_different(self) -> None:
        """Notes the calls that made another graph when they were called again, in inference."""
        for position, again in self._again.items():
            node = self._order[position]
            # What the call takes, and the variables, are the same both times.
            known = {each.op.name: each.op.name for each in self._graph.inputs}
            for each in node.inputs:
                known[self._traced[id(each)].op.name] = self._traced[id(each)].op.name
            hashes = set()
            for ends in (self._ends(node.outputs), [each.name for each in again]):
                part = self._part(ends, above=known)
                hashes.add(graph_key.hash_graph(part, self._functions, ends, known))
            if len(hashes) > 1:
                name = node.operation.name
                self.unstable[position] = f"{name!r} gives something else in training, or each time"


def _node_of(name: str) -> str:
    return name.lstrip("^").partition(":")[0]


def _handles(variable: keras.Variable) -> list[tf.Tensor]:
    """The handles of a variable, one on each replica."""
    value = variable.value
    return [each.handle for each in getattr(value, "values", [value])]


def _layer_of(name: str, operation: keras.Operation) -> keras.Operation:
    """The innermost layer in whose scope an operation of the graph was made."""
    if not isinstance(operation, keras.layers.Layer):
        return operation
    inside = {layer.name: layer for layer in operation._flatten_layers()}
    for scope in reversed(name.split("/")):
        for each in (re.sub(r"_\d+$", "", scope), scope):  # a second scope of one name is numbered
            if each in inside:
                return inside[each]
    return operation


def _reason(layer: keras.Operation, kind: str, types: Sequence[str]) -> str:
    if "PyFunc" in kind:
        return f"{layer.name!r} calls Python code that TensorFlow cannot look into ({kind})"
    if any("Random" in each for each in (kind, *types)):
        return calls.describe_draws(layer)
    return calls.describe_state(layer, kind)
