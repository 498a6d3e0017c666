"""What losses of one class out of several share: targets of every form, smoothing, class weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_transfer.core import checks
from keras_transfer.losses import base

__all__ = ["ClassLoss"]


class ClassLoss(base.TaskLoss):
    """A loss of probabilities against class ids or distributions; a subclass says what one example costs.

    Class weights multiply an example's loss. A distribution q (of MixUp, say) has the loss of its
    ids, each with its probability: its weight is `sum_c q_c w_c`, and what it wants of each class is
    proportional to `q_c w_c`. The mean of a batch is weighted: examples of weight 0 (missing labels) do
    not count, and a batch without any label costs 0.

    Args:
        label_smoothing: Share s in [0, 1) of the target that is spread over all classes.
        class_weights: A weight per class, or None; "balanced" and "effective" are place-holders that fail
            when used, for weights that are still to be computed from the training data.

    Example:
        >>> class Brier(ClassLoss):
        ...     def each(self, targets, y_pred):
        ...         return ops.sum(ops.square(targets - y_pred), axis=-1)
        >>> float(Brier()(np.array([0]), np.array([[0.5, 0.5]])))
        0.5
    """

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | str | None = None,
        reduction: str = "mean_with_sample_weight",
        name: str = "class_loss",
        dtype: object = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = checks.share(label_smoothing, name="label_smoothing")
        self.class_weights: list[float] | str | None
        if class_weights is None or isinstance(class_weights, str):
            self.class_weights = class_weights
        else:
            self.class_weights = [float(weight) for weight in class_weights]

    def each(self, targets: object, y_pred: object) -> object:
        """Returns the loss of each example, before its weight.

        Args:
            targets: Distributions (batch, classes), smoothed.
            y_pred: Probabilities (batch, classes).
        """
        raise NotImplementedError

    def call(self, y_true: Any, y_pred: Any) -> object:
        """Returns the loss of each example.

        Args:
            y_true: Class ids (batch,) or (batch, 1), or distributions (batch, classes).
            y_pred: Probabilities (batch, classes).
        """
        if isinstance(self.class_weights, str):
            raise base.unsettled("class weights", self.class_weights)
        classes = y_pred.shape[-1]
        targets = _distributions(y_true, classes, y_pred.dtype)
        weights = None
        if self.class_weights is not None:
            targets = targets * ops.cast(np.array(self.class_weights), y_pred.dtype)
            weights = ops.sum(targets, axis=-1)
            targets = targets / ops.where(weights == 0, 1.0, weights)[:, None]
        smooth = targets * (1.0 - self.label_smoothing) + self.label_smoothing / classes
        values = self.each(smooth, y_pred)
        return values if weights is None else values * weights

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {
            **super().get_config(),
            "label_smoothing": self.label_smoothing,
            "class_weights": self.class_weights,
        }


def _distributions(y_true: object, classes: int, dtype: str) -> Any:
    """Returns class ids as one-hot rows; distributions unchanged."""
    targets = ops.convert_to_tensor(y_true)
    if len(targets.shape) < 2 or targets.shape[-1] != classes:
        ids = ops.cast(ops.reshape(targets, (-1,)), "int32")
        known = ops.cast(ops.logical_and(ids >= 0, ids < classes), dtype)
        # A class id out of range would be a row of zeros, a loss of 0: nothing learned, nothing said. NaN is seen.
        return ops.one_hot(ids, classes, dtype=dtype) / known[:, None]
    return ops.cast(targets, dtype)
