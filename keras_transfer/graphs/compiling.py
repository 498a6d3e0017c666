"""Compiles a model again with another optimizer or loss, and keeps the rest."""

import contextlib
import inspect
from collections.abc import Iterable

import keras

from keras_transfer.core import checks
from keras_transfer.graphs import precision

__all__ = [
    "arguments",
    "compile_like",
    "optimizers",
    "own_method",
    "recompile",
    "renew",
    "scope",
    "set_loss",
]


def scope(model: keras.Model) -> contextlib.AbstractContextManager:
    """Returns the scope of the strategy that `model` was made under, else a scope that does nothing."""
    strategy = getattr(model, "distribute_strategy", None)
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def optimizers(model: keras.Model) -> list[keras.optimizers.Optimizer]:
    """Returns the optimizers that hold slots: those inside loss scaling and inside lists of optimizers."""
    outer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return list(getattr(outer, "optimizers", [outer]))


def recompile(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Compiles `model` with a new optimizer; loss, metrics and weights of losses stay.

    After unfreezing, only a new optimizer is safe: the old step count would make the first steps of new slots several
    times too large. The optimizer's slots exist when this returns, and its averages of weights, if it keeps any,
    start at the weights.

    Raises:
        InputError: If `model` was never compiled.
    """
    with scope(model):
        optimizer = precision.scale_loss(model, optimizer)
        model.compile(**{**_arguments_to_repeat(model), "optimizer": optimizer})
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        for one in optimizers(model):
            if getattr(one, "use_ema", False):
                averages = one._model_variables_moving_average
                for variable, average in zip(one._trainable_variables, averages, strict=True):
                    average.assign(keras.ops.convert_to_numpy(variable))


def renew(
    optimizer: keras.optimizers.Optimizer, new: keras.optimizers.Optimizer, model: keras.Model
) -> keras.optimizers.Optimizer:
    """Gives an optimizer that was used the variables of a new one of the same settings, and returns it.

    Args:
        optimizer: Of `model`; changed in place.
        new: Is built for `model`.
        model: With the flags of its layers set.
    """
    with scope(model):
        new = precision.scale_loss(model, new)
        new.build(model.trainable_variables)
        for used, fresh in zip(optimizer.variables, new.variables, strict=True):
            used.assign(fresh)
    return optimizer


def set_loss(model: keras.Model, loss: object) -> None:
    """Compiles `model` with another loss; optimizer, metrics and weights of losses stay."""
    with scope(model):
        model.compile(**{**_arguments_to_repeat(model), "loss": loss})


def compile_like(
    model: keras.Model, other: keras.Model, *, optimizer: str | keras.optimizers.Optimizer = "sgd"
) -> None:
    """Compiles `model` with loss, metrics and options of `other`, and by default with a place-holder as optimizer."""
    with scope(model):
        model.compile(**{**_arguments_to_repeat(other), "optimizer": optimizer})


def own_method(model: keras.Model, names: Iterable[str]) -> str | None:
    """Returns the first of the methods `names` that the user's class defines itself, else None.

    Keras's methods, and those of this package's models (which have a `part` that trains as the whole does), are known.
    """
    for name in names:
        definer = inspect.getmodule(getattr(type(model), name))
        if definer is None or definer.__name__.partition(".")[0] not in ("keras", "keras_transfer"):
            return name
    return None


def arguments(model: keras.Model) -> dict:
    """Returns the arguments that `model` was compiled with.

    Raises:
        InputError: If it never was.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> arguments(model)["loss"]
        'mse'
    """
    if not getattr(model, "compiled", False):
        raise checks.error(
            "`model` must be compiled",
            given=f"{model.name!r}, which is not",
            fix="Call model.compile.",
        )
    # `_compile_config` keeps the objects themselves; the public get_compile_config() loses unregistered functions.
    return dict(model._compile_config.config)


def _arguments_to_repeat(model: keras.Model) -> dict:
    """Returns the arguments to compile with again, with metrics reset: Keras does not reset them at the first epoch."""
    repeated = arguments(model)
    for metric in keras.tree.flatten([repeated.get("metrics"), repeated.get("weighted_metrics")]):
        if isinstance(metric, keras.Metric):
            metric.reset_state()
    return repeated
