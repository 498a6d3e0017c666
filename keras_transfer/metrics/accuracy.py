"""The share of right answers, also where targets are distributions."""

from typing import Any

import keras
from keras import ops

__all__ = ["Accuracy"]


@keras.saving.register_keras_serializable("keras_transfer")
class Accuracy(keras.metrics.SparseCategoricalAccuracy):
    """How often the likeliest class is the target, or the largest part of a target that is a distribution (of MixUp).

    Example:
        >>> import numpy as np
        >>> answers = np.array([[0.9, 0.1], [0.6, 0.4]])
        >>> [float(Accuracy()(targets, answers)) for targets in (np.array([0, 1]), np.eye(2))]
        [0.5, 0.5]
    """

    def __init__(self, name: str = "accuracy", dtype: object = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def to_keras(self) -> keras.metrics.Metric:
        """Returns Keras's metric, which is equal where targets are class ids."""
        return keras.metrics.SparseCategoricalAccuracy(name=self.name)

    def update_state(self, y_true: object, y_pred: Any, sample_weight: object = None) -> object:
        """Adds a batch.

        Args:
            y_true: Class ids (batch,) or (batch, 1), or distributions (batch, classes).
            y_pred: Probabilities (batch, classes).
            sample_weight: None, or a weight an example.
        """
        targets = ops.convert_to_tensor(y_true)
        if len(targets.shape) == 2 and targets.shape[-1] == y_pred.shape[-1]:
            targets = ops.argmax(targets, axis=-1)
        return super().update_state(targets, y_pred, sample_weight)
