"""Cross-entropy of class ids or class distributions, with smoothing and class weights."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_transfer.core import checks

__all__ = ["Crossentropy"]


@keras.saving.register_keras_serializable("keras_transfer")
class Crossentropy(keras.losses.Loss):
    """Cross-entropy `-w_c * sum_c q_c log p_c` of probabilities p.

    The target q of class id c is `(1 - s)` at c plus `s / classes` everywhere, for smoothing s.
    Class weights multiply an example's loss (a distribution's weight is its expected one); the
    mean is over examples, so weights of mean 1 over the data keep the loss's size.

    Args:
        label_smoothing: s in [0, 1).
        class_weights: A weight per class, or None; "balanced" is a place-holder that fails when used,
            for weights that are still to be computed from the training data.

    Example:
        >>> float(Crossentropy()(np.array([0]), np.array([[0.5, 0.5]])))  # -ln 0.5
        0.6931471824645996
    """

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | str | None = None,
        reduction: str = "sum_over_batch_size",
        name: str = "crossentropy",
        dtype: object = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = checks.share(label_smoothing, name="label_smoothing")
        fixed = class_weights is None or isinstance(class_weights, str)
        self.class_weights = class_weights if fixed else [float(weight) for weight in class_weights]

    def call(self, y_true: object, y_pred: object) -> object:
        """Returns the loss of each example.

        Args:
            y_true: Class ids (batch,) or (batch, 1), or distributions (batch, classes).
            y_pred: Probabilities (batch, classes).
        """
        if self.class_weights == "balanced":
            raise checks.error(
                "class weights must be known before training",
                given="'balanced'",
                fix="Use kt.fine_tune, or call kt.compile(model, data=data) before model.fit.",
            )
        classes = y_pred.shape[-1]
        targets = ops.convert_to_tensor(y_true)
        if len(targets.shape) < 2 or targets.shape[-1] != classes:
            ids = ops.cast(ops.reshape(targets, (-1,)), "int32")
            known = ops.cast(ops.logical_and(ids >= 0, ids < classes), y_pred.dtype)
            # A class id out of range would be a row of zeros, a loss of 0: nothing learned, nothing said. NaN is seen.
            targets = ops.one_hot(ids, classes, dtype=y_pred.dtype) / known[:, None]
        targets = ops.cast(targets, y_pred.dtype)
        smooth = targets * (1.0 - self.label_smoothing) + self.label_smoothing / classes
        # Keras finds the softmax behind `y_pred` and works from its logits, so p = 0 stays finite.
        values = ops.categorical_crossentropy(smooth, y_pred)
        if self.class_weights is None:
            return values
        return values * ops.matmul(targets, ops.cast(np.array(self.class_weights), y_pred.dtype))

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {
            **super().get_config(),
            "label_smoothing": self.label_smoothing,
            "class_weights": self.class_weights,
        }
