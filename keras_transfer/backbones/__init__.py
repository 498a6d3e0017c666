"""Pretrained trunks behind one call."""

from keras_transfer.backbones.base import Backbone
from keras_transfer.backbones.build import backbone, names
from keras_transfer.backbones.catalogue import CATALOGUE, FAMILIES

__all__ = ["CATALOGUE", "FAMILIES", "Backbone", "backbone", "names"]
