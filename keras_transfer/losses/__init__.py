"""Keras losses of the package's own."""

from keras_transfer.losses.crossentropy import Crossentropy
from keras_transfer.losses.huber import ScaledHuber

__all__ = ["LOSSES", "Crossentropy", "ScaledHuber"]

LOSSES = {"crossentropy": Crossentropy, "scaled_huber": ScaledHuber}
