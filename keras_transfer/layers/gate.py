"""A task's choice among experts."""

from collections.abc import Sequence
from typing import Any  # tensors of Keras's backend

import keras
from keras import ops

from keras_transfer.core import checks

__all__ = ["Gate"]


@keras.saving.register_keras_serializable("keras_transfer")
class Gate(keras.layers.Layer):
    """Mixes what experts give, by shares that an image's own features decide (Ma et al. 2018).

    The first input is what decides, (batch, features); the others come from the experts and have one shape. The
    shares are a softmax of a dense layer without hidden ones, and are computed in float32.

    Example:
        >>> import numpy as np
        >>> experts = [np.ones((1, 2), "float32"), np.full((1, 2), 3.0, "float32")]
        >>> Gate()([np.zeros((1, 5), "float32"), *experts]).numpy().tolist()
        [[2.0, 2.0]]
    """

    def build(self, input_shape: Sequence[tuple]) -> None:
        """Makes the dense layer's weights; it starts with shares that differ little from image to image."""
        decides, *experts = input_shape
        if len(experts) < 2:
            raise checks.error("a gate must have experts to choose among", given=len(experts))
        self.kernel = self.add_weight(
            name="kernel", shape=(decides[-1], len(experts)), initializer="glorot_uniform"
        )
        self.bias = self.add_weight(name="bias", shape=(len(experts),), initializer="zeros")
        self.built = True

    def call(self, inputs: Sequence[keras.KerasTensor]) -> keras.KerasTensor:
        """Returns the mean of the experts by the shares."""
        decides, *experts = inputs
        logits = ops.cast(ops.matmul(decides, self.kernel) + self.bias, "float32")
        return _mix(experts, ops.cast(ops.softmax(logits), self.compute_dtype))

    def to_keras(self, inputs: Sequence[keras.KerasTensor]) -> keras.KerasTensor:
        """Computes the same with Keras's own layers, as `kt.to_keras` does."""
        decides, *experts = inputs
        dense = keras.layers.Dense(len(experts), dtype=self.dtype_policy, name=self.name)
        logits = ops.cast(dense(decides), "float32")
        dense.set_weights(self.get_weights())
        return _mix(experts, ops.cast(ops.softmax(logits), self.compute_dtype))

    def compute_output_shape(self, input_shape: Sequence[tuple]) -> tuple:
        """The shape of each expert's."""
        return tuple(input_shape[1])


def _mix(experts: Sequence, shares: Any) -> Any:
    """Returns the sum of the experts, each times its column of the shares (batch, experts)."""
    places = (1,) * (len(experts[0].shape) - 1)
    return sum(
        ops.reshape(shares[:, index], (-1, *places)) * expert
        for index, expert in enumerate(experts)
    )
