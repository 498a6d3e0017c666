"""Makes backbones of KerasHub presets: the network, and what its image converter does to pixels.

KerasHub takes seconds to import, so it is imported only when a preset is asked for.
"""

import inspect
import math
import os
import pathlib
import re
import types

import keras
import numpy as np

from keras_transfer.backbones import custom, kerashub_ends, weight_files
from keras_transfer.backbones.base import Backbone
from keras_transfer.core import checks, optional
from keras_transfer.graphs import nodes
from keras_transfer.layers.preprocess import MODES

__all__ = ["PREFIX", "from_preset", "is_preset"]

PREFIX = "kerashub:"


def is_preset(source: str | os.PathLike) -> bool:
    """Returns whether a source is "kerashub:NAME", or a folder in which KerasHub or Hugging Face keep a preset.

    Example:
        >>> is_preset(".")
        False
    """
    if os.fspath(source).startswith(PREFIX):
        return True
    folder = pathlib.Path(source).expanduser()
    beside = ("metadata.json", "model.weights.h5", "model.weights.json", "model.safetensors")
    return (folder / "config.json").is_file() and any((folder / name).is_file() for name in beside)


def from_preset(
    preset: str | os.PathLike,
    *,
    weights: str | os.PathLike | None = "pretrained",
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    channel_mode: str = "mean",
    arguments: dict | None = None,
) -> Backbone:
    """Makes a backbone of a KerasHub preset: pixels 0..255 in, feature map out.

    The preset's image converter tells the size of the images and the preprocessing; resizing is left to the data. Of a
    network with several outputs the deepest level of its pyramid is taken. The tokens of a vision transformer become
    the map of their patches. Of a detector, a segmenter or a depth estimator the backbone keeps the feature pyramid or
    the decoder, see `kerashub_ends`.

    Args:
        preset: A name of KerasHub, perhaps after "kerashub:", a handle ("kaggle://...", "hf://...") or a folder.
        weights: "pretrained", None for random ones, or a file for the whole network.
        image_size: (height, width) of the images; by default the converter's, else the network's.
        channels: Channels of the images; None for 3.
        channel_mode: How the first layer's filters are adapted to them, see `channels.widen`.
        arguments: Further arguments of the network's constructor.

    Raises:
        InputError: If there is no such preset, its network does not take images, or an argument cannot work.
        MissingExtraError: If KerasHub is not installed.

    Example:
        >>> from_preset("resnet_18_imagenet").output.shape  # doctest: +SKIP
        (None, 7, 7, 512)
        >>> from_preset("resnet_18_imagenet", weights="absent.h5")
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `weights` must be 'pretrained' ... Given: 'absent.h5'.
    """
    weights = weight_files.check(weights)
    hub = optional.require("keras_hub", extra="kerashub", purpose="A KerasHub preset")
    preset = os.fspath(preset).removeprefix(PREFIX)
    folder = pathlib.Path(preset).expanduser()
    handle, name = preset, preset.rstrip("/").rpartition("/")[2]
    if folder.is_dir():
        handle, name = str(folder), folder.resolve().name
    arguments = dict(arguments or {})
    network = _load_network(hub, handle, weights == "pretrained", arguments)
    if isinstance(weights, pathlib.Path):
        weight_files.load(network, weights, needed=network.operations)
    try:
        converter = hub.layers.ImageConverter.from_preset(handle)
    except (OSError, ValueError) as absent:
        raise checks.error(
            "the preset must have an image converter",
            given=f"{handle!r} ({checks.first_line(absent)})",
            fix="Give its network and say what it expects: "
            "kt.backbone(keras_hub.models.Backbone.from_preset(...), preprocess=...).",
        ) from absent

    backbone = custom.from_model(
        _with_a_map(network),
        image_size=image_size or converter.image_size,
        channels=channels,
        channel_mode=channel_mode,
        preprocess=_convert(converter, channels),
        name=re.sub(r"\W+", "_", name),
        source={
            "name": f"{PREFIX}{name if folder.is_dir() else preset}",
            "weights": weights.name if isinstance(weights, pathlib.Path) else weights,
            "arguments": arguments,
        },
    )
    if None in backbone.input_shape[1:3]:
        raise checks.error(
            "`image_size` must be given for this preset, which has none", given=repr(preset)
        )
    return backbone


