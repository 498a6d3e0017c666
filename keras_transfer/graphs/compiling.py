"""Compiling a model again with another optimizer, all else as it was."""

import contextlib
import inspect
from collections.abc import Iterable

import keras

from keras_transfer.core import checks

__all__ = [
    "arguments",
    "compile_like",
    "jit_compile",
    "optimizers",
    "own_method",
    "recompile",
    "scope",
    "set_loss",
]


def jit_compile() -> bool | str:
    """Returns Keras's own choice where there is an accelerator, else False: XLA slows depthwise networks on CPUs."""
    if keras.backend.backend() != "tensorflow":
        return "auto"
    import tensorflow as tf

    return (
        "auto"
        if tf.config.list_physical_devices("GPU") + tf.config.list_physical_devices("TPU")
        else False
    )


def scope(model: keras.Model) -> contextlib.AbstractContextManager:
    """Returns the scope of the strategy that `model` was made under; one that does nothing where there is none."""
    strategy = getattr(model, "distribute_strategy", None)
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def optimizers(model: keras.Model) -> list[keras.optimizers.Optimizer]:
    """Returns the optimizers that hold slots: within loss scaling, and each of several."""
    outer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return list(getattr(outer, "optimizers", [outer]))


def recompile(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Compiles `model` with a new optimizer; loss, metrics and weights of losses stay.

    A new optimizer is the only safe one after layers have been thawed: old step counts would make
    the first steps of new slots several times too large. Its slots exist when this returns, and its
    averages of weights, if it keeps any, start at the weights.

    Args:
        model: A compiled model.
        optimizer: A fresh optimizer.

    Raises:
        InputError: If `model` was never compiled.
    """
    given = {**_again(model), "optimizer": optimizer}
    with scope(model):
        model.compile(**given)
        model.optimizer.build(model.trainable_variables)
        for one in optimizers(model):
            if getattr(one, "use_ema", False):
                for variable, average in zip(
                    one._trainable_variables, one._model_variables_moving_average, strict=True
                ):
                    average.assign(keras.ops.convert_to_numpy(variable))


def set_loss(model: keras.Model, loss: object) -> None:
    """Compiles `model` with another loss; optimizer, metrics and weights of losses stay."""
    with scope(model):
        model.compile(**{**_again(model), "loss": loss})


def compile_like(
    model: keras.Model, other: keras.Model, *, optimizer: str | keras.optimizers.Optimizer = "sgd"
) -> None:
    """Compiles `model` with loss, metrics and options of `other`; the optimizer is a place-holder by default."""
    with scope(model):
        model.compile(**{**_again(other), "optimizer": optimizer})


def own_method(model: keras.Model, names: Iterable[str]) -> str | None:
    """Returns the first of some methods that the class of `model` has of its own, None where all are known.

    Known are Keras's and the package's, whose models have a `part` that trains as the whole does.
    """
    for name in names:
        definer = inspect.getmodule(getattr(type(model), name))
        if definer is None or definer.__name__.partition(".")[0] not in ("keras", "keras_transfer"):
            return name
    return None


def arguments(model: keras.Model) -> dict:
    """Returns what `model` was compiled with.

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


def _again(model: keras.Model) -> dict:
    """What to compile a model with once more; Keras does not reset metrics before the first epoch."""
    found = arguments(model)
    for metric in keras.tree.flatten([found.get("metrics"), found.get("weighted_metrics")]):
        if isinstance(metric, keras.Metric):
            metric.reset_state()
    return found
