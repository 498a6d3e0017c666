"""SavedModels that this process trusts, loaded and called."""

import pathlib
from collections.abc import Callable, Mapping

import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.storage import saved_models

__all__ = ["Module"]


class Module:
    """A SavedModel, loaded: one of its calls, with the variables and losses that belong to it.

    Args:
        folder: A copy of `saved_models.keep`.
        output: As for `saved_models.choose`.
        arguments: Further arguments for the call, by name.

    Raises:
        InputError: If the output or an argument is not there, or it is not called on one tensor.
    """

    def __init__(
        self, folder: pathlib.Path, *, output: str | None = None, arguments: Mapping | None = None
    ) -> None:
        description = saved_models.describe(folder)
        self.call, self._key = saved_models.choose(description.calls, output)
        self._arguments = dict(arguments or {})
        _check_arguments(self.call, self._arguments)
        try:
            self.loaded, self._function = _loaded(str(folder), description, self.call)
        except (OSError, ValueError, tf.errors.OpError) as failed:
            reason = (str(failed).strip() or type(failed).__name__).splitlines()[0]
            raise checks.error("a SavedModel must be whole", given=reason) from failed
        self.trainable, self.others = self._variables()
        listed = getattr(self.loaded, "regularization_losses", None)
        self.regularisers = [] if self.call.signature else list(listed or [])
        self._shapes: dict[tuple, tuple] = {}

    @property
    def dtype(self) -> str:
        """The type of the tensor that it takes."""
        return self.call.specs[0].dtype

    def _variables(self) -> tuple[list[tf.Variable], list[tf.Variable]]:
        """The variables that may train, and the others; where the module does not list them, what the call uses."""
        functions = [self._function] if self.call.signature else self._function.concrete_functions
        used = [
            variable for function in functions for variable in getattr(function, "variables", ())
        ]
        listed, trainable = (
            getattr(self.loaded, name, None) for name in ("variables", "trainable_variables")
        )
        if not listed and not trainable:
            listed, trainable = used, None  # an export's lists may be there and empty
        everything = {id(variable): variable for variable in listed or used}
        chosen = (
            everything if trainable is None else {id(variable): variable for variable in trainable}
        )
        chosen = {key: variable for key, variable in chosen.items() if variable.trainable}
        return list(chosen.values()), [
            variable for key, variable in everything.items() if key not in chosen
        ]

    def __call__(self, x: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Runs the call on a tensor of the type it takes."""
        if self.call.signature:
            outputs = self._function(**{self.call.input: x})
        else:
            mode = {"training": self._mode(training)} if self.call.training else {}
            outputs = self._function(x, **mode, **self._arguments)
        if isinstance(outputs, Mapping):
            return outputs[self._key]
        return outputs[int(self._key)] if isinstance(outputs, list | tuple) else outputs

    def _mode(self, training: bool) -> bool | None:
        """The value of `training` to pass: the module may have been saved with one mode only."""
        return (
            training if training in self.call.training else next(iter(self.call.training - {True}))
        )

    def output_shape(self, sides: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the output, without the batch, for an input of this shape.

        The module is run once where the sides are known: its own functions only know what they were saved with.

        Raises:
            InputError: If it does not take this shape.
        """
        if sides not in self._shapes:
            self._shapes[sides] = self._found_shape(sides)
        return self._shapes[sides]

    def _found_shape(self, sides: tuple[int | None, ...]) -> tuple[int | None, ...]:
        try:
            with tf.init_scope():
                if None not in sides:
                    found = _in_replica(
                        lambda: self(tf.zeros((1, *sides), self.dtype), training=False)
                    )
                else:
                    traced = tf.function(lambda x: self(x, training=False))
                    spec = tf.TensorSpec((None, *sides), self.dtype)
                    found = traced.get_concrete_function(spec).structured_outputs
        except (ValueError, TypeError, tf.errors.OpError) as refused:
            takes = " or ".join(str(spec.shape) for spec in self.call.specs)
            raise checks.error(
                "a SavedModel must be given what it was saved for",
                given=f"shape {(None, *sides)} with arguments {self._arguments}, where it takes {takes}",
            ) from refused
        if not isinstance(found, tf.Tensor) or not found.shape.rank:
            raise checks.error("a SavedModel must give a tensor with a batch axis", given=found)
        return tuple(found.shape[1:])


def _in_replica(run: Callable) -> tf.Tensor:
    """Runs a function once on each device of the strategy in force, whose variables can be read nowhere else."""
    if not tf.distribute.has_strategy():
        return run()
    strategy = tf.distribute.get_strategy()
    return strategy.experimental_local_results(strategy.run(run))[0]


def _loaded(
    folder: str, description: saved_models.Description, call: saved_models.Call
) -> tuple[object, Callable]:
    """Loads a copy; returns what keeps its variables alive, and the function to call."""
    if description.references:
        constant = _constant(folder, description, call)
        return constant, lambda **inputs: constant(tf.convert_to_tensor(inputs[call.input]))
    loaded = tf.saved_model.load(folder, tags=list(description.tags))
    return loaded, loaded.signatures[call.signature] if call.signature else loaded.__call__


def _constant(
    folder: str, description: saved_models.Description, call: saved_models.Call
) -> Callable:
    """A signature of a module of TensorFlow 1 as a function whose variables have become constants."""
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
            takes = (
                f"It takes: {', '.join(call.arguments)}." if call.arguments else "It takes none."
            )
            raise checks.error(
                "an argument of a SavedModel must be known", given=repr(name), fix=takes
            )
