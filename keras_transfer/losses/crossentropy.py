"""Cross-entropy of class ids or class distributions, with smoothing and class weights."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_transfer.losses import class_loss

__all__ = ["Crossentropy"]


@keras.saving.register_keras_serializable("keras_transfer")
class Crossentropy(class_loss.ClassLoss):
    """Cross-entropy `-w_c * sum_c q_c log p_c` of probabilities p.

    The target q of class id c is `(1 - s)` at c plus `s / classes` everywhere, for smoothing s.
    Class weights multiply an example's loss; the mean is over examples, so weights of mean 1 over
    the data keep the loss's size. A distribution (of MixUp, say) has the loss of its ids, each
    with its probability: its weight is `sum_c q_c w_c`, and what it wants of each class is
    proportional to `q_c w_c`.

    Args:
        label_smoothing: s in [0, 1).
        class_weights: A weight per class, or None; "balanced" and "effective" are place-holders that
            fail when used, for weights that are still to be computed from the training data.

    Example:
        >>> import numpy as np
        >>> float(Crossentropy()(np.array([0]), np.array([[0.5, 0.5]])))  # -ln 0.5
        0.6931471824645996
    """

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | str | None = None,
        reduction: str = "mean_with_sample_weight",
        name: str = "crossentropy",
        dtype: object = None,
    ) -> None:
        super().__init__(
            label_smoothing=label_smoothing,
            class_weights=class_weights,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )

    def to_keras(self) -> keras.losses.Loss | None:
        """Returns Keras's equal loss of class ids; None where labels are smoothed or classes weighted."""
        if self.label_smoothing or self.class_weights is not None:
            return None
        return keras.losses.SparseCategoricalCrossentropy(reduction=self.reduction, name=self.name)

    def each(self, targets: object, y_pred: object) -> object:
        """Returns the loss of each example."""
        # Keras finds the softmax behind `y_pred` and works from its logits, so p = 0 stays finite.
        return ops.categorical_crossentropy(targets, y_pred)
