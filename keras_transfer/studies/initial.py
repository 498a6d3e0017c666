"""The weights that a model had before it was trained."""

import keras

from keras_transfer.graphs import paths

__all__ = ["InitialWeights"]


class InitialWeights:
    """The weights and flags of a model, to restore before every training.

    Example:
        >>> import numpy as np
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="dense")])
        >>> initial = InitialWeights(model)
        >>> _ = model.layers[0].bias.assign_add([1.0])
        >>> initial.restore()
        >>> float(np.asarray(model.layers[0].bias)[0])
        0.0
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.values = model.get_weights()
        self.trainable = [(layer, layer.trainable) for layer in paths.leaves(model).values()]

    def restore(self) -> None:
        """Puts the weights and flags back."""
        self.model.set_weights(self.values)
        for layer, trainable in self.trainable:
            layer.trainable = trainable
