"""Keras optimizers and learning-rate schedules of the package's own; a saved model may hold them."""

from typing import TYPE_CHECKING

from keras_transfer.core import lookup
from keras_transfer.optimizers.per_variable import SCALED, Scaled
from keras_transfer.optimizers.schedules import SCHEDULES, OneCycle, WarmUp

__all__ = ["SCALED", "SCHEDULES", "OneCycle", "Scaled", "WarmUp"]

if not TYPE_CHECKING:  # type checkers know the names, and would take any other for one of them
    __getattr__ = lookup.no_such_name(__name__, __all__)
