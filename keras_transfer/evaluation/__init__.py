"""Measuring a model: one pass over labelled images, and a report to read, to share and to compute with."""

from typing import TYPE_CHECKING

from keras_transfer.core import lookup
from keras_transfer.evaluation.evaluate import evaluate
from keras_transfer.evaluation.predictions import Predictions, predict
from keras_transfer.evaluation.report import Report
from keras_transfer.evaluation.video import predict_video

__all__ = ["Predictions", "Report", "evaluate", "predict", "predict_video"]

if not TYPE_CHECKING:  # type checkers know the names, and would take any other for one of them
    __getattr__ = lookup.no_such_name(__name__, __all__)
