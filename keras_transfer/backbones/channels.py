"""Adapts pretrained first layers to images with other than three channels.

The filters for red, green and blue are mixed into one filter for each channel (`widen`), and the preprocessing is mixed
likewise. Preprocessing is affine in each colour, `(x - mean) / deviation`. If the colours have different means, the
network sees its zero padding as a coloured border, and no single number for a channel that shares the mean filter can
say that. So `preprocess` adds a channel of ones, which the padding makes zero like all others, and the first layer gets
one more input for it (`adapt`). Thus a grey picture gives the features of its RGB copy, at the borders too.
"""

from collections.abc import Sequence

import keras
import numpy as np

from keras_transfer import layers
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.layers.preprocess import CHANNEL_MODES, MODES, mixing, spread

__all__ = ["adapt", "check_channels", "preprocess", "transfer", "widen"]


def check_channels(channels: object, channel_mode: object) -> int:
    """Returns the number of channels, or raises an error if the mode does not suit it.

    Example:
        >>> check_channels(4, "zero-extra")
        4
    """
    channels = checks.integer(channels, name="channels")
    checks.choice(channel_mode, CHANNEL_MODES, name="channel_mode")
    if channel_mode == "zero-extra" and channels < 3:
        raise checks.error(
            "`channel_mode='zero-extra'` must have the 3 colours and more",
            given=f"channels={channels}",
            fix="Use 'mean'.",
        )
    return channels


def widen(kernel: np.ndarray, channels: int, mode: str) -> np.ndarray:
    """Turns the kernel of a first convolution over red, green and blue into one over `channels` channels.

    Args:
        kernel: (height, width, 3, filters).
        channels: Channels of the images.
        mode: "mean": every channel gets the mean of the three filters, times 3 / channels, so that equal channels give
            what their RGB copy gave. "tile": the filters in turn, times 3 / channels. "zero-extra": the filters, and
            zeros for further channels.

    Returns:
        (height, width, channels, filters), of the kernel's type.

    Example:
        >>> float(widen(np.ones((3, 3, 3, 8)), 1, "mean")[0, 0, 0, 0])
        3.0
    """
    return _mix(kernel, mixing(check_channels(channels, mode), mode))


def preprocess(
    mode: str,
    channels: int,
    channel_mode: str,
    *,
    normalises: bool = False,
    name: str = "preprocess",
) -> layers.Preprocess:
    """Makes the layer whose output a kernel made by `adapt` takes.

    Args:
        mode: Mode of `layers.Preprocess` that the network was trained with.
        channels: Channels of the images.
        channel_mode: As for `widen`.
        normalises: Whether the network begins with `Rescaling(1 / 255)` and normalises each colour itself.
        name: The layer's name.

    Example:
        >>> preprocess("caffe", 1, "mean")(np.zeros((1, 8, 8, 1))).shape[-1]
        2
    """
    plane = 0.0
    if channels != 3 and channel_mode == "mean":
        plane = 255.0 if normalises else float(_has_different_means(mode))
    return layers.Preprocess(
        mode, channels=channels, channel_mode=channel_mode, plane=plane, name=name
    )


def adapt(kernel: np.ndarray, mode: str, channels: int, channel_mode: str) -> np.ndarray:
    """Turns the kernel of a first convolution into one that takes the output of `preprocess`.

    Args:
        kernel: (height, width, 3, filters), which took the output of `layers.Preprocess(mode)`.
        mode: As for `preprocess`.
        channels: As for `preprocess`.
        channel_mode: As for `preprocess`.

    Returns:
        (height, width, inputs, filters): the kernel of `widen`, corrected for the deviations of the colours, and the
        filter for the channel of ones, if there is one.

    Example:
        >>> adapt(np.ones((3, 3, 3, 8)), "torch", 4, "mean").shape
        (3, 3, 5, 8)
    """
    if channels == 3:
        return kernel
    is_reversed, _, mean, deviation = MODES[mode]
    if is_reversed:  # the table has the network's order
        kernel, mean, deviation = kernel[:, :, ::-1], mean[::-1], deviation[::-1]
    has_plane = channel_mode == "mean" and _has_different_means(mode)
    return _fit(kernel, mean, deviation, channels, channel_mode, has_plane=has_plane)


