"""From pixels to what a pretrained network expects."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_transfer.core import checks

__all__ = ["CHANNEL_MODES", "MODES", "Preprocess", "mixing", "spread"]

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
CHANNEL_MODES = ("mean", "tile", "zero-extra")


def mixing(channels: int, channel_mode: str) -> np.ndarray:
    """Returns how much of each colour's filter a channel's filter holds: (channels, 3).

    Args:
        channels: How many channels there are.
        channel_mode: "mean" (the mean of the three colours), "tile" (red, green, blue in turn), both times
            3 / channels, or "zero-extra" (the colours, then nothing).

    Example:
        >>> mixing(4, "tile")[:, 0].tolist()
        [0.75, 0.0, 0.0, 0.75]
    """
    if channel_mode == "mean":
        return np.full((channels, 3), 1 / channels)
    if channel_mode == "tile":
        return np.eye(3)[np.arange(channels) % 3] * 3 / channels
    return np.eye(channels, 3)


def spread(colours: Sequence[float], channels: int, channel_mode: str) -> np.ndarray:
    """Returns a number for each of the channels from one for each colour: (channels,).

    A channel gets the number of the colour whose filter it holds, the mean where it holds all or none.

    Example:
        >>> spread((3.0, 6.0, 9.0), 4, "zero-extra").tolist()
        [3.0, 6.0, 9.0, 6.0]
    """
    shares = mixing(channels, channel_mode)
    shares = np.where(shares.any(axis=1, keepdims=True), shares, 1.0)
    return shares @ np.asarray(colours, "float64") / shares.sum(axis=1)


@keras.saving.register_keras_serializable("keras_transfer")
class Preprocess(keras.layers.Layer):
    """Turns pixels with values 0..255 into a network's own range and channel order.

    Computes in float32 whatever the precision policy: float16 cannot hold resized pixels exactly.

    Other than 3 channels keep their order. Each gets the mean and deviation of the colour whose filter it holds;
    `backbones.channels` makes the filters that belong to them.

    Args:
        mode: "tf" (-1..1), "torch" (0..1, then ImageNet mean and deviation), "caffe" (BGR, ImageNet
            mean subtracted), "0-1", or "inside" (the network has its own preprocessing layers).
        channels: Channels of the pixels; 3 are RGB.
        channel_mode: See `backbones.channels`; of no effect on 3 channels.
        plane: Value of one more channel that is put behind the others, everywhere the same; 0 for none. Where
            a convolution pads with zeros, this channel tells it where the image ends.

    Example:
        >>> float(Preprocess("tf")(np.full((1, 1, 1, 3), 255.0))[0, 0, 0, 0])
        1.0
    """

    def __init__(
        self,
        mode: str,
        *,
        channels: int = 3,
        channel_mode: str = "mean",
        plane: float = 0.0,
        **kwargs: object,
    ) -> None:
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.mode = checks.choice(mode, MODES, name="mode")
        self.channels = checks.integer(channels, name="channels")
        self.channel_mode = checks.choice(channel_mode, CHANNEL_MODES, name="channel_mode")
        self.plane = checks.number(plane, name="plane", minimum=0)

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Maps (batch, height, width, channels) pixels to the network's input, one more channel with a `plane`."""
        pixels = self._scaled(ops.cast(inputs, "float32"))
        if not self.plane:
            return pixels
        return ops.concatenate([pixels, ops.full_like(pixels[..., :1], self.plane)], axis=-1)

    def _scaled(self, pixels: keras.KerasTensor) -> keras.KerasTensor:
        if self.mode == "inside":
            return pixels
        if self._reverses:
            pixels = ops.flip(pixels, axis=-1)
        divisor, mean, deviation = self._statistics()
        return (pixels / divisor - mean) / deviation

    @property
    def _reverses(self) -> bool:
        return MODES[self.mode][0] and self.channels == 3

    def _statistics(self) -> tuple[float, np.ndarray, np.ndarray]:
        """Returns the divisor, and the mean and deviation of each channel."""
        mean: Any
        deviation: Any
        reverse, divisor, mean, deviation = MODES[self.mode]
        if self.channels != 3:
            # The table's order is the network's, ours is red, green, blue.
            order = slice(None, None, -1 if reverse else 1)
            mean, deviation = (
                spread(own[order], self.channels, self.channel_mode) for own in (mean, deviation)
            )
        return divisor, np.array(mean, "float32"), np.array(deviation, "float32")

    def to_keras(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Computes the same with Keras's own layers, as `kt.to_keras` does."""
        if self._reverses:
            inputs = ops.flip(inputs, axis=-1)
        divisor, mean, deviation = self._statistics()
        scale, offset = 1 / (divisor * deviation), -mean / deviation
        pixels = keras.layers.Rescaling(
            scale.tolist(), offset.tolist(), dtype="float32", name=self.name
        )(inputs)
        if not self.plane:
            return pixels
        return ops.concatenate([pixels, ops.full_like(pixels[..., :1], self.plane)], axis=-1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The shape stays, but for the plane."""
        return (*input_shape[:-1], input_shape[-1] + 1) if self.plane else input_shape

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        own = {
            "mode": self.mode,
            "channels": self.channels,
            "channel_mode": self.channel_mode,
            "plane": self.plane,
        }
        return {**super().get_config(), **own}
