"""The layer that turns a map of a detector into candidates: boxes, places and probabilities."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_transfer.core import candidates

__all__ = ["BoxDecoder"]


@keras.saving.register_keras_serializable("keras_transfer")
class BoxDecoder(keras.layers.Layer):
    """Turns a map of distances and scores into one row of numbers, a candidate, for each of its places.

    A row is `x1, y1, x2, y2` (the box), `x, y` (the place), the stride, all in pixels of the image, then the
    probability of each class, then, with `bins`, the distribution of the four distances. The map's channels are the
    scores of the classes, then for left, top, right and bottom a distance in strides (any number: softplus makes it
    positive) or the scores of `bins` distances 0, 1, 2 ... of which the mean is taken (Li et al. 2020).

    Args:
        stride: Of the map: pixels from place to place.
        classes: How many.
        bins: Distances in a distribution; 0 for none.

    Example:
        >>> rows = BoxDecoder(8, classes=2)(np.zeros((1, 2, 2, 6), "float32"))
        >>> rows.shape, [round(float(number), 2) for number in rows[0, 3, :8]]
        (TensorShape([1, 4, 9]), [6.45, 6.45, 17.55, 17.55, 12.0, 12.0, 8.0, 0.5])
    """

    def __init__(self, stride: int, *, classes: int, bins: int = 0, **kwargs: object) -> None:
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.stride = stride
        self.classes = classes
        self.bins = bins

    def call(self, inputs: keras.KerasTensor) -> Any:
        """Returns (batch, places, numbers)."""
        height, width, channels = inputs.shape[1:]
        count = height * width
        flat = ops.reshape(ops.cast(inputs, "float32"), (-1, count, channels))
        probabilities = ops.sigmoid(flat[..., : self.classes])
        raw = flat[..., self.classes :]

        extra = []
        if self.bins:
            distribution = ops.softmax(ops.reshape(raw, (-1, count, 4, self.bins)), axis=-1)
            distances = ops.sum(distribution * np.arange(self.bins, dtype="float32"), axis=-1)
            extra = [ops.reshape(distribution, (-1, count, 4 * self.bins))]
        else:
            distances = ops.softplus(raw)

        x, y = np.meshgrid(np.arange(width), np.arange(height))
        places = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * self.stride
        corners = np.concatenate([places, places], axis=-1).astype("float32")
        signs = np.array([-self.stride, -self.stride, self.stride, self.stride], "float32")
        boxes = ops.add(corners, ops.multiply(signs, distances))
        known = np.concatenate([places, np.full((count, 1), self.stride)], axis=-1)
        known = ops.add(ops.zeros_like(flat[..., :3]), known.astype("float32"))
        return ops.concatenate([boxes, known, probabilities, *extra], axis=-1)

    def to_keras(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Computes the same with Keras's own layers, as `kt.to_keras` does."""
        return keras.layers.Identity(dtype="float32", name=self.name)(self.call(inputs))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """One row for each place."""
        batch, height, width = input_shape[:3]
        return batch, height * width, candidates.PLACES + self.classes + 4 * self.bins

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        own = {"stride": self.stride, "classes": self.classes, "bins": self.bins}
        return {**super().get_config(), **own}
