"""Keras layers of the package's own, and the two marks that they leave in a model."""

from keras_transfer.layers.penalised import Penalised
from keras_transfer.layers.preprocess import Preprocess
from keras_transfer.layers.preprocess_function import PreprocessFunction
from keras_transfer.layers.representation import Representation, blocks, representation
from keras_transfer.layers.saved_model import SavedModelLayer
from keras_transfer.layers.task_output import TaskOutput, outputs, settled_losses, targets_by_task

__all__ = [
    "Penalised",
    "Preprocess",
    "PreprocessFunction",
    "Representation",
    "SavedModelLayer",
    "TaskOutput",
    "blocks",
    "outputs",
    "representation",
    "settled_losses",
    "targets_by_task",
]
