"""Random loss weighting: the baseline that a method should beat."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_transfer.balancing import base
from keras_transfer.balancing.base import State, Tensor
from keras_transfer.core import checks

__all__ = ["RLW"]


@keras.saving.register_keras_serializable("keras_transfer")
class RLW(base.Balancer):
    """Weighs the losses at random in each step: n * softmax of normal draws.

    From Lin, Ye, Zhang and Tsang, "Reasonable Effectiveness of Random Weighting: A Litmus Test for
    Multi-Task Learning" (2022). The same seed and step give the same weights.

    Args:
        seed: Chooses the weights.

    Example:
        >>> balancer = RLW(seed=1)
        >>> weights, state = balancer.weights([1.0, 1.0], [True, True], balancer.initial(2))
        >>> round(float(weights.numpy().sum()), 4), int(state["step"])
        (2.0, 1)
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = checks.integer(seed, name="seed", minimum=0, below=2**31)

    def initial(self, tasks: int) -> dict[str, np.ndarray]:
        """Returns the counter of steps."""
        return {"step": np.zeros((), "int32")}

    def weigh(self, losses: Tensor, known: Tensor, state: State) -> tuple[Tensor, State]:
        """Returns random weights."""
        uniform = base.draws(known, self.seed, state["step"])
        normal = 2.0**0.5 * ops.erfinv(2 * uniform - 1)
        share, count = base.shares(normal, known)
        return count * share, {"step": state["step"] + 1}

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"seed": self.seed}
