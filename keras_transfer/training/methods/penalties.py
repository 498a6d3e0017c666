"""Methods that add a penalty to the loss: a training model shares all layers with the user's and computes it.

The penalty sits in a layer that passes the model's outputs through as they are, so Keras's own `fit`,
`jit_compile`, `steps_per_execution`, loss scaling and `tf.distribute` treat it as any other loss of a layer.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_transfer.core import checks
from keras_transfer.graphs import boundaries, compiling, nodes, paths
from keras_transfer.layers import marks, penalised
from keras_transfer.training import freezing
from keras_transfer.training.methods.base import Method, Reference, Trainee

__all__ = [
    "Penalty",
    "Reference",
    "Regulariser",
    "kernels",
    "trunk_end",
    "values_at",
    "variables_below",
]


class Penalty(NamedTuple):
    """What a regulariser computes in a training step."""

    taps: list[keras.KerasTensor]
    """Tensors of the model's graph that it looks at."""
    value: Callable[[list], object]
    """From their values (any float type) to a float32 scalar, or to None where nothing that trains is concerned."""


class Regulariser(Method):
    """Keeps a network near its pretrained state; subclass it for one of your own.

    A subclass overrides `penalty`; `get_config` returns what its constructor takes, and the class is
    registered with `keras.saving.register_keras_serializable`.

    Example:
        >>> class Small(Regulariser):
        ...     def penalty(self, model, reference):
        ...         return Penalty(model.outputs, lambda taps: ops.mean(ops.square(taps[0])))
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> with Small().attached(model) as training_model:
        ...     history = training_model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    """

    needs_images = True

    def penalty(self, model: keras.Model, reference: Reference) -> Penalty | None:
        """Returns what to compute, or None for nothing; called once, when attached.

        Args:
            model: The user's model.
            reference: As for `attached`.
        """
        raise NotImplementedError

    @contextlib.contextmanager
    def attached(self, model: keras.Model, *, reference: Reference = None) -> Iterator[keras.Model]:
        """Gives a training model: `model`'s layers, outputs and compiled state, with the penalty in its loss.

        Training it trains `model`, which itself is not changed: what is saved or exported never holds
        the penalty. Compile the training model again after freezing or thawing layers, as always. The
        logged `loss` holds the penalty, `val_loss` does not. The training model is of use within the
        `with` block only.

        Args:
            model: A functional model with Keras's own training step, compiled or not.
            reference: The pretrained state: a model of the same kind, or arrays by path (of
                `graphs.paths.variables`, as in a run's `best.npz`); by default `model` as it is now.

        Raises:
            InputError: If `model` has no graph or its own training step, or `reference` does not fit.
        """
        self.check(model)
        with _scope(model):
            penalty = self.penalty(model, reference)
            layer = penalised.Penalised(
                None if penalty is None else penalty.value, name=_free_name(model)
            )
            inputs, outputs = _ends(model)
            passed = layer([outputs, [] if penalty is None else penalty.taps])
            training_model = getattr(model, "part", keras.Model)(inputs, passed, name=model.name)
        if hasattr(model, "output_names"):  # Keras would take the new layer's name for all of them
            training_model.output_names = list(model.output_names)
        if getattr(model, "compiled", False):
            # `_compile_config` keeps the objects themselves. The optimizer goes on with its state.
            arguments = dict(model._compile_config.config)
            training_model.compile(**{**arguments, "optimizer": model.optimizer})
        try:
            yield training_model
        finally:
            layer.value = _raise_outside_with
            training_model.train_function = None  # what was traced holds the penalty

    @contextlib.contextmanager
    def attach(self, model: keras.Model, *, reference: Reference = None) -> Iterator[Trainee]:
        """Gives the training model of `attached`, compiled for a stage."""
        with self.attached(model, reference=reference) as training_model:
            compiling.compile_like(training_model, model)
            yield Trainee(training_model)

    def check(self, model: keras.Model) -> None:
        """Raises an error if the regulariser cannot be attached to `model`; called before training starts."""
        nodes.check_functional(model)
        name = compiling.own_method(model, ("train_step", "compute_loss"))
        if name is not None:
            raise checks.error(
                "`model` must train with Keras's own training step",
                given=f"{type(model).__name__} with its own `{name}`",
                fix="Attach the regulariser to a plain keras.Model(inputs, outputs) of the same layers.",
            )

    def facts(self) -> dict:
        """Returns the class and its arguments."""
        return {"regulariser": {"class": type(self).__name__, **self.get_config()}}


