"""GradNorm: weights that are learned so that the tasks' gradients have comparable lengths."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_transfer.balancing import base
from keras_transfer.balancing.base import State, Tensor
from keras_transfer.core import checks

__all__ = ["GradNorm"]

_SMALLEST = 1e-3  # weight, before they are made to sum up again
_SLOWEST, _FASTEST = 1e3, 1e-6  # a loss as a share of its first value


@keras.saving.register_keras_serializable("keras_transfer")
class GradNorm(base.Balancer):
    """Learns weights w that bring each w_i |g_i| to its target, mean(w |g|) * r_i**alpha.

    From Chen, Badrinarayanan, Lee and Rabinovich, "GradNorm: Gradient Normalization for Adaptive Loss
    Balancing in Deep Multitask Networks" (2018). r_i compares how far a loss came down from its first value
    with the mean over tasks: above 1 for the slow ones, whose gradients are thus made longer. w
    moves by the gradient of sum_i |w_i |g_i| - target_i|, the target held, then all of it is scaled to its sum before,
    n, which the known tasks share among them. Lengths are taken relative to the tasks' root mean square, so that the
    rate means the same for every network. Losses should be positive.

    Args:
        alpha: How strongly the slow tasks are pushed; 0 makes all gradients equally long.
        rate: How fast w moves.

    Example:
        >>> balancer = GradNorm(alpha=0.0)
        >>> state = balancer.initial(2)
        >>> for step in range(100):
        ...     found, state = balancer.coefficients([[9.0, 0.0], [0.0, 1.0]], [1.0, 1.0], [True, True], state)
        >>> found.numpy().round(1)  # 0.5 * 3 = 1.5 * 1
        array([0.5, 1.5], dtype=float32)
    """

    kind = "gradients"

    def __init__(self, alpha: float = 1.5, *, rate: float = 0.025) -> None:
        self.alpha = checks.number(alpha, name="alpha", minimum=0)
        self.rate = checks.number(rate, name="rate", above=0)

    def initial(self, tasks: int) -> dict[str, np.ndarray]:
        """Returns weights of 1, and the first losses (0: none yet)."""
        return {"weights": np.ones(tasks, "float32"), "first": np.zeros(tasks, "float32")}

    def weigh(self, losses: Tensor, known: Tensor, state: State) -> tuple[Tensor, State]:
        """Returns the weights as they stand, for the losses of what the tasks do not share; the state stays."""
        return _scale_to_known(known, state)[0], state

    def combine(
        self, gram: Tensor, losses: Tensor, known: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Returns the weights as they stand, then moves them."""
        weights, scale = _scale_to_known(known, state)
        first = ops.where(state["first"] > 0, state["first"], losses)
        left = ops.where(first > 0, losses / ops.where(first > 0, first, 1.0), 1.0)
        left = ops.clip(left, _FASTEST, _SLOWEST)

        lengths = ops.sqrt(ops.diagonal(gram))
        target = _mean(weights * lengths, known) * (left / _mean(left, known)) ** self.alpha
        moved = weights - self.rate * lengths * ops.sign(weights * lengths - target)
        moved = ops.maximum(moved, _SMALLEST)

        return weights, {"weights": scale * moved / _mean(moved, known), "first": first}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"alpha": self.alpha, "rate": self.rate}


def _mean(values: Tensor, known: Tensor) -> Tensor:
    known = ops.cast(known, "float32")
    return ops.sum(values * known) / ops.maximum(ops.sum(known), 1.0)


def _scale_to_known(known: Tensor, state: State) -> tuple[Tensor, Tensor]:
    """Returns the weights with a mean of 1 over the known tasks, and what they were divided by."""
    scale = _mean(state["weights"], known)
    return state["weights"] / scale, scale
