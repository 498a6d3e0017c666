"""Huber loss in units of the target's own spread."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_transfer.losses import base

__all__ = ["ScaledHuber"]


@keras.saving.register_keras_serializable("keras_transfer")
class ScaledHuber(base.TaskLoss):
    """Huber loss of `(y_true - y_pred) / scale`: quadratic to `delta`, then linear.

    With the targets' standard deviation as scale, a loss of 0.5 is that of guessing the mean
    whatever the unit, so tasks in years and in metres weigh alike. The mean of a batch is weighted:
    examples of weight 0 (missing labels) do not count, and a batch without any label costs 0.

    Args:
        scale: The unit, a number or one per output.
        delta: Where the loss turns linear, in units of `scale`.

    Example:
        >>> float(ScaledHuber(scale=10.0)(np.array([[30.0]]), np.array([[20.0]])))  # 0.5 * (10 / 10)**2
        0.5
    """

    def __init__(
        self,
        *,
        scale: float | Sequence[float] | np.ndarray = 1.0,
        delta: float = 1.0,
        reduction: str = "mean_with_sample_weight",
        name: str = "scaled_huber",
        dtype: object = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.scale = np.asarray(scale, "float64").tolist()
        self.delta = float(delta)

    def to_keras(self) -> keras.losses.Loss | None:
        """Returns Keras's equal loss, None in another unit."""
        if self.scale != 1.0:
            return None
        return keras.losses.Huber(delta=self.delta, reduction=self.reduction, name=self.name)

    def call(self, y_true: Any, y_pred: Any) -> object:
        """Returns the loss of each example, the mean over its outputs.

        Args:
            y_true: Values (batch,) or (batch, outputs).
            y_pred: Values (batch, outputs).
        """
        targets = ops.reshape(ops.cast(y_true, y_pred.dtype), ops.shape(y_pred))
        error = ops.abs(targets - y_pred) / ops.cast(np.array(self.scale), y_pred.dtype)
        quadratic = 0.5 * ops.square(error)
        linear = self.delta * (error - 0.5 * self.delta)
        return ops.mean(ops.where(error <= self.delta, quadratic, linear), axis=-1)

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {**super().get_config(), "scale": self.scale, "delta": self.delta}
