"""From pixels to what a pretrained network expects."""

import keras
import numpy as np
from keras import ops

from keras_transfer.core import checks

__all__ = ["MODES", "Preprocess"]

# mode: (channels in which order, subtracted, divided by), so that network input = (pixels[..., order] - mean) / scale.
# "caffe" and "torch" carry the ImageNet statistics that the two frameworks' networks were trained with.
MODES = {
    "inside": ([0, 1, 2], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
    "tf": ([0, 1, 2], [127.5, 127.5, 127.5], [127.5, 127.5, 127.5]),
    "torch": ([0, 1, 2], [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
    "caffe": ([2, 1, 0], [103.939, 116.779, 123.68], [1.0, 1.0, 1.0]),
    "0-1": ([0, 1, 2], [0.0, 0.0, 0.0], [255.0, 255.0, 255.0]),
}


@keras.saving.register_keras_serializable("keras_transfer")
class Preprocess(keras.layers.Layer):
    """Turns RGB pixels with values 0..255 into a network's own range and channel order.

    Computes in float32 whatever the precision policy: float16 cannot hold resized pixels exactly.

    Args:
        mode: "tf" (-1..1), "torch" (0..1, then ImageNet mean and deviation), "caffe" (BGR, ImageNet
            mean subtracted), "0-1", or "inside" (the network has its own preprocessing layers).

    Example:
        >>> float(Preprocess("tf")(np.full((1, 1, 1, 3), 255.0))[0, 0, 0, 0])
        1.0
    """

    def __init__(self, mode: str, **kwargs: object) -> None:
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.mode = checks.choice(mode, MODES, name="mode")

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Maps (batch, height, width, 3) pixels to the network's input of the same shape."""
        order, mean, scale = MODES[self.mode]
        pixels = ops.cast(inputs, "float32")
        if order != [0, 1, 2]:
            pixels = ops.flip(pixels, axis=-1)
        if self.mode == "inside":
            return pixels
        return (pixels - np.array(mean, "float32")) / np.array(scale, "float32")

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The shape stays."""
        return input_shape

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {**super().get_config(), "mode": self.mode}
