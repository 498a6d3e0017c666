"""What a model is to answer. A kind of task is one file, and one row of `TASKS`."""

from keras_transfer.tasks.base import Task, require
from keras_transfer.tasks.classification import Classification
from keras_transfer.tasks.multilabel import MultiLabel
from keras_transfer.tasks.regression import Regression

__all__ = ["TASKS", "Classification", "MultiLabel", "Regression", "Task", "require"]

TASKS = {
    "classification": Classification,
    "multi_label": MultiLabel,
    "regression": Regression,
}
