"""Penalties that keep a network near its pretrained state."""

from keras_transfer.training.methods.bss import BSS
from keras_transfer.training.methods.delta import Delta, channel_importance
from keras_transfer.training.methods.l2_sp import L2SP
from keras_transfer.training.methods.penalties import Penalty, Regulariser

__all__ = ["BSS", "L2SP", "REGULARISERS", "Delta", "Penalty", "Regulariser", "channel_importance"]

REGULARISERS = {"l2_sp": L2SP, "delta": Delta, "bss": BSS}
