"""The frozen part of a model as JAX programs, one a call: the class of `tracing.trace` there.

Each call is traced by itself, as a function of the variables that it may read and of its inputs. What it assigns, adds
to the loss or leaves to Python is then in sight.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import keras
import tensorflow as tf

from keras_transfer.graphs import nodes
from keras_transfer.machine import jax_engine
from keras_transfer.training.cache import calls, jaxpr_key, keys

__all__ = ["Trace"]

BATCH = 2  # images in the batch that shapes are found with


class Program(NamedTuple):
    """What one call computes.

    Attributes:
        closed: From the values of `variables`, then of the tensors that go in, to those that come out.
        variables: What it may read.
        read: The ids of those that it reads.
        assigned: Those that it assigns.
        assigns_others: Whether it assigns variables of other layers.
        adds_loss: Whether it adds a loss.
        outputs: Shapes and types.
    """

    closed: Any
    variables: list[keras.Variable]
    read: set[int]
    assigned: list[keras.Variable]
    assigns_others: bool
    adds_loss: bool
    outputs: list[jax.ShapeDtypeStruct]


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
        self.model, self.inference = model, inference
        self.unstable: dict[int, str] = {}
        self._order = nodes.nodes(model)
        self._changing = list(changing)
        self._traced: dict[int, Program] = {}  # by position
        self._inferred: dict[int, Program] = {}  # of calls that depend on unstable ones
        batch = jax.ShapeDtypeStruct((BATCH, *images.shape[1:]), images.dtype.as_numpy_dtype)
        start = jax.eval_shape(lambda images: calls.start(model, images), batch)
        self._trace_all(sorted(positions), start)
        self._find_readers()

    def gives(self, tensors: Iterable[keras.KerasTensor], *, inference: bool = False) -> bool:
        """Whether all of the tensors are the same in every epoch, or, if `inference`, in inference only."""
        needed = self._needed(tensors)
        if not inference and needed & set(self.unstable):
            return False
        programs = self._programs()
        return all(
            position in programs and jaxpr_key.find_python_call(programs[position].closed) is None
            for position in needed
        )

    def key(self, tensors: Sequence[keras.KerasTensor]) -> str:
        """Returns a hash of all that the tensors depend on, but for the images.

        Raises:
            NotImplementedError: If a call runs Python.
        """
        programs = self._programs()
        hashes = {id(tensor): "images" for tensor in self.model.inputs}
        for position in sorted(self._needed(tensors)):
            program, node = programs[position], self._order[position]
            if jaxpr_key.find_python_call(program.closed) is not None:
                raise NotImplementedError("a layer calls Python code, which has no key")
            parts = [jaxpr_key.hash_program(program.closed)]
            for variable in program.variables:
                if id(variable) in program.read:
                    parts.append(keys.hash_array(keras.ops.convert_to_numpy(variable)))
            parts += [hashes[id(tensor)] for tensor in node.inputs]
            made = hashlib.sha256("|".join(parts).encode()).hexdigest()
            hashes |= {id(tensor): f"{made}:{place}" for place, tensor in enumerate(node.outputs)}
        ends = "|".join(hashes[id(tensor)] for tensor in tensors)
        return hashlib.sha256(ends.encode()).hexdigest()

    def function(self, tensors: Mapping[str, keras.KerasTensor]) -> Callable[[Any], dict[str, Any]]:
        """Returns a compiled function from images to the values of the tensors, in float32."""
        needed = sorted(self._needed(tensors.values()))
        variables = _unique(
            variable
            for position in needed
            for variable in getattr(self._order[position].operation, "variables", ())
        )

        @jax.jit
        def run(values: list, images: Any) -> dict[str, Any]:
            results: dict[int, Any] = {}

            def call_all(images: Any) -> None:
                results.update(calls.start(self.model, images))
                for position in needed:
                    is_training = position not in self._inferred
                    results.update(calls.call(self._order[position], results, training=is_training))

            mapping = list(zip(variables, values, strict=True))
            with keras.StatelessScope(mapping, collect_losses=True):
                calls.Within(call_all, self.model)(images, training=True)
            return {
                name: keras.ops.cast(results[id(tensor)], "float32")
                for name, tensor in tensors.items()
            }

        return jax_engine.fill_up(
            lambda images: run([variable.value for variable in variables], images)
        )

    def _needed(self, tensors: Iterable[keras.KerasTensor]) -> set[int]:
        """The positions of the calls that tensors depend on, without the model's inputs."""
        found = nodes.ancestors(self._order, tensors)
        return {position for position in found if self._order[position].inputs}

    def _programs(self) -> dict[int, Program]:
        return self._traced | self._inferred

    def _trace_all(self, positions: Sequence[int], start: Mapping[int, Any]) -> None:
        """Traces one call after the other, and notes why some are unstable."""
        stable, inferred = dict(start), dict(start)  # shapes, by the id of the model's own tensor
        for position in positions:
            node = self._order[position]
            if not node.inputs:
                continue
            if all(id(tensor) in stable for tensor in node.inputs):
                program = self._trace(node, stable, training=True)
                self._traced[position] = program
                reason = self._reason(node, program, stable)
                outputs = dict(zip(map(id, node.outputs), program.outputs, strict=True))
                inferred |= outputs
                if reason:
                    self.unstable[position] = reason
                else:
                    stable |= outputs
            is_open = position in self.unstable or position not in self._traced
            if self.inference and is_open and all(id(each) in inferred for each in node.inputs):
                program = self._trace(node, inferred, training=False)
                self._inferred[position] = program
                inferred |= dict(zip(map(id, node.outputs), program.outputs, strict=True))

    def _trace(self, node: nodes.Node, shapes: Mapping[int, Any], *, training: bool) -> Program:
        variables = _unique([*getattr(node.operation, "variables", ()), *self._changing])
        inputs = list(dict.fromkeys(map(id, node.inputs)))
        scopes: list[keras.StatelessScope] = []
        changed: set[int] = set()  # the ids of variables

        def run(values: list, tensors: list) -> list:
            results: dict[int, Any] = {}

            def call_one(_: Any) -> None:
                given = dict(zip(inputs, tensors, strict=True))
                results.update(calls.call(node, given, training=training))

            mapping = list(zip(variables, values, strict=True))
            scope = keras.StatelessScope(mapping, collect_losses=True)
            before = dict(scope.state_mapping)
            with scope:
                calls.Within(call_one, self.model)(tensors[0], training=training)
            scopes.append(scope)
            for name, value in scope.state_mapping.items():
                if before.get(name) is not value:
                    changed.add(name)
            return [results[id(tensor)] for tensor in node.outputs]

        specs = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in variables]
        tensors = [shapes[name] for name in inputs]
        closed, outputs = jax.make_jaxpr(run, return_shape=True)(specs, tensors)
        used = jaxpr_key.used_inputs(closed)[: len(variables)]
        return Program(
            closed,
            variables,
            {id(each) for each, is_used in zip(variables, used, strict=True) if is_used},
            [each for each in variables if id(each) in changed],
            assigns_others=bool(changed - set(map(id, variables))),
            adds_loss=bool(scopes[-1].losses),
            outputs=outputs,
        )

    def _reason(self, node: nodes.Node, program: Program, shapes: Mapping[int, Any]) -> str:
        """Says why a call may give something else in the next epoch, "" if it gives the same."""
        operation = node.operation
        if program.assigned:
            variable = program.assigned[0]
            layer = _owner(variable, operation)
            if "seed_generator" in variable.path:
                return calls.describe_draws(layer)
            return calls.describe_state(layer, variable.name)
        if program.assigns_others:
            return calls.describe_state(operation, "variables of another layer")
        if program.adds_loss:
            return f"{operation.name!r} adds a loss of its own"
        python = jaxpr_key.find_python_call(program.closed)
        if python is not None:
            return f"{operation.name!r} calls Python code that JAX cannot look into ({python})"
        if calls.is_foreign(operation):
            again = self._trace(node, shapes, training=False)
            if jaxpr_key.hash_program(again.closed) != jaxpr_key.hash_program(program.closed):
                return f"{operation.name!r} gives something else in training, or each time"
        return ""

    def _find_readers(self) -> None:
        """Notes the calls that read a variable which the stage, or an unstable call, changes."""
        moving = {id(variable) for variable in self._changing}
        for position in self.unstable:
            moving |= {id(variable) for variable in self._traced[position].assigned}
        for position, program in self._traced.items():
            if program.read & moving:
                name = self._order[position].operation.name
                self.unstable.setdefault(position, f"{name!r} reads variables that change")


def _unique(variables: Iterable[keras.Variable]) -> list[keras.Variable]:
    return list({id(variable): variable for variable in variables}.values())


def _owner(variable: keras.Variable, operation: keras.Operation) -> keras.Operation:
    """The innermost layer that has a variable."""
    inside = []
    for layer in operation._flatten_layers():
        if any(each is variable for each in layer.variables):
            inside.append(layer)
    return min(inside, key=lambda layer: len(layer.variables), default=operation)
