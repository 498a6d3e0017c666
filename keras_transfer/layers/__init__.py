"""Keras layers of the package's own, and the two marks that they leave in a model."""

from keras_transfer.layers.balance import Balance, balance, over_replicas
from keras_transfer.layers.cross_stitch import CrossStitch
from keras_transfer.layers.gate import Gate
from keras_transfer.layers.penalised import Penalised
from keras_transfer.layers.preprocess import Preprocess
from keras_transfer.layers.preprocess_function import PreprocessFunction
from keras_transfer.layers.representation import (
    Representation,
    blocks,
    representation,
    representations,
)
from keras_transfer.layers.saved_model import SavedModelLayer
from keras_transfer.layers.shared import shared
from keras_transfer.layers.stop_gradient import StopGradient
from keras_transfer.layers.task_output import (
    TaskOutput,
    check_labelled,
    outputs,
    settled_losses,
    targets_by_task,
)

__all__ = [
    "Balance",
    "CrossStitch",
    "Gate",
    "Penalised",
    "Preprocess",
    "PreprocessFunction",
    "Representation",
    "SavedModelLayer",
    "StopGradient",
    "TaskOutput",
    "balance",
    "blocks",
    "check_labelled",
    "outputs",
    "over_replicas",
    "representation",
    "representations",
    "settled_losses",
    "shared",
    "targets_by_task",
]
