"""The loss of a detector's candidates against the objects of an image."""

from typing import Any

import numpy as np
from keras import ops, saving

from keras_transfer.core import candidates as rows
from keras_transfer.core import checks, lookup
from keras_transfer.losses import base, boxes

__all__ = ["DetectionLoss"]

SMALL = 1e-7
LEAST = 0.1  # what a candidate's box counts at least, so that boxes without any overlap learn, too


@saving.register_keras_serializable("keras_transfer")
class DetectionLoss(base.TaskLoss):
    """Finds out which candidate is to learn which object, and sums the losses of classes and boxes.

    Classes: the quality focal loss (Li et al. 2020), whose target is how well the candidate fits its object, and 0 for
    all others. Boxes: 1 - GIoU or CIoU of the candidates that have an object, weighted by their fit; with `bins` also
    the cross-entropy of their distributions. Each is divided by the fits of an image's candidates, so an image without
    objects costs what its background does. An image of weight 0 (a missing annotation) does not count.

    Args:
        classes: How many.
        overlap: "giou" or "ciou".
        bins: As for `layers.BoxDecoder`.
        box_weight: What the boxes count beside the classes.

    Example:
        >>> objects = np.array([[[0, 0, 8, 8, 0, 0]]], "float32")
        >>> candidate = np.array([[[0, 0, 8, 8, 4, 4, 8, 0.999]]], "float32")
        >>> round(float(DetectionLoss(1)(objects, candidate)), 3)
        0.0
    """

    def __init__(
        self,
        classes: int,
        *,
        overlap: str = "giou",
        bins: int = 0,
        box_weight: float = 2.0,
        reduction: str = "mean_with_sample_weight",
        name: str = "detection_loss",
        dtype: object = None,
    ) -> None:
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        self.classes = classes
        lookup.find(overlap, boxes.OVERLAPS, argument="overlap")
        self.overlap = overlap
        self.bins = bins
        self.box_weight = checks.number(box_weight, name="box_weight", minimum=0)

    def call(self, y_true: Any, y_pred: Any) -> object:
        """Returns the loss of each image.

        Args:
            y_true: Objects (batch, most objects, 6): box, class id (-1 for no object), whether it is to be ignored.
            y_pred: Candidates, from `layers.BoxDecoder`.
        """
        targets = ops.cast(y_true, y_pred.dtype)
        if targets.shape[1] in (0, None):  # a batch may be without any object
            targets = ops.pad(targets, [[0, 0], [0, 1], [0, 0]], constant_values=-1.0)
        candidates, places = y_pred[..., rows.BOX], y_pred[..., rows.PLACE]
        strides = y_pred[..., rows.STRIDE]
        probabilities = y_pred[..., rows.PLACES : rows.PLACES + self.classes]
        found = boxes.assign(
            targets,
            *(ops.stop_gradient(each) for each in (candidates, places, strides, probabilities)),
        )
        found = boxes.Assignment(*(ops.stop_gradient(each) for each in found))
        own = ops.take_along_axis(targets, found.objects[..., None], axis=1)  # (batch, n, 6)
        fits = ops.maximum(ops.sum(found.quality, axis=1), 1.0)

        ids = ops.cast(own[..., 4], "int32")
        wanted = ops.one_hot(ids, self.classes, dtype=y_pred.dtype) * found.quality[..., None]
        costs = _quality_focal(wanted, probabilities) * (1.0 - found.is_ignored)[..., None]
        total = ops.sum(costs, axis=(1, 2)) / fits

        weights = found.is_positive * ops.maximum(found.quality, LEAST)
        size = ops.maximum(ops.sum(weights, axis=1), SMALL)
        apart = 1.0 - boxes.OVERLAPS[self.overlap](own[..., :4], candidates)
        if self.bins:
            distribution = y_pred[..., rows.PLACES + self.classes :]
            apart = apart + self._distance_cost(own[..., :4], places, strides, distribution) / 4
        # Where a candidate has no object, its `apart` is that from a box of zeros: finite, and times 0.
        return total + self.box_weight * ops.sum(weights * apart, axis=1) / size

    def _distance_cost(self, truth: Any, places: Any, strides: Any, distribution: Any) -> Any:
        """Returns the cross-entropy of the two bins around each true distance, summed over the four sides."""
        distances = ops.concatenate([places - truth[..., :2], truth[..., 2:] - places], axis=-1)
        distances = ops.clip(distances / strides[..., None], 0.0, self.bins - 1 - 0.01)
        bins = np.arange(self.bins, dtype="float32")
        nearness = ops.maximum(1.0 - ops.abs(distances[..., None] - bins), 0.0)
        shape = (-1, places.shape[1], 4, self.bins)
        logs = ops.log(ops.maximum(ops.reshape(distribution, shape), SMALL))
        return -ops.sum(nearness * logs, axis=(-2, -1))

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        own = {
            "classes": self.classes,
            "overlap": self.overlap,
            "bins": self.bins,
            "box_weight": self.box_weight,
        }
        return {**super().get_config(), **own}


def _quality_focal(wanted: Any, probabilities: Any) -> Any:
    """Returns the cross-entropy with a soft target, times the square of how far it is missed."""
    shares = ops.clip(probabilities, SMALL, 1.0 - SMALL)
    cross_entropy = -wanted * ops.log(shares) - (1.0 - wanted) * ops.log(1.0 - shares)
    return ops.square(wanted - probabilities) * cross_entropy
