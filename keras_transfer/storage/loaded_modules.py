"""Loads and calls SavedModels that this process trusts."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.storage import saved_models

__all__ = ["Module"]


class Module:
    """One call of a loaded SavedModel, with the variables and losses that belong to it.

    Args:
        folder: A copy made by `saved_models.keep`.
        output: As for `saved_models.choose`.
        arguments: Further arguments for the call, by name.

    Raises:
        InputError: If there is no such output or argument, or the call does not take one tensor.
    """

    def __init__(
        self, folder: pathlib.Path, *, output: str | None = None, arguments: Mapping | None = None
    ) -> None:
        description = saved_models.describe(folder)
        self.call, self._key = saved_models.choose(description.calls, output)
        self._arguments = dict(arguments or {})
        _check_arguments(self.call, self._arguments)
        self._function: Any
        try:
            self.loaded, self._function = _loaded(str(folder), description, self.call)
        except (OSError, ValueError, tf.errors.OpError) as failed:
            reason = checks.first_line(failed)
            raise checks.error("a SavedModel must be whole", given=reason) from failed
        self.trainable, self.others = self._variables()
        losses = getattr(self.loaded, "regularization_losses", None) or []
        self.regularisers = [] if self.call.signature else list(losses)
        self._shapes: dict[tuple, tuple] = {}

    @property
    def dtype(self) -> str:
        """The type of the tensor that it takes."""
        return self.call.specs[0].dtype

    def _variables(self) -> tuple[list[tf.Variable], list[tf.Variable]]:
        """Returns the trainable variables and the others, as the module lists them, else those that the call uses."""
        functions = [self._function] if self.call.signature else self._function.concrete_functions
        used = [
            variable for function in functions for variable in getattr(function, "variables", ())
        ]
        listed = getattr(self.loaded, "variables", None)
        trainable = getattr(self.loaded, "trainable_variables", None)
        if not listed and not trainable:
            listed, trainable = used, used  # an export's lists may be there and empty
        everything = {id(variable): variable for variable in listed or used}
        if trainable is None:
            trainable = everything.values()
        trained = {id(variable): variable for variable in trainable if variable.trainable}
        others = [variable for key, variable in everything.items() if key not in trained]
        return list(trained.values()), others

    def __call__(self, x: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Runs the call on a tensor of the type it takes."""
        if self.call.signature:
            outputs = self._function(**{self.call.input: x})
        else:
            mode = {}
            if self.call.training:  # the module may have been saved with one mode only
                saved = self.call.training
                mode["training"] = training if training in saved else next(iter(saved - {True}))
            outputs = self._function(x, **mode, **self._arguments)
        if isinstance(outputs, Mapping):
            return outputs[self._key]
        return outputs[int(self._key)] if isinstance(outputs, list | tuple) else outputs

    def output_shape(self, sides: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the output for an input of the shape `sides`, both without the batch axis.

        Where all sides are known, the module is run once: its functions only know the shapes they were saved with.

        Raises:
            InputError: If it does not take this shape.
        """
        if sides not in self._shapes:
            self._shapes[sides] = self._infer_shape(sides)
        return self._shapes[sides]

    def _infer_shape(self, sides: tuple[int | None, ...]) -> tuple[int | None, ...]:
        try:
            with tf.init_scope():
                if None not in sides:
                    zeros = tf.zeros((1, *sides), self.dtype)
                    output = _run_in_replica(lambda: self(zeros, training=False))
                else:
                    traced = tf.function(lambda x: self(x, training=False))
                    spec = tf.TensorSpec((None, *sides), self.dtype)
                    output = traced.get_concrete_function(spec).structured_outputs
        except (ValueError, TypeError, tf.errors.OpError) as refused:
            takes = " or ".join(str(spec.shape) for spec in self.call.specs)
            raise checks.error(
                "a SavedModel must be given what it was saved for",
                given=f"shape {(None, *sides)} with arguments {self._arguments}, where it takes {takes}",
            ) from refused
        if not isinstance(output, tf.Tensor) or not output.shape.rank:
            raise checks.error("a SavedModel must give a tensor with a batch axis", given=output)
        return tuple(output.shape[1:])


def _run_in_replica(run: Callable) -> tf.Tensor:
    """Runs a function on the devices of the current strategy: its variables can be read nowhere else."""
    if not tf.distribute.has_strategy():
        return run()
    strategy = tf.distribute.get_strategy()
    return strategy.experimental_local_results(strategy.run(run))[0]


def _loaded(
    folder: str, description: saved_models.Description, call: saved_models.Call
) -> tuple[object, Callable]:
    """Loads a copy; returns the object that keeps its variables alive, and the function to call."""
    if description.references:
        frozen = _freeze(folder, description, call)
        return frozen, lambda **inputs: frozen(tf.convert_to_tensor(inputs[call.input]))
    loaded = tf.saved_model.load(folder, tags=list(description.tags))
    return loaded, loaded.signatures[call.signature] if call.signature else loaded.__call__


def _freeze(
    folder: str, description: saved_models.Description, call: saved_models.Call
) -> Callable:
    """Loads a signature of a TensorFlow 1 module as a function whose variables are constants."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session() as session:
        meta = v1.saved_model.load(session, list(description.tags), folder)
        signature = meta.signature_def[call.signature]
        names = {key: info.name for key, info in signature.outputs.items()}
        operations = [name.partition(":")[0] for name in names.values()]
        constant = v1.graph_util.convert_variables_to_constants(
            session, graph.as_graph_def(), operations
        )
    whole = v1.wrap_function(lambda: v1.import_graph_def(constant, name=""), [])
    return whole.prune(signature.inputs[call.input].name, names)


def _check_arguments(call: saved_models.Call, arguments: Mapping) -> None:
    if not call.specs:
        raise checks.error(
            "a SavedModel must be called on one tensor",
            given=f"a call {call.signature!r} that takes something else",
        )
    for name in arguments:
        if name not in call.arguments:
            fix = f"It takes: {', '.join(call.arguments) or 'no others'}."
            raise checks.error(
                "an argument of a SavedModel must be known", given=repr(name), fix=fix
            )
