"""Cross-entropy of tags, each of which is there or not."""

from typing import Any

from keras import losses, ops, saving

from keras_transfer.losses import base

__all__ = ["TagCrossentropy"]


@saving.register_keras_serializable("keras_transfer")
class TagCrossentropy(base.TaskLoss):
    """Binary cross-entropy of each tag's probability, the mean over the tags that are known of an example.

    Targets lie in [0, 1] (between them where examples are mixed); NaN is a tag that is not known and does not count.
    Examples of weight 0 (missing labels) do not count either.

    Example:
        >>> import numpy as np
        >>> targets, answers = np.array([[1.0, float("nan")]], "float32"), np.array([[0.5, 0.9]], "float32")
        >>> round(float(TagCrossentropy()(targets, answers)), 4)  # -ln 0.5
        0.6931
    """

    def __init__(
        self,
        *,
        reduction: str = "mean_with_sample_weight",
        name: str = "tag_crossentropy",
        dtype: object = None,
    ) -> None:
        super().__init__(reduction=reduction, name=name, dtype=dtype)

    def to_keras(self) -> losses.Loss:
        """Returns Keras's loss, which is equal where all tags of an example are known, and NaN elsewhere."""
        return losses.BinaryCrossentropy(reduction=self.reduction, name=self.name)

    def call(self, y_true: Any, y_pred: Any) -> object:
        """Returns the loss of each example.

        Args:
            y_true: Whether each tag is there, (batch, tags).
            y_pred: Probabilities (batch, tags).
        """
        targets = ops.cast(y_true, y_pred.dtype)
        known = ops.logical_not(ops.isnan(targets))
        targets = ops.where(known, targets, ops.zeros_like(targets))
        # Keras finds the sigmoid behind `y_pred` and works from its logits, so 0 and 1 stay finite.
        each = ops.binary_crossentropy(targets, y_pred)
        known = ops.cast(known, y_pred.dtype)
        return ops.sum(each * known, axis=-1) / ops.maximum(ops.sum(known, axis=-1), 1.0)
