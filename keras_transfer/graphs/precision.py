"""In which precision the layers of a network compute."""

import contextlib
from collections.abc import Iterator

import keras

from keras_transfer.core import checks

__all__ = ["NAMES", "check", "is_half", "made_in", "of_network", "scale_loss"]

NAMES = ("float32", "mixed_bfloat16", "mixed_float16")


def check(name: str | None) -> str | None:
    """Returns the name if layers can compute so; None leaves it to Keras's own setting."""
    return None if name is None else checks.choice(name, NAMES, name="precision")


@contextlib.contextmanager
def made_in(name: str | None) -> Iterator[None]:
    """Makes layers of the block compute in a precision; None changes nothing.

    Example:
        >>> with made_in("mixed_bfloat16"):
        ...     layer = keras.layers.Dense(2)
        >>> layer.compute_dtype, layer.variable_dtype, keras.layers.Dense(2).compute_dtype
        ('bfloat16', 'float32', 'float32')
    """
    before = keras.config.dtype_policy()
    if name is not None:
        keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def of_network(network: keras.Model) -> str | None:
    """Returns the mixed precision that a network was made in, None for any other.

    Example:
        >>> of_network(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])) is None
        True
    """
    name = network.dtype_policy.name
    return name if name in NAMES and name.startswith("mixed") else None


def is_half(model: keras.Model) -> bool:
    """Returns whether any layer computes in 16 bits.

    Example:
        >>> is_half(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, dtype="mixed_bfloat16")]))
        True
    """
    layers = model._flatten_layers(include_self=False, recursive=True)
    return any(layer.compute_dtype in ("bfloat16", "float16") for layer in layers)


def scale_loss(
    model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> keras.optimizers.Optimizer:
    """Returns an optimizer that scales the loss, where layers compute in float16: its gradients would underflow.

    Keras does so for models that were made in "mixed_float16", but not for one that was loaded or cut from another.
    """
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer
    layers = model._flatten_layers(include_self=False, recursive=True)
    if not any(layer.compute_dtype == "float16" for layer in layers):
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer)
