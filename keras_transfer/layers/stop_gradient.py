"""A place that no gradient passes."""

import keras
from keras import ops

__all__ = ["StopGradient"]


@keras.saving.register_keras_serializable("keras_transfer")
class StopGradient(keras.layers.Layer):
    """Passes its input through; what lies below learns nothing from what lies above.

    Example:
        >>> import numpy as np
        >>> StopGradient()(np.ones((1, 2), "float32")).shape
        TensorShape([1, 2])
    """

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Returns `inputs`."""
        return ops.stop_gradient(inputs)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The shape stays."""
        return input_shape
