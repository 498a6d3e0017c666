"""A gradient's rule that reads losses and has results, in a training step of JAX.

Under TensorFlow such a rule reads and assigns variables. Under JAX it is traced before there are losses, and cannot
assign. So what it reads comes down to it as the gradient of an output, and what it finds goes out as the gradient of an
input.
"""

from collections.abc import Callable, Sequence
from typing import Any  # tensors

from keras import ops

__all__ = ["GradientTap"]


class GradientTap:
    """Carries numbers through one traced step.

    The step differentiates its loss with respect to `slot` as well, and adds `message` to the loss. The gradient at
    `slot` is then what the rule found.

    Args:
        slot: Zeros, as many as the rule has results.
        count: How many numbers the rule reads.

    Example:
        >>> GradientTap(ops.zeros(2), 3).is_used
        False
    """

    def __init__(self, slot: Any, count: int) -> None:
        self.slot, self.count = slot, count
        self._end: Any = None

    @property
    def is_used(self) -> bool:
        """Whether a tensor was forked."""
        return self._end is not None

    def fork(
        self, tensor: Any, copies: int, join: Callable[[Sequence, Any], tuple[Any, Any]]
    ) -> list[Any]:
        """Returns `tensor` several times.

        Args:
            tensor: Of any shape.
            copies: How many.
            join: From the gradients that come back and the numbers of `message` to the one gradient of `tensor`, and
                to the results, a vector as long as `slot`.
        """

        @ops.custom_gradient
        def copy(inputs: Any, slot: Any) -> tuple:
            def rule(*arguments: Any, **_: Any) -> tuple:
                # All gradients come as one tuple.
                *gradients, numbers = arguments[0] if len(arguments) == 1 else arguments
                # Loss scaling multiplies all gradients, the numbers too; the last of them was 1.
                return join(gradients, numbers[:-1] / numbers[-1])

            outputs = tuple(ops.copy(inputs) for _ in range(copies))
            return (*outputs, ops.zeros(self.count + 1)), rule

        *outputs, self._end = copy(tensor, self.slot)
        return outputs

    def message(self, numbers: Any) -> Any:
        """Returns 0 for the loss, which takes finite numbers to the rule."""
        sent = ops.concatenate([ops.cast(numbers, "float32"), ops.ones(1)])
        return ops.sum(ops.stop_gradient(sent) * self._end)
