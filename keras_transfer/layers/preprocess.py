"""From pixels to what a pretrained network expects."""

import keras
import numpy as np
from keras import ops

from keras_transfer.core import checks

__all__ = ["MODES", "Preprocess"]

# mode: (channels reversed, divisor, mean, deviation), for (pixels / divisor - mean) / deviation, in this order of
# operations, which is that of `keras.applications`. "torch" and "caffe" carry the ImageNet statistics that the
# networks of these two frameworks were trained with.
MODES = {
    "inside": (False, 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "tf": (False, 127.5, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
    "torch": (False, 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe": (True, 1.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
    "0-1": (False, 255.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
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
        reverse, divisor, mean, deviation = MODES[self.mode]
        pixels = ops.cast(inputs, "float32")
        if self.mode == "inside":
            return pixels
        pixels = ops.flip(pixels, axis=-1) if reverse else pixels
        return (pixels / divisor - np.array(mean, "float32")) / np.array(deviation, "float32")

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The shape stays."""
        return input_shape

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {**super().get_config(), "mode": self.mode}
