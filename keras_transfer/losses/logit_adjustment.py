"""Cross-entropy with logits that are shifted by how frequent the classes are."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_transfer.core import checks
from keras_transfer.losses import base, class_loss

__all__ = ["LogitAdjusted"]

_SMALLEST = 1e-37  # the logarithm of anything less is that of 0 in float32


@keras.saving.register_keras_serializable("keras_transfer")
class LogitAdjusted(class_loss.ClassLoss):
    """Cross-entropy of the probabilities `p_c pi_c**tau / sum_k p_k pi_k**tau`, for class priors pi.

    From Menon, Jayasumana, Rawat, Jain, Veit and Kumar, "Long-tail learning via logit adjustment"
    (2021): logits of training are shifted by `tau * log pi`. The network's own answers p, which are not
    shifted, then suit data in which all classes are alike frequent: rare classes are found more
    often, at the cost of some accuracy where the frequent ones are frequent.

    Args:
        priors: How frequent each class is in the training data, as shares or counts; None is a
            place-holder that fails when used, for priors that are still to be counted.
        tau: 1 aims at the balanced error, 0 is the cross-entropy.
        label_smoothing: As for `Crossentropy`.
        class_weights: As for `Crossentropy`; rarely of use here as well.

    Example:
        >>> loss = LogitAdjusted([3, 1])
        >>> round(float(loss(np.array([0]), np.array([[0.5, 0.5]]))), 4)  # -ln 0.75
        0.2877
    """

    def __init__(
        self,
        priors: Sequence[float] | None = None,
        *,
        tau: float = 1.0,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | str | None = None,
        reduction: str = "mean_with_sample_weight",
        name: str = "logit_adjusted",
        dtype: object = None,
    ) -> None:
        super().__init__(
            label_smoothing=label_smoothing,
            class_weights=class_weights,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        self.priors = (
            None
            if priors is None
            else [checks.number(each, name="priors", above=0) for each in priors]
        )
        self.tau = checks.number(tau, name="tau", minimum=0)

    def each(self, targets: object, y_pred: Any) -> object:
        """Returns the loss of each example."""
        if self.priors is None:
            raise base.unsettled("class priors", None)
        if len(self.priors) != y_pred.shape[-1]:
            raise checks.error(
                f"`priors` must have {y_pred.shape[-1]} entries, one a class",
                given=len(self.priors),
            )
        shift = self.tau * np.log(self.priors)
        shift = ops.cast(
            shift - shift.max(), y_pred.dtype
        )  # a constant in all logits changes nothing
        # -sum q log(p e**shift / Z), with log p from the logits that Keras finds behind `y_pred`.
        normaliser = ops.maximum(ops.matmul(y_pred, ops.exp(shift)), _SMALLEST)
        return (
            ops.categorical_crossentropy(targets, y_pred)
            - ops.matmul(targets, shift)
            + ops.log(normaliser)
        )

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {**super().get_config(), "priors": self.priors, "tau": self.tau}
