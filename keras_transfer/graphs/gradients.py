"""What happens to gradients on their way down through a graph."""

from collections.abc import Callable, Sequence
from typing import Any  # tensors of Keras's backend

import tensorflow as tf  # keras.ops cannot give an operation a gradient that assigns to variables

from keras_transfer.machine import engine

__all__ = ["fork", "value_and_gradient"]


def value_and_gradient(function: Callable[[Any], Any], at: Any) -> tuple[Any, Any]:
    """Returns what a function gives, and the gradient of its sum by what it takes.

    Weights are constants here, whatever the engine. The gradient is None where the result does not depend on `at`, or
    not by operations with a gradient.

    Example:
        >>> import keras
        >>> values, gradient = value_and_gradient(lambda x: x * x, keras.ops.convert_to_tensor([1.0, 3.0]))
        >>> keras.ops.convert_to_numpy(gradient).tolist()
        [2.0, 6.0]
    """
    return engine.value_and_gradient(function, at)


def fork(
    tensor: tf.Tensor, count: int, join: Callable[[Sequence[tf.Tensor]], tf.Tensor]
) -> list[tf.Tensor]:
    """Returns `tensor` several times; `join` makes one gradient of those that come back.

    Example:
        >>> x = tf.Variable(3.0)
        >>> with tf.GradientTape() as tape:
        ...     one, other = fork(x * 1.0, 2, lambda gradients: tf.maximum(*gradients))
        ...     total = 2 * one + 5 * other
        >>> float(tape.gradient(total, x))
        5.0
    """

    @tf.custom_gradient
    def copies(inputs: tf.Tensor) -> tuple:
        outputs = tuple(tf.identity(inputs) for _ in range(count))
        return outputs, lambda *gradients: join(gradients)

    return list(copies(tensor))