def _raise_outside_with(_: list) -> None:
    raise checks.error(
        "a training model must be used within its `with` block", given="`fit` after its end"
    )


def _ends(model: keras.Model) -> tuple[object, object]:
    """The structures of inputs and outputs."""
    if isinstance(model, keras.Sequential):
        return model.inputs[0], model.outputs[0]
    return model.input, model.output


def _scope(model: keras.Model) -> contextlib.AbstractContextManager:
    """Where the model's variables live: under `tf.distribute`, its strategy."""
    strategy = getattr(model, "distribute_strategy", None)
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def _free_name(model: keras.Model) -> str:
    taken = {node.operation.name for node in nodes.nodes(model)}
    name = "penalty"
    while name in taken:
        name += "_"
    return name


def trunk_end(model: keras.Model) -> keras.KerasTensor:
    """Returns the tensor where the pretrained trunk ends.

    Raises:
        InputError: If the model has no weights below its head.
    """
    mark = marks.representation(model)
    ends = [mark.output] if mark is not None else boundaries.trunk_end(nodes.nodes(model))
    if not ends:
        raise checks.error("`model` must have a trunk with weights", given=repr(model.name))
    return ends[0]


def kernels(model: keras.Model) -> tuple[dict[str, keras.Variable], dict[str, keras.Variable]]:
    """Returns the kernels (weights of rank 2 and more) of the trunk and those of the head, by path.

    Biases, and scales and statistics of normalisations, are left out, as they are from weight decay.
    """
    leaves = {
        id(variable): path
        for path, layer in paths.leaves(model).items()
        for variable in layer.weights
    }
    heads = set(freezing.head(model))
    trunk: dict[str, keras.Variable] = {}
    head: dict[str, keras.Variable] = {}
    for path, variable in paths.variables(model).items():
        if len(variable.shape) >= 2:
            (head if leaves[id(variable)] in heads else trunk)[path] = variable
    return trunk, head


def values_at(
    variables: Mapping[str, keras.Variable], reference: Reference
) -> dict[str, np.ndarray]:
    """Returns the pretrained values of `variables` (by path), by default their present ones.

    Raises:
        InputError: If `reference` lacks one, or holds one of another shape.
    """
    if reference is None:
        return {path: ops.convert_to_numpy(variable) for path, variable in variables.items()}
    found = paths.variables(reference) if isinstance(reference, keras.Model) else reference
    values = {}
    for path, variable in variables.items():
        if path not in found:
            raise checks.error(
                "`reference` must hold the trunk of `model`", given=f"nothing at {path!r}"
            )
        values[path] = ops.convert_to_numpy(found[path]).astype(variable.dtype)
        if values[path].shape != tuple(variable.shape):
            given = f"{path!r} of shape {values[path].shape}, not {tuple(variable.shape)}"
            raise checks.error("`reference` must hold the trunk of `model`", given=given)
    return values


def variables_below(
    model: keras.Model, tensors: Iterable[keras.KerasTensor]
) -> list[list[keras.Variable]]:
    """Returns for each tensor of the model's graph the weights that it depends on."""
    order = nodes.nodes(model)
    found = []
    for tensor in tensors:
        operations = [order[position].operation for position in nodes.ancestors(order, [tensor])]
        found.append([variable for each in operations for variable in getattr(each, "weights", [])])
    return found
