"""Pretrained first layers for images that have other than three channels.

The weights of the first layer are kept: its filters for red, green and blue are mixed into one filter for each
channel (`widen`). The preprocessing is mixed along. It is affine in each colour, `(x - mean) / deviation`, so that a
network whose colours have different means sees its zero padding as a coloured border. No single number for each
channel can say that: where channels share the mean filter, `preprocess` puts a channel of ones behind the others,
which is zero in the padding as they are, and the first layer gets one more input for it (`adapt`). So a grey picture
gives the features of its RGB copy, at the borders too.
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
    """Returns how many channels there are, or raises an error where the mode does not suit them.

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
        channels: How many channels the images have.
        mode: "mean": every channel gets the mean of the three filters, times 3 / channels, so that channels which
            are equal give what their RGB copy gave. "tile": the filters in turn, times 3 / channels. "zero-extra":
            the filters, and zeros for further channels.

    Returns:
        (height, width, channels, filters), of the kernel's type.

    Example:
        >>> float(widen(np.ones((3, 3, 3, 8)), 1, "mean")[0, 0, 0, 0])
        3.0
    """
    return _mixed(kernel, mixing(check_channels(channels, mode), mode))


def preprocess(
    mode: str,
    channels: int,
    channel_mode: str,
    *,
    normalises: bool = False,
    name: str = "preprocess",
) -> layers.Preprocess:
    """Makes the layer whose output a kernel of `adapt` takes.

    Args:
        mode: Of `layers.Preprocess`, with which the network was trained.
        channels: How many channels the images have.
        channel_mode: As for `widen`.
        normalises: Whether the network begins with `Rescaling(1 / 255)` and a `Normalization` of each colour.
        name: The layer's name.

    Example:
        >>> preprocess("caffe", 1, "mean")(np.zeros((1, 8, 8, 1))).shape[-1]
        2
    """
    _, _, mean, _ = MODES[mode]
    plane = 0.0
    if channels != 3 and channel_mode == "mean":
        plane = 255.0 if normalises else float(_differ(mean))
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
        (height, width, inputs, filters): `widen`'s kernel, corrected for the deviations of the colours; behind it the
        filter of the plane, if there is one.

    Example:
        >>> adapt(np.ones((3, 3, 3, 8)), "torch", 4, "mean").shape
        (3, 3, 5, 8)
    """
    if channels == 3:
        return kernel
    reverse, _, mean, deviation = MODES[mode]
    order = slice(
        None, None, -1 if reverse else 1
    )  # the table's is the network's, ours red, green, blue
    has_plane = channel_mode == "mean" and _differ(mean)
    return _fitted(
        kernel[:, :, order],
        mean[order],
        deviation[order],
        channels,
        channel_mode,
        has_plane=has_plane,
    )


def transfer(
    source: keras.Model, target: keras.Model, *, mode: str, channels: int, channel_mode: str
) -> None:
    """Copies a network's weights into the same network for other channels, its first layer adapted.

    Args:
        source: The network for RGB, as it was trained.
        target: Made by the same function on the output of `preprocess`. Changed in place.
        mode: As for `preprocess`; "inside" where the network normalises each colour itself.
        channels: As for `preprocess`.
        channel_mode: As for `preprocess`.

    Example:
        >>> models = [keras.Sequential([keras.Input((8, 8, c)), keras.layers.Conv2D(2, 3)]) for c in (3, 1)]
        >>> transfer(*models, mode="tf", channels=1, channel_mode="mean")
        >>> filters = [model.layers[0].kernel.numpy().sum(axis=2) for model in models]
        >>> float(abs(filters[0] - filters[1]).max()) < 1e-6
        True
    """
    # By place: the names that Keras makes up (conv2d_7) count the layers of the process.
    pairs = list(zip(_weighted(source), _weighted(target), strict=True))
    convolutions = [old for old, _ in pairs if isinstance(old, keras.layers.Conv2D)]
    colours = None
    for old, new in pairs:
        values = old.get_weights()
        if isinstance(old, keras.layers.Normalization):
            colours = _colours(source, old)
            values[:2] = _statistics(colours, channels, channel_mode)
        elif old is convolutions[0] and colours is not None:
            has_plane = channel_mode == "mean"
            values[0] = _fitted(values[0], *colours, channels, channel_mode, has_plane=has_plane)
        elif old is convolutions[0]:
            values[0] = adapt(values[0], mode, channels, channel_mode)
        new.set_weights(values)
        if colours is not None and isinstance(new, keras.layers.Normalization):
            new.finalize_state()


def _weighted(network: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in paths.leaves(network).values() if layer.weights]


def _colours(
    network: keras.Model, normalization: keras.layers.Normalization
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each colour in a network that holds them as weights."""
    mean, variance, *_ = normalization.get_weights()
    # With the weights of ImageNet, EfficientNet divides by the root of the deviation once more.
    factors = [layer.scale for layer in network.layers if isinstance(layer, keras.layers.Rescaling)]
    factor = np.prod([np.asarray(own, "float64") for own in factors if np.ndim(own)], axis=0)
    return mean.astype("float64"), np.sqrt(variance.astype("float64")) / factor


def _statistics(
    colours: tuple[np.ndarray, np.ndarray], channels: int, channel_mode: str
) -> list[np.ndarray]:
    """Mean and variance of each channel for a `Normalization`; those of the plane leave its ones alone."""
    mean, deviation = (spread(own, channels, channel_mode) for own in colours)
    plane = [0.0, 1.0] if channel_mode == "mean" else [[], []]
    return [np.append(mean, plane[0]), np.append(deviation**2, plane[1])]


def _fitted(
    kernel: np.ndarray,
    mean: Sequence[float],
    deviation: Sequence[float],
    channels: int,
    channel_mode: str,
    *,
    has_plane: bool,
) -> np.ndarray:
    """Mixes filters that took `(x - mean) / deviation` of each colour into filters that take the same of channels.

    On a pixel, channel j gives `(x - m) / d` and colour c gave `(x - mean) / deviation`, which is `d / deviation`
    times that, and `(m - mean) / deviation` more. The latter is the plane's filter; it is 0 where j holds c only.
    """
    shares = mixing(channels, channel_mode)
    means, deviations = (spread(own, channels, channel_mode)[:, None] for own in (mean, deviation))
    parts = [_mixed(kernel, shares * deviations / np.asarray(deviation))]
    if has_plane:
        rest = (shares * (means - np.asarray(mean)) / np.asarray(deviation)).sum(
            axis=0, keepdims=True
        )
        parts.append(_mixed(kernel, rest))
    return np.concatenate(parts, axis=2)


def _mixed(kernel: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return np.einsum("hwco,jc->hwjo", kernel, shares).astype(kernel.dtype)


def _differ(mean: Sequence[float]) -> bool:
    return len(set(mean)) > 1