def _load_network(
    hub: types.ModuleType, preset: str, pretrained: bool, arguments: dict
) -> keras.Model:
    """Loads the preset's network, which must be functional and take images alone."""
    import tensorflow as tf

    try:
        network = hub.models.Backbone.from_preset(preset, load_weights=pretrained, **arguments)
    except checks.InputError:
        raise
    except TypeError as refused:
        raise checks.error(
            "the arguments must suit the preset's network",
            given=arguments,
            fix=f"KerasHub says: {checks.first_line(refused)}",
        ) from refused
    except (OSError, ValueError, tf.errors.OpError) as failed:
        raise checks.error(
            "`source` must be a KerasHub preset that is here or can be downloaded",
            given=f"{preset!r} ({checks.first_line(failed)})",
            fix="Offline: download it elsewhere and give its folder.",
        ) from failed

    takes = set(inspect.signature(type(network).__init__).parameters) - {"self", "kwargs"}
    for argument in arguments:
        if argument not in takes:
            raise checks.error(
                f"an argument of {type(network).__name__} must be known",
                given=repr(argument),
                fix=f"It takes: {', '.join(sorted(takes))}.",
            )
    shapes = [tuple(tensor.shape) for tensor in getattr(network, "inputs", None) or []]
    if not nodes.is_functional(network) or len(shapes) != 1 or len(shapes[0]) != 4:
        raise checks.error(
            "the preset must be of a network that takes images alone",
            given=f"{preset!r}, a {type(network).__name__}",
        )
    return network


def _convert(converter: keras.layers.Layer, channels: int | None) -> str | keras.layers.Layer:
    """Returns a mode or a layer of Keras that does what the converter does, without its resizing."""
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    if channels in (None, 3):
        if np.all(np.equal(scale, 1)) and not np.any(offset):
            return "inside"
        return keras.layers.Rescaling(scale, offset, dtype="float32", name="preprocess")

    # Only the modes of `layers.Preprocess` can be adapted to other channels.
    for mode, (is_reversed, divisor, mean, deviation) in MODES.items():
        factors = 1 / (divisor * np.array(deviation))
        shifts = -np.array(mean) / np.array(deviation)
        is_scaled = not is_reversed and np.allclose(factors, scale, rtol=1e-4)
        if is_scaled and np.allclose(shifts, offset, rtol=1e-4, atol=1e-6):
            return mode
    raise checks.error(
        "`channels` must be 3 for a preset with an image converter of its own kind",
        given=f"scale {scale}, offset {offset}",
    )


def _with_a_map(network: keras.Model) -> keras.Model:
    """Ends the network in one tensor: its map, else the deepest level of its pyramid, else its tokens as a map."""
    in_levels = kerashub_ends.end_in_levels(network)
    if in_levels is not None:
        return in_levels
    outputs = network.outputs
    if len(outputs) == 1 and len(outputs[0].shape) == 4:
        return network

    pyramid = getattr(network, "pyramid_outputs", {})
    levels = {name: level for name, level in pyramid.items() if len(level.shape) == 4}
    if levels:
        deepest = max(levels, key=lambda name: int(re.sub(r"\D", "", name) or 0))
        checks.note(f"{network.name} has several outputs: its deepest one, {deepest}, is used")
        return keras.Model(network.inputs, levels[deepest], name=network.name)

    count = sum(len(tensor.shape) == 3 for tensor in outputs)
    side = getattr(network, "patch_size", None)
    if count != 1 or side is None or None in network.inputs[0].shape[1:3]:
        return network
    images = keras.Input(network.inputs[0].shape[1:], name="image")
    tokens = network(images)
    sides = (side, side) if isinstance(side, int) else tuple(side)
    grid = tuple(whole // part for whole, part in zip(images.shape[1:3], sides, strict=True))
    extra = tokens.shape[1] - math.prod(grid)  # tokens before the patches: the class, registers
    if extra > 0:
        tokens = keras.layers.Cropping1D((extra, 0), name="patches")(tokens)
    if extra >= 0:
        tokens = keras.layers.Reshape((*grid, tokens.shape[2]), name="patch_map")(tokens)
    return keras.Model(images, tokens, name=f"{network.name}_map")
