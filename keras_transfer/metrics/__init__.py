"""Scores of finished predictions: pure functions from arrays to plain dicts."""

from keras_transfer.metrics.classification import classification_scores
from keras_transfer.metrics.regression import regression_scores

__all__ = ["classification_scores", "regression_scores"]
