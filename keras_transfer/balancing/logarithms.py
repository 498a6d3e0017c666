"""Weights by which relative changes count: the gradients of logarithms of losses."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_transfer.balancing import base
from keras_transfer.balancing.base import State, Tensor
from keras_transfer.core import checks

__all__ = ["FAMO", "GeometricMean", "LogLosses"]

_SMALLEST = 1e-7  # losses below this count as this
_BETA, _BETA_SQUARES = 0.9, 0.999  # Adam's
_ROUNDING = 1e-6  # by which logarithms of float32 losses may differ although the losses fell alike


@keras.saving.register_keras_serializable("keras_transfer")
class LogLosses(base.Balancer):
    """Weighs each loss by 1 / L: trains on the sum of the losses' logarithms.

    The balance of losses in Lin, Jiang, Ye, Zhang, Chen, Chen, Liu and Kwok, "Dual-Balancing for Multi-Task
    Learning" (2023). Losses must be positive; below 1e-7 they count as that. The weights have a scale of their
    own, also for a task that is alone.

    Example:
        >>> LogLosses().weights([4.0, 0.5], [True, True], {})[0].numpy()
        array([0.25, 2.  ], dtype=float32)
    """

    own_scale = True

    def weigh(self, losses: Tensor, known: Tensor, state: State) -> tuple[Tensor, State]:
        """Returns the inverse losses."""
        return 1 / ops.maximum(losses, _SMALLEST), state


@keras.saving.register_keras_serializable("keras_transfer")
class GeometricMean(base.Balancer):
    """Trains on the geometric mean of the n losses, n times: the weights are (prod_j L_j)**(1/n) / L_i.

    From Chennupati, Sistu, Yogamani and Rawashdeh, "MultiNet++: Multi-Stream Feature Aggregation and
    Geometric Loss Strategy for Multi-Task Learning" (2019). Losses must be positive; below 1e-7 they count as
    that.

    Example:
        >>> GeometricMean().weights([4.0, 1.0], [True, True], {})[0].numpy()
        array([0.5, 2. ], dtype=float32)
    """

    def weigh(self, losses: Tensor, known: Tensor, state: State) -> tuple[Tensor, State]:
        """Returns the gradients of the geometric mean, n times."""
        logs = ops.where(known, ops.log(ops.maximum(losses, _SMALLEST)), 0.0)
        mean = ops.sum(logs) / ops.maximum(ops.sum(ops.cast(known, "float32")), 1.0)
        return ops.exp(mean - logs), state


@keras.saving.register_keras_serializable("keras_transfer")
class FAMO(base.Balancer):
    """Lowers all losses by the same share: the tasks that fell least of late count more.

    From Liu, Feng, Stone and Liu, "FAMO: Fast Adaptive Multitask Optimization" (2023). The weights are
    proportional to z_i / L_i with z = softmax of logits, and sum to n. The paper measures what a step did on the
    batch that it was made with, at the price of another forward pass; here the losses of the next batch
    stand for it, so small batches make the logits noisy. As in the authors' code the logits are moved
    by Adam, with `decay` times the logits added to their gradient. Losses must be positive; below 1e-7 they
    count as that.

    Args:
        rate: Of the logits' Adam.
        decay: Pull of the logits to zero.

    Example:
        >>> balancer = FAMO()
        >>> weights, state = balancer.weights([4.0, 1.0], [True, True], balancer.initial(2))
        >>> weights.numpy()
        array([0.4, 1.6], dtype=float32)
        >>> weights, state = balancer.weights([4.0, 0.9], [True, True], state)  # the second one fell
        >>> bool(state["logits"][0] > state["logits"][1])
        True
    """

    def __init__(self, rate: float = 0.025, *, decay: float = 1e-3) -> None:
        self.rate = checks.number(rate, name="rate", above=0)
        self.decay = checks.number(decay, name="decay", minimum=0)

    def initial(self, tasks: int) -> dict[str, np.ndarray]:
        """Returns the logits, Adam's averages and counts, and the losses of the step before (0: none yet)."""
        names = ("logits", "average", "squares", "moves", "last")
        return {name: np.zeros(tasks, "float32") for name in names}

    def weigh(self, losses: Tensor, known: Tensor, state: State) -> tuple[Tensor, State]:
        """Moves the logits by how the losses changed since the step before, then returns the weights."""
        losses = ops.maximum(losses, _SMALLEST)
        new = {**self._move_logits(losses, known & (state["last"] > 0), state), "last": losses}
        share, count = base.shares(new["logits"], known)
        weights = share / losses
        return count * weights / ops.sum(weights), new

    def _move_logits(self, losses: Tensor, compared: Tensor, state: State) -> dict[str, Tensor]:
        """Takes a step of Adam for the tasks whose loss can be compared with the one before."""
        fallen = ops.log(ops.where(compared, state["last"] / losses, 1.0))
        share, _ = base.shares(state["logits"], compared)
        # Of differences, since what is left of equal numbers is rounding, and Adam makes a whole step of any number.
        ahead = ops.sum(share[None, :] * (fallen[:, None] - fallen[None, :]), axis=1)
        ahead = ops.where(ops.abs(ahead) > _ROUNDING, ahead, 0.0)
        gradient = share * ahead + self.decay * state["logits"]

        moves = state["moves"] + 1
        average = _BETA * state["average"] + (1 - _BETA) * gradient
        squares = _BETA_SQUARES * state["squares"] + (1 - _BETA_SQUARES) * ops.square(gradient)
        size = ops.sqrt(squares / (1 - _BETA_SQUARES**moves)) + 1e-8
        logits = state["logits"] - self.rate * average / (1 - _BETA**moves) / size

        new = {"logits": logits, "average": average, "squares": squares, "moves": moves}
        return {name: ops.where(compared, value, state[name]) for name, value in new.items()}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"rate": self.rate, "decay": self.decay}
