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

    def to_keras(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Computes the same with Keras's own layers, as `kt.to_keras` does."""
        stopped = ops.stop_gradient(inputs)
        return keras.layers.Identity(dtype=self.dtype_policy.name, name=self.name)(stopped)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The shape stays."""
        return input_shape
