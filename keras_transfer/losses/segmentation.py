"""Losses of a class for every pixel."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops, saving

from keras_transfer.core import checks, lookup
from keras_transfer.losses import base

__all__ = ["PARTS", "SegmentationLoss"]

IGNORED = 255
SMALL = 1e-6


@saving.register_keras_serializable("keras_transfer")
class SegmentationLoss(base.TaskLoss):
    """The sum of one or several losses of masks: each is the mean over the known pixels, or over classes, of an image.

    - "crossentropy": of the pixels, weighted by class;
    - "focal": the same, times (1 - p)^2 of the right class (Lin et al. 2017), so that easy pixels count less;
    - "dice": 1 - the Dice score of the probabilities, the mean over the classes that the image has;
    - "lovasz": the Lovász extension of 1 - IoU (Berman, Triki and Blaschko 2018), over the same classes.

    Pixels of value `ignored` do not count; an image without any known pixel costs 0, and one of weight 0 (a missing
    mask) does not count.

    Args:
        parts: Names of the losses.
        class_weights: A weight for the pixels of each class, or None; "balanced" and "effective" are place-holders
            that fail when used, for weights that are still to be computed from the training data.
        ignored: The value of pixels that have no class.

    Example:
        >>> mask, answers = np.array([[[0, 255]]]), np.full((1, 1, 2, 2), 0.5, "float32")
        >>> round(float(SegmentationLoss(["crossentropy"])(mask, answers)), 4)  # -ln 0.5
        0.6931
    """

    def __init__(
        self,
        parts: Sequence[str] = ("crossentropy", "dice"),
        *,
        class_weights: Sequence[float] | str | None = None,
        ignored: int = IGNORED,
        reduction: str = "mean_with_sample_weight",
        name: str = "segmentation_loss",
        dtype: object = None,
    ) -> None:
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        self.parts = [parts] if isinstance(parts, str) else list(parts)
        for part in self.parts:
            lookup.find(part, PARTS, argument="loss")
        if not self.parts:
            raise checks.error("`loss` must name at least one loss", given="none")
        is_settled = class_weights is not None and not isinstance(class_weights, str)
        self.class_weights: Any = (
            [float(weight) for weight in class_weights or ()] if is_settled else class_weights
        )
        self.ignored = ignored

    def call(self, y_true: Any, y_pred: Any) -> object:
        """Returns the loss of each image.

        Args:
            y_true: Class ids (batch, height, width[, 1]).
            y_pred: Probabilities (batch, height, width, classes).
        """
        if isinstance(self.class_weights, str):
            raise base.unsettled("class weights", self.class_weights)
        ids = ops.cast(y_true, "int32")
        if len(ids.shape) == len(y_pred.shape):
            ids = ids[..., 0]
        known = ops.not_equal(ids, self.ignored)
        classes = y_pred.shape[-1]
        # An ignored pixel has no class: its row of `targets` is 0.
        targets = ops.one_hot(ops.where(known, ids, -1), classes, dtype=y_pred.dtype)
        weights = None
        if self.class_weights is not None:
            weights = ops.cast(np.array(self.class_weights), y_pred.dtype)
        total: Any = 0.0
        for part in self.parts:
            total = total + PARTS[part](targets, y_pred, weights)
        return total

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        own = {
            "parts": self.parts,
            "class_weights": self.class_weights,
            "ignored": self.ignored,
        }
        return {**super().get_config(), **own}


def crossentropy(targets: Any, probabilities: Any, weights: Any) -> Any:
    """Returns the mean cross-entropy of the known pixels of each image."""
    # Keras finds the softmax behind the probabilities and works from its logits, so p = 0 stays finite.
    each = ops.categorical_crossentropy(targets, probabilities)
    return _mean_of_pixels(each, targets, weights)


def focal(targets: Any, probabilities: Any, weights: Any) -> Any:
    """Returns the mean focal loss, with a power of 2, of the known pixels of each image."""
    of_right_class = ops.sum(targets * probabilities, axis=-1)
    each = ops.categorical_crossentropy(targets, probabilities)
    return _mean_of_pixels(ops.square(1.0 - of_right_class) * each, targets, weights)


def dice(targets: Any, probabilities: Any, weights: Any) -> Any:
    """Returns 1 - the mean Dice score of the classes that each image has."""
    known = ops.sum(targets, axis=-1, keepdims=True)
    shares = probabilities * known
    both = ops.sum(targets * shares, axis=(1, 2))
    sizes = ops.sum(targets, axis=(1, 2)) + ops.sum(shares, axis=(1, 2))
    return _mean_of_present(1.0 - 2.0 * both / ops.maximum(sizes, SMALL), targets)


def lovasz(targets: Any, probabilities: Any, weights: Any) -> Any:
    """Returns the mean Lovász-softmax loss of the classes that each image has."""
    classes = targets.shape[-1]
    known = ops.sum(targets, axis=-1, keepdims=True)
    errors = _flatten(ops.abs(targets - probabilities) * known, classes)  # (batch, classes, pixels)
    truth = _flatten(targets, classes)

    order = ops.argsort(-errors, axis=-1)
    errors, truth = (ops.take_along_axis(values, order, axis=-1) for values in (errors, truth))
    counts = ops.sum(truth, axis=-1, keepdims=True)
    both = counts - ops.cumsum(truth, axis=-1)
    # An ignored pixel has error 0, so what it adds to the union multiplies 0.
    either = counts + ops.cumsum(1.0 - truth, axis=-1)
    jaccard = 1.0 - both / ops.maximum(either, 1.0)
    steps = jaccard - ops.pad(jaccard[..., :-1], [[0, 0], [0, 0], [1, 0]])
    return _mean_of_present(ops.sum(errors * ops.stop_gradient(steps), axis=-1), targets)


# Name: its function of targets (batch, height, width, classes; 0 where ignored), probabilities and class weights.
PARTS: dict[str, Callable] = {
    "crossentropy": crossentropy,
    "focal": focal,
    "dice": dice,
    "lovasz": lovasz,
}


def _flatten(values: Any, classes: int) -> Any:
    """Returns (batch, classes, pixels) of (batch, height, width, classes)."""
    return ops.swapaxes(ops.reshape(values, (ops.shape(values)[0], -1, classes)), 1, 2)


def _mean_of_pixels(each: Any, targets: Any, weights: Any) -> Any:
    """Returns the mean over the known pixels of each image, each pixel with the weight of its class."""
    pixel_weights = ops.sum(targets if weights is None else targets * weights, axis=-1)
    total = ops.sum(each * pixel_weights, axis=(1, 2))
    # As for single labels, weights are not divided out: they say how much a pixel costs.
    return total / ops.maximum(ops.sum(targets, axis=(1, 2, 3)), 1.0)


def _mean_of_present(by_class: Any, targets: Any) -> Any:
    """Returns the mean over the classes that each image has, of (batch, classes)."""
    present = ops.cast(ops.any(targets > 0, axis=(1, 2)), by_class.dtype)
    return ops.sum(by_class * present, axis=-1) / ops.maximum(ops.sum(present, axis=-1), 1.0)
