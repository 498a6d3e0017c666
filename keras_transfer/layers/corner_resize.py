"""The layer that enlarges maps from corner to corner."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

__all__ = ["CornerResize"]


@keras.saving.register_keras_serializable("keras_transfer")
class CornerResize(keras.layers.Layer):
    """Gives maps another size by linear interpolation, the corners' middles staying in the corners.

    So does `torch.nn.functional.interpolate` with `align_corners=True`, by which some networks were trained;
    `keras.layers.Resizing` keeps the edges in their places instead.

    Args:
        size: Height and width.

    Example:
        >>> CornerResize((1, 3))(np.array([[[[0.0], [8.0]]]]))[0, 0, :, 0].numpy().tolist()
        [0.0, 4.0, 8.0]
    """

    def __init__(self, size: Sequence[int], **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.size = tuple(size)

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Returns (batch, height, width, channels)."""
        height, width = self.size
        kind = keras.backend.standardize_dtype(inputs.dtype)
        rows = _weights(inputs.shape[1], height).astype(kind)
        columns = _weights(inputs.shape[2], width).astype(kind)
        x = ops.tensordot(inputs, rows, axes=[[1], [1]])  # (batch, width, channels, new height)
        x = ops.tensordot(x, columns, axes=[[1], [1]])  # (batch, channels, height, width)
        return ops.transpose(x, (0, 2, 3, 1))

    def to_keras(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Computes the same with Keras's own layers, as `kt.to_keras` does."""
        return keras.layers.Identity(name=self.name)(self.call(inputs))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Returns the shape with the new height and width."""
        return input_shape[0], *self.size, input_shape[3]

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "size": self.size}


def _weights(before: int, after: int) -> np.ndarray:
    """Returns what each of `after` places takes of each of `before` places."""
    places = np.linspace(0, before - 1, after)[:, None]
    return np.maximum(0.0, 1.0 - np.abs(places - np.arange(before)))
