"""What networks with random weights need that pretrained ones do not."""

import keras

from keras_transfer.graphs import paths

__all__ = ["MOMENTUM", "shorten_memory"]

MOMENTUM = 0.9


def shorten_memory(model: keras.Model) -> None:
    """Lowers the momentum of all batch normalisations to at most 0.9, in place.

    Keras Applications have 0.999, made for millions of steps. Moving statistics that start at mean 0 and variance 1 are
    still a third of that after a thousand steps, so that a network which was trained well answers by chance.

    Example:
        >>> norm = keras.layers.BatchNormalization(momentum=0.999)
        >>> shorten_memory(keras.Sequential([keras.Input((4,)), norm]))
        >>> norm.momentum
        0.9
    """
    for layer in paths.leaves(model).values():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, MOMENTUM)
