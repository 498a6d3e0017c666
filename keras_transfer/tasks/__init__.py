"""What a model is to answer. A kind of task is one file, and one row of `TASKS`."""

from keras_transfer.tasks.base import Task
from keras_transfer.tasks.classification import Classification
from keras_transfer.tasks.regression import Regression

__all__ = ["TASKS", "Classification", "Regression", "Task"]

TASKS = {
    "classification": Classification,
    "regression": Regression,
}
