"""Measuring a model: one pass over labelled images, and a report to read, to share and to compute with."""

from keras_transfer.evaluation.evaluate import evaluate
from keras_transfer.evaluation.predictions import Predictions, predict
from keras_transfer.evaluation.report import Report

__all__ = ["Predictions", "Report", "evaluate", "predict"]
