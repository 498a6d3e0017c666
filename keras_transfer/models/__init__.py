"""Builders: a backbone and tasks become one Keras model."""

from keras_transfer.models.build import build_model, compile
from keras_transfer.models.load import load_model
from keras_transfer.models.sharing import (
    SHARING,
    Attention,
    Branched,
    CrossStitched,
    Experts,
    Features,
    Hard,
    Sharing,
)

__all__ = [
    "SHARING",
    "Attention",
    "Branched",
    "CrossStitched",
    "Experts",
    "Features",
    "Hard",
    "Sharing",
    "build_model",
    "compile",
    "load_model",
]
