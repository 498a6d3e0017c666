"""Scores of finished predictions: pure functions from arrays to plain dicts; and the metrics shown while training."""

from typing import TYPE_CHECKING

from keras_transfer.core import lookup
from keras_transfer.metrics.accuracy import Accuracy
from keras_transfer.metrics.classification import classification_scores
from keras_transfer.metrics.depth import depth_scores
from keras_transfer.metrics.detection import detection_scores
from keras_transfer.metrics.intervals import (
    bootstrap_interval,
    bootstrap_intervals,
    difference_interval,
    mean_interval,
    resampled_intervals,
    share_interval,
    wilson_interval,
)
from keras_transfer.metrics.pictures import perceptual_distance, picture_scores
from keras_transfer.metrics.regression import regression_scores
from keras_transfer.metrics.segmentation import MeanIoU, segmentation_scores
from keras_transfer.metrics.tags import TagAccuracy, tag_scores

__all__ = [
    "Accuracy", "MeanIoU", "TagAccuracy", "bootstrap_interval", "bootstrap_intervals",
    "classification_scores", "depth_scores", "detection_scores", "difference_interval", "mean_interval",
    "perceptual_distance", "picture_scores", "regression_scores", "resampled_intervals", "segmentation_scores",
    "share_interval", "tag_scores", "wilson_interval",
]  # fmt: skip

if not TYPE_CHECKING:  # type checkers know the names, and would take any other for one of them
    __getattr__ = lookup.no_such_name(__name__, __all__)
