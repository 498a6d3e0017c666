"""Dynamic weight average: what stopped falling counts more."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_transfer.balancing import base
from keras_transfer.balancing.base import State, Tensor
from keras_transfer.core import checks

__all__ = ["DWA"]

_STEEPEST = 1e3  # ratio of two losses


@keras.saving.register_keras_serializable("keras_transfer")
class DWA(base.Balancer):
    """Weighs each loss by how it changed of late: n * softmax(r / temperature), r a loss over the one before.

    From Liu, Johns and Davison, "End-to-End Multi-Task Learning with Attention" (2019). The paper compares
    averages over epochs; here they are over windows of steps, which each task counts for itself, in steps
    that have labels for it. Until a task has two windows its r is 1. Losses should be positive.

    Args:
        steps: Length of a window; the steps of an epoch give the paper's method.
        temperature: The larger, the more even the weights.

    Example:
        >>> balancer = DWA(steps=1)
        >>> state = balancer.initial(2)
        >>> for losses in ([1.0, 1.0], [1.0, 0.5], [1.0, 0.25]):
        ...     weights, state = balancer.weights(losses, [True, True], state)
        >>> weights.numpy().round(3)  # 2 * softmax([1 / 2, 0.5 / 2])
        array([1.124, 0.876], dtype=float32)
    """

    def __init__(self, steps: int = 100, *, temperature: float = 2.0) -> None:
        self.steps = checks.integer(steps, name="steps")
        self.temperature = checks.number(temperature, name="temperature", above=0)

    def initial(self, tasks: int) -> dict[str, np.ndarray]:
        """Returns the running sum and its count, and the means of the last two windows (0: none yet)."""
        return {name: np.zeros(tasks, "float32") for name in ("sum", "count", "last", "before")}

    def weigh(self, losses: Tensor, known: Tensor, state: State) -> tuple[Tensor, State]:
        """Returns weights by the windows so far, then takes the losses in."""
        last, before = state["last"], state["before"]
        has_two = (last > 0) & (before > 0)
        ratio = ops.where(has_two, last / ops.where(before > 0, before, 1.0), 1.0)
        share, count = base.shares(ops.minimum(ratio, _STEEPEST) / self.temperature, known)

        total, seen = state["sum"] + losses, state["count"] + 1
        full = seen >= self.steps
        new = {
            "sum": ops.where(full, 0.0, total),
            "count": ops.where(full, 0.0, seen),
            "last": ops.where(full, total / seen, last),
            "before": ops.where(full, last, before),
        }
        return count * share, new

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"steps": self.steps, "temperature": self.temperature}
