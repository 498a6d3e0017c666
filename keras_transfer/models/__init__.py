"""Builders: a backbone and tasks become one Keras model."""

from keras_transfer.models.build import build_model, compile
from keras_transfer.models.load import load_model

__all__ = ["build_model", "compile", "load_model"]
