"""Weights that are learned: each loss is brought to 1, at a price for a small weight."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_transfer.balancing import base
from keras_transfer.balancing.base import State, Tensor
from keras_transfer.core import checks

__all__ = ["IMTLL", "Uncertainty"]

_FURTHEST = 15.0  # of the logarithm of a weight: 3e6 or its inverse


@keras.saving.register_keras_serializable("keras_transfer")
class Uncertainty(base.Balancer):
    """Weighs each loss by exp(-s), s learned: the total is sum_i exp(-s_i) L_i + s_i.

    From Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry
    and Semantics" (2018), where s is the logarithm of a task's noise variance; the factor 1/2 that the
    paper has for regression is left out. s is moved here, by the total's gradient in s, at a rate of its own,
    so that it depends on no optimizer; the gradient is held within 1, as one large loss would throw s far
    off. At rest a weight is 1 / L. Losses should be positive. The weights have a scale of their own: a task
    that is alone has its weighted loss brought to 1 like any other.

    Args:
        rate: How far s moves in a step, at most.

    Example:
        >>> balancer = Uncertainty(rate=0.5)
        >>> state = balancer.initial(2)
        >>> for step in range(50):
        ...     weights, state = balancer.weights([4.0, 0.5], [True, True], state)
        >>> weights.numpy().round(3)
        array([0.25, 2.  ], dtype=float32)
    """

    own_scale = True

    def __init__(self, rate: float = 0.01) -> None:
        self.rate = checks.number(rate, name="rate", above=0)

    def initial(self, tasks: int) -> dict[str, np.ndarray]:
        """Returns s = 0 for each task."""
        return {"log_variance": np.zeros(tasks, "float32")}

    def weigh(self, losses: Tensor, known: Tensor, state: State) -> tuple[Tensor, State]:
        """Returns exp(-s), then moves s."""
        s = state["log_variance"]
        weights = ops.exp(-s)
        moved = s - self.rate * ops.clip(1 - weights * losses, -1.0, 1.0)
        return weights, {"log_variance": ops.clip(moved, -_FURTHEST, _FURTHEST)}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"rate": self.rate}


@keras.saving.register_keras_serializable("keras_transfer")
class IMTLL(Uncertainty):
    """Weighs each loss by exp(s), s learned: the total is sum_i exp(s_i) L_i - s_i.

    The part for losses of Liu, Li, Kuang, Xue, Chen, Yang, Liao and Zhang, "Towards Impartial Multi-task
    Learning" (2021). Its s is minus that of `Uncertainty` as it stands here, and so the two give the same
    weights; it has a name of its own for those who look for it.

    Args:
        rate: How far s moves in a step, at most.

    Example:
        >>> IMTLL(rate=0.1).weights([4.0], [True], {"log_variance": np.zeros(1, "float32")})[0].numpy()
        array([1.], dtype=float32)
    """
