"""Keras optimizers and learning-rate schedules of the package's own; a saved model may hold them."""

from keras_transfer.optimizers.per_variable import SCALED, Scaled
from keras_transfer.optimizers.schedules import SCHEDULES, OneCycle, WarmUp

__all__ = ["SCALED", "SCHEDULES", "OneCycle", "Scaled", "WarmUp"]
