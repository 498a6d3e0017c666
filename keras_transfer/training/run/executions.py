"""How many training steps run before Python looks at their logs."""

from collections.abc import Sequence

import keras

from keras_transfer.machine import engine

__all__ = ["MOST", "choose"]

MOST = 16  # more saves nothing, and a progress bar should move


def choose(
    model: keras.Model, callbacks: Sequence[keras.callbacks.Callback], *, steps: int | None
) -> int:
    """Returns how many steps an accelerator takes without waiting for Python; 1 where nothing is gained.

    The steps are the same ones. On a CPU, Python's share of a step is small. Callbacks of batches, and a stage that
    ends at a step, see every step.

    Args:
        model: The compiled model that `fit` is called of.
        callbacks: The user's.
        steps: The most steps of the stage, None for whole epochs.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> model.compile("sgd", "mse", steps_per_execution=3)
        >>> choose(model, [], steps=None)
        3
    """
    chosen = model.steps_per_execution
    replicas = getattr(model, "distribute_strategy", None)
    is_alone = replicas is None or replicas.num_replicas_in_sync == 1
    if chosen != 1 or steps is not None or not is_alone or any(map(_sees_batches, callbacks)):
        return chosen
    # Keras on JAX waits for nothing between steps.
    is_worth_it = not engine.is_jax() and engine.jit_compile() == "auto"
    return MOST if is_worth_it else 1


def _sees_batches(callback: keras.callbacks.Callback) -> bool:
    """Whether a callback does something before or after a step."""
    kind, none = type(callback), keras.callbacks.Callback
    return (
        kind.on_train_batch_begin is not none.on_train_batch_begin
        or kind.on_train_batch_end is not none.on_train_batch_end
        or isinstance(callback, keras.callbacks.LambdaCallback)
    )
