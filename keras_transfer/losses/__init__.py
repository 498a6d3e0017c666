"""Keras losses of the package's own."""

from typing import TYPE_CHECKING

from keras_transfer.core import lookup
from keras_transfer.losses.base import TaskLoss
from keras_transfer.losses.class_loss import ClassLoss
from keras_transfer.losses.class_weights import WEIGHTS, balanced_weights, effective_weights
from keras_transfer.losses.crossentropy import Crossentropy
from keras_transfer.losses.depth import DepthLoss
from keras_transfer.losses.detection import DetectionLoss
from keras_transfer.losses.focal import Focal
from keras_transfer.losses.huber import ScaledHuber
from keras_transfer.losses.logit_adjustment import LogitAdjusted
from keras_transfer.losses.pictures import PictureLoss
from keras_transfer.losses.segmentation import SegmentationLoss
from keras_transfer.losses.tags import TagCrossentropy

__all__ = [
    "LOSSES",
    "WEIGHTS",
    "ClassLoss",
    "Crossentropy",
    "DepthLoss",
    "DetectionLoss",
    "Focal",
    "LogitAdjusted",
    "PictureLoss",
    "ScaledHuber",
    "SegmentationLoss",
    "TagCrossentropy",
    "TaskLoss",
    "balanced_weights",
    "effective_weights",
]

if not TYPE_CHECKING:  # type checkers know the names, and would take any other for one of them
    __getattr__ = lookup.no_such_name(__name__, __all__)

LOSSES = {
    "crossentropy": Crossentropy,
    "depth_loss": DepthLoss,
    "detection_loss": DetectionLoss,
    "picture_loss": PictureLoss,
    "focal": Focal,
    "logit_adjusted": LogitAdjusted,
    "scaled_huber": ScaledHuber,
    "segmentation_loss": SegmentationLoss,
    "tag_crossentropy": TagCrossentropy,
}
