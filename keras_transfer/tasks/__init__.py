"""What a model is to answer: heads with their losses, metrics and answers."""

from keras_transfer.tasks.base import Task
from keras_transfer.tasks.classification import Classification
from keras_transfer.tasks.regression import Regression

__all__ = ["TASKS", "Classification", "Regression", "Task"]

TASKS = {"classification": Classification, "regression": Regression}
