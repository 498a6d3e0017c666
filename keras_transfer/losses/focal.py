"""The focal loss: what is easy counts little."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_transfer.core import checks
from keras_transfer.losses import class_loss

__all__ = ["Focal"]

_SMALLEST = (
    1e-7  # below this, 1 - p is rounding; its power must neither vanish nor have an infinite slope
)


@keras.saving.register_keras_serializable("keras_transfer")
class Focal(class_loss.ClassLoss):
    """Focal loss `-w * sum_c q_c (1 - p_c)**gamma * log p_c` of probabilities p.

    From Lin, Goyal, Girshick, He and Dollar, "Focal Loss for Dense Object Detection" (2017), for any
    number of classes; class weights take the part of its alpha. gamma = 0 is the cross-entropy.
    Examples that are classified well weigh little: at gamma = 2, one with p = 0.9 weighs 1/100.
    Probabilities come out less sure than those of the cross-entropy.

    Args:
        gamma: How much easy examples are held back.
        label_smoothing: As for `Crossentropy`.
        class_weights: As for `Crossentropy`.

    Example:
        >>> import numpy as np
        >>> round(float(Focal(gamma=2.0)(np.array([0]), np.array([[0.5, 0.5]]))), 4)  # (1 - 0.5)**2 * ln 2
        0.1733
    """

    def __init__(
        self,
        gamma: float = 2.0,
        *,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | str | None = None,
        reduction: str = "mean_with_sample_weight",
        name: str = "focal",
        dtype: object = None,
    ) -> None:
        super().__init__(
            label_smoothing=label_smoothing,
            class_weights=class_weights,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        self.gamma = checks.number(gamma, name="gamma", minimum=0)

    def each(self, targets: Any, y_pred: Any) -> object:
        """Returns the loss of each example."""
        if not self.gamma:
            return ops.categorical_crossentropy(targets, y_pred)
        held_back = targets * ops.power(ops.maximum(1.0 - y_pred, _SMALLEST), self.gamma)
        # As a cross-entropy, whose logits Keras finds behind `y_pred`. Its gradient takes targets for a distribution.
        total = ops.sum(held_back, axis=-1, keepdims=True)
        share = held_back / ops.where(total == 0, 1.0, total)
        return total[:, 0] * ops.categorical_crossentropy(share, y_pred)

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {**super().get_config(), "gamma": self.gamma}
