"""Compiling a model again with another optimizer, all else as it was."""

import keras

from keras_transfer.core import checks

__all__ = ["jit_compile", "recompile"]


def jit_compile() -> bool | str:
    """Returns Keras's own choice where there is an accelerator, else False: XLA slows depthwise networks on CPUs."""
    if keras.backend.backend() != "tensorflow":
        return "auto"
    import tensorflow as tf

    return "auto" if tf.config.list_physical_devices("GPU") + tf.config.list_physical_devices("TPU") else False


def recompile(model: keras.Model, optimizer: keras.optimizers.Optimizer, *, loss: object = None) -> None:
    """Compiles `model` with a new optimizer; loss, metrics and weights of losses stay.

    A new optimizer is the only safe one after layers have been thawed: old step counts would make
    the first steps of new slots several times too large. Its slots exist when this returns.

    Args:
        model: A compiled model.
        optimizer: A fresh optimizer.
        loss: Replaces the loss if given.

    Raises:
        InputError: If `model` was never compiled.
    """
    if not getattr(model, "compiled", False):
        raise checks.error("`model` must be compiled", given=f"{model.name!r}, which is not", fix="Call model.compile.")
    # `_compile_config` keeps the objects themselves; the public get_compile_config() loses unregistered functions.
    arguments = dict(model._compile_config.config)
    arguments["optimizer"] = optimizer
    if loss is not None:
        arguments["loss"] = loss
    model.compile(**arguments)
    model.optimizer.build(model.trainable_variables)