def transfer(
    source: keras.Model, target: keras.Model, *, mode: str, channels: int, channel_mode: str
) -> None:
    """Copies a network's weights into the same network for other channels, and adapts the first layer.

    Args:
        source: The trained network for RGB.
        target: Made by the same function on the output of `preprocess`. Changed in place.
        mode: As for `preprocess`; "inside" if the network normalises each colour itself.
        channels: As for `preprocess`.
        channel_mode: As for `preprocess`.

    Example:
        >>> models = [keras.Sequential([keras.Input((8, 8, c)), keras.layers.Conv2D(2, 3)]) for c in (3, 1)]
        >>> transfer(*models, mode="tf", channels=1, channel_mode="mean")
        >>> filters = [model.layers[0].kernel.numpy().sum(axis=2) for model in models]
        >>> float(abs(filters[0] - filters[1]).max()) < 1e-6
        True
    """
    olds, news = map(_weighted_layers, (source, target))
    statistics = None  # mean and deviation of the colours, of a network that holds them as weights
    is_first = True
    # By place, for the names that Keras makes up (conv2d_7) count the layers of the process.
    for old, new in zip(olds, news, strict=True):
        values = old.get_weights()
        if isinstance(old, keras.layers.Normalization):
            mean, variance = (value.astype("float64") for value in values[:2])
            # With the weights of ImageNet, EfficientNet divides by the root of the deviation once more.
            rescaling = [
                layer for layer in source.layers if isinstance(layer, keras.layers.Rescaling)
            ]
            scales = [np.asarray(layer.scale) for layer in rescaling if np.ndim(layer.scale)]
            statistics = mean, np.sqrt(variance) / np.prod(scales, axis=0)
            means, deviations = (spread(each, channels, channel_mode) for each in statistics)
            if channel_mode == "mean":  # the channel of ones stays as it is
                means, deviations = np.append(means, 0.0), np.append(deviations, 1.0)
            values[:2] = means, deviations**2
        elif is_first and isinstance(old, keras.layers.Conv2D):
            is_first = False
            if statistics is None:
                values[0] = adapt(values[0], mode, channels, channel_mode)
            else:
                has_plane = channel_mode == "mean"
                values[0] = _fit(
                    values[0], *statistics, channels, channel_mode, has_plane=has_plane
                )
        new.set_weights(values)
        if isinstance(new, keras.layers.Normalization):
            new.finalize_state()


def _weighted_layers(network: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in paths.leaves(network).values() if layer.weights]


def _fit(
    kernel: np.ndarray,
    mean: Sequence[float],
    deviation: Sequence[float],
    channels: int,
    channel_mode: str,
    *,
    has_plane: bool,
) -> np.ndarray:
    """Mixes filters of `(x - mean) / deviation` of each colour into filters of the same of each channel.

    On a pixel, channel j gives `(x - m) / d`, and colour c gave `(x - mean) / deviation`: `d / deviation` times that,
    plus `(m - mean) / deviation`. The second part goes to the channel of ones; it is 0 if j holds c only.
    """
    shares = mixing(channels, channel_mode) / np.asarray(deviation)
    means, deviations = (
        spread(each, channels, channel_mode)[:, None] for each in (mean, deviation)
    )
    parts = [_mix(kernel, shares * deviations)]
    if has_plane:
        rest = (shares * (means - np.asarray(mean))).sum(axis=0, keepdims=True)
        parts.append(_mix(kernel, rest))
    return np.concatenate(parts, axis=2)


def _mix(kernel: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return np.einsum("hwco,jc->hwjo", kernel, shares).astype(kernel.dtype)


def _has_different_means(mode: str) -> bool:
    return len(set(MODES[mode][2])) > 1
