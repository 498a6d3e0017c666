"""Pretrained trunks behind one call."""

from keras_transfer.backbones.base import Backbone
from keras_transfer.backbones.catalogue import CATALOGUE, FAMILIES
from keras_transfer.backbones.legacy.layer_order import Report, load_by_order
from keras_transfer.backbones.sources import backbone, names

__all__ = ["CATALOGUE", "FAMILIES", "Backbone", "Report", "backbone", "load_by_order", "names"]
