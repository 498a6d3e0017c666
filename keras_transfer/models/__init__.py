"""Builds a Keras model of a backbone and tasks, loads it, and finds its parts."""

from typing import TYPE_CHECKING

from keras_transfer.core import lookup
from keras_transfer.layers.marks import blocks, model_classes, outputs, representation, shared
from keras_transfer.models.build import build_model, compile
from keras_transfer.models.load import load_model
from keras_transfer.models.plain import to_keras
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
    "blocks",
    "build_model",
    "compile",
    "load_model",
    "model_classes",
    "outputs",
    "representation",
    "shared",
    "to_keras",
]

if not TYPE_CHECKING:  # type checkers know the names, and would take any other for one of them
    __getattr__ = lookup.no_such_name(__name__, __all__)
