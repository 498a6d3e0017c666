"""Weights that stay as they are."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_transfer.balancing import base
from keras_transfer.balancing.base import State, Tensor
from keras_transfer.core import checks

__all__ = ["Fixed"]


@keras.saving.register_keras_serializable("keras_transfer")
class Fixed(base.Balancer):
    """Gives each task a fixed weight; without any, all count 1 and the losses are summed.

    Args:
        weights: One a task, not negative, in the tasks' order.

    Example:
        >>> Fixed([1, 0.5]).weights([3.0, 4.0], [True, True], {})[0].numpy()
        array([1. , 0.5], dtype=float32)
    """

    is_constant = True

    def __init__(self, weights: Sequence[float] | None = None) -> None:
        if weights is not None:
            weights = [
                checks.number(weight, name=f"weights[{at}]", minimum=0)
                for at, weight in enumerate(weights)
            ]
        self.fixed = weights
        self.own_scale = weights is not None

    def weigh(self, losses: Tensor, known: Tensor, state: State) -> tuple[Tensor, State]:
        """Returns the weights."""
        if self.fixed is None:
            return ops.ones_like(losses), state
        if len(self.fixed) != losses.shape[0]:
            raise checks.error(
                "`weights` must hold one a task",
                given=f"{len(self.fixed)} for {losses.shape[0]} tasks",
            )
        return ops.convert_to_tensor(self.fixed, "float32"), state

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"weights": self.fixed}
