"""Activations of several trunks, mixed."""

from collections.abc import Sequence
from typing import Any  # tensors, or constants in their place

import keras
import numpy as np
from keras import ops

from keras_transfer.core import checks

__all__ = ["CrossStitch"]

WEIGHTS = ("channel", "all")


@keras.saving.register_keras_serializable("keras_transfer")
class CrossStitch(keras.layers.Layer):
    """Mixes tensors of one shape, one from each of K trunks, by a matrix that is learnt (Misra et al. 2016).

    `outputs[k] = sum_j matrix[k, j] * inputs[j]`, where the matrix holds a number for each channel, or one for
    all of them.

    Args:
        own: What each output has of its own trunk's input at first; the others have the rest in equal shares.
            1.0 leaves the trunks apart.
        weights: "channel" for K x K numbers a channel, "all" for K x K.

    Example:
        >>> one, other = np.full((1, 2), 10.0, "float32"), np.zeros((1, 2), "float32")
        >>> [output.numpy().round(2).tolist() for output in CrossStitch()([one, other])]
        [[[9.0, 9.0]], [[1.0, 1.0]]]
    """

    mixes_lanes = True  # see `graphs.nodes.lanes`

    def __init__(self, *, own: float = 0.9, weights: str = "channel", **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.own = checks.number(own, name="own", minimum=0)
        self.per = checks.choice(weights, WEIGHTS, name="weights")

    def build(self, input_shape: Sequence[tuple]) -> None:
        """Makes the matrix."""
        count = len(input_shape)
        rest = (1 - self.own) / (count - 1) if count > 1 else 0.0
        start = np.full((count, count), rest)
        np.fill_diagonal(start, self.own if count > 1 else 1.0)
        channels = (input_shape[0][-1] if self.per == "channel" else 1,)

        def values(shape: tuple, dtype: str | None = None) -> object:
            return ops.convert_to_tensor(np.broadcast_to(start[..., None], shape), dtype)

        self.matrix = self.add_weight(
            name="matrix", shape=(count, count, *channels), initializer=values
        )
        self.built = True

    def call(self, inputs: Sequence[keras.KerasTensor]) -> list[keras.KerasTensor]:
        """Returns as many tensors as it is given, of the same shape."""
        return _mix(inputs, ops.cast(self.matrix, self.compute_dtype))

    def to_keras(self, inputs: Sequence[keras.KerasTensor]) -> list[keras.KerasTensor]:
        """Computes the same with Keras's own operations, as `kt.to_keras` does."""
        return _mix(inputs, ops.convert_to_numpy(self.matrix).astype(self.compute_dtype))

    def compute_output_shape(self, input_shape: Sequence[tuple]) -> list[tuple]:
        """The shapes stay."""
        return [tuple(shape) for shape in input_shape]

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {**super().get_config(), "own": self.own, "weights": self.per}


def _mix(tensors: Sequence, matrix: Any) -> list:
    """Returns for each row of the matrix the sum of the tensors, each times its column's number."""
    mixed = []
    for row in range(len(tensors)):
        mixed.append(sum(tensor * matrix[row][column] for column, tensor in enumerate(tensors)))
    return mixed
