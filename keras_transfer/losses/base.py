"""What the losses of tasks have in common."""

from typing import Any

import keras
from keras import ops

from keras_transfer.core import checks

__all__ = ["TaskLoss", "unsettled", "with_channels"]


class TaskLoss(keras.losses.Loss):
    """A loss that a task may settle anew from the training targets, and that takes mixed and smoothed targets.

    Its default mean is weighted: examples of weight 0 (missing labels) do not count, and a batch without any label
    costs 0.

    Example:
        >>> class Zero(TaskLoss):
        ...     def call(self, y_true, y_pred):
        ...         return keras.ops.zeros(keras.ops.shape(y_pred)[:1])
        >>> Zero().reduction
        'mean_with_sample_weight'
    """

    def __init__(
        self,
        *,
        reduction: str = "mean_with_sample_weight",
        name: str | None = None,
        dtype: object = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)


def with_channels(targets: Any, answers: Any) -> Any:
    """Returns maps or pictures of one channel with a last axis for it, as answers have it, in their dtype.

    Example:
        >>> with_channels(ops.ones((2, 4, 4)), ops.ones((2, 4, 4, 1))).shape
        TensorShape([2, 4, 4, 1])
    """
    if len(targets.shape) < len(answers.shape):
        targets = ops.expand_dims(targets, -1)
    return ops.cast(targets, answers.dtype)


def unsettled(what: str, given: object) -> checks.InputError:
    """Returns the error for a value that should have come from the training data."""
    return checks.error(
        f"{what} must be known before training",
        given=repr(given),
        fix="Use kt.fine_tune, or call kt.compile(model, data=data) before model.fit.",
    )
