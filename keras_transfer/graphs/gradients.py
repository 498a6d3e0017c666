"""What happens to gradients on their way down through a graph."""

from collections.abc import Callable, Sequence

import tensorflow as tf  # keras.ops cannot give an operation a gradient that assigns to variables

__all__ = ["fork"]


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
