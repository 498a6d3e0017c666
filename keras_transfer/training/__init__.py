"""Adapting a pretrained model in stages."""

from keras_transfer.training.best import load_best
from keras_transfer.training.fine_tune import fine_tune
from keras_transfer.training.freezing import freeze, trainable_table, unfreeze
from keras_transfer.training.stages import Stage

__all__ = ["Stage", "fine_tune", "freeze", "load_best", "trainable_table", "unfreeze"]
