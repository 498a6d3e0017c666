"""Scores of finished predictions: pure functions from arrays to plain dicts; and the accuracy shown while training."""

from keras_transfer.metrics.accuracy import Accuracy
from keras_transfer.metrics.classification import classification_scores
from keras_transfer.metrics.regression import regression_scores

__all__ = ["Accuracy", "classification_scores", "regression_scores"]
