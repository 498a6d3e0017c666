"""Directions along which no task loses: the shortest in the gradients' hull, and the one near their mean."""

from typing import Any

import keras
from keras import ops

from keras_transfer.balancing import algebra, base
from keras_transfer.balancing.base import State, Tensor
from keras_transfer.core import checks

__all__ = ["MGDA", "CAGrad"]


@keras.saving.register_keras_serializable("keras_transfer")
class MGDA(base.Balancer):
    """Takes the shortest vector in the convex hull of the n gradients, n times.

    From Désidéri, "Multiple-gradient descent algorithm (MGDA) for multiobjective optimization" (2012), and Sener and
    Koltun, "Multi-Task Learning as Multi-Objective Optimization" (2018), where the coefficients sum to 1; here they
    sum to n. Found exactly, but for a ridge of a millionth, which makes equal gradients share evenly. Short
    gradients weigh most: one task whose gradient is nearly nothing nearly stops all.

    Example:
        >>> MGDA().coefficients([[1.0, 0.0], [0.0, 4.0]], [1.0, 1.0], [True, True], {})[0].numpy().round(3)
        array([1.6, 0.4], dtype=float32)
    """

    kind = "gradients"

    def combine(
        self, gram: Tensor, losses: Tensor, known: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Returns n times the weights of the shortest vector."""
        _, found = algebra.steepest(gram, known, None)
        found = ops.where(known, found, 0.0)
        count = ops.sum(ops.cast(known, algebra.PRECISE))
        return count * found / ops.sum(found), state


@keras.saving.register_keras_serializable("keras_transfer")
class CAGrad(base.Balancer):
    """Stays within `c` times the mean gradient's length of it, and helps the worst-off task most.

    From Liu, Liu, Jin, Stone and Liu, "Conflict-Averse Gradient Descent for Multi-task Learning" (2021):
    d = g0 + c |g0| / |gw| gw, with g0 the mean and w, of sum 1, at the least of <gw, g0> + c |g0| |gw|. Here d is taken
    n / (1 + c) times, so that c = 0 is the sum and tasks that agree get 1. The larger c, the closer to `MGDA` in
    direction. Found exactly, but for a ridge of a millionth.

    Args:
        c: Radius as a share of the mean gradient's length.

    Example:
        >>> CAGrad(0.0).coefficients([[1.0, 0.0], [0.0, 4.0]], [1.0, 1.0], [True, True], {})[0].numpy()
        array([1., 1.], dtype=float32)
        >>> CAGrad(0.5).coefficients([[1.0, 0.0], [0.0, 4.0]], [1.0, 1.0], [True, True], {})[0].numpy().round(3)
        array([1.412, 0.667], dtype=float32)
    """

    kind = "gradients"

    def __init__(self, c: float = 0.5) -> None:
        self.c = checks.number(c, name="c", minimum=0)

    def combine(
        self, gram: Tensor, losses: Tensor, known: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Returns (1 + n m) / (1 + c) with m what is added to the mean."""
        added, _ = algebra.steepest(gram, known, self.c)
        count = ops.sum(ops.cast(known, algebra.PRECISE))
        return (1 + count * added) / (1 + self.c), state

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"c": self.c}
