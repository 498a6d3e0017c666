"""KerasHub presets as backbones: the network, and what its image converter does to pixels.

KerasHub takes seconds to import, so nothing here does it before a preset is asked for.
"""

import inspect
import math
import os
import pathlib
import re
import types
from collections.abc import Callable

import keras
import numpy as np

from keras_transfer.backbones import custom, weight_files
from keras_transfer.backbones.base import Backbone
from keras_transfer.core import checks, optional
from keras_transfer.graphs import nodes
from keras_transfer.layers.preprocess import MODES

__all__ = ["PREFIX", "from_preset", "is_preset"]

PREFIX = "kerashub:"


def is_preset(path: str | os.PathLike) -> bool:
    """Returns whether `path` is a folder as KerasHub, or Hugging Face for it, keeps a preset in.

    Example:
        >>> is_preset(".")
        False
    """
    folder = pathlib.Path(path)
    beside = ("metadata.json", "model.weights.h5", "model.weights.json", "model.safetensors")
    return (folder / "config.json").is_file() and any((folder / name).is_file() for name in beside)


def from_preset(
    preset: str,
    *,
    weights: str | os.PathLike | None = "pretrained",
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    channel_mode: str = "mean",
    arguments: dict | None = None,
) -> Backbone:
    """Makes a backbone of a KerasHub preset: pixels 0..255 in, feature map out.

    The preset's image converter says the size of the images and what is done to their values; resizing is left to
    the data. Of a network with several outputs the deepest level of its pyramid is taken; the tokens of a vision
    transformer are laid out as the map of their patches.

    Args:
        preset: A name of KerasHub, a handle ("kaggle://...", "hf://...") or the folder of a preset.
        weights: "pretrained", None for random ones, or a file for the whole network.
        image_size: (height, width) of the images; by default the converter's, or what the network was built for.
        channels: Channels of the images; None for 3.
        channel_mode: How the first layer's filters go over to them, see `channels.widen`.
        arguments: Further arguments of the network's constructor, checked by name.

    Raises:
        InputError: If there is no such preset, it is not of a network of images, or an argument cannot work.
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
    folder = pathlib.Path(preset).expanduser()
    handle = str(folder) if folder.is_dir() else preset
    arguments = dict(arguments or {})
    network = _network(hub, handle, weights == "pretrained", arguments)
    if isinstance(weights, pathlib.Path):
        weight_files.load(network, weights, needed=network.operations)
    converter = _converter(hub, handle)
    name = folder.resolve().name if folder.is_dir() else preset.rstrip("/").rpartition("/")[2]
    backbone = custom.from_model(
        _with_a_map(network),
        image_size=image_size or converter.image_size,
        channels=channels,
        channel_mode=channel_mode,
        preprocess=_preprocessing(converter, channels),
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


def _network(hub: types.ModuleType, preset: str, pretrained: bool, arguments: dict) -> keras.Model:
    try:
        network = _found(
            lambda: hub.models.Backbone.from_preset(preset, load_weights=pretrained, **arguments),
            preset,
        )
    except TypeError as refused:
        raise checks.error(
            "the arguments must suit the preset's network",
            given=arguments,
            fix=f"KerasHub says: {checks.first_line(refused)}",
        ) from refused
    takes = set(inspect.signature(type(network).__init__).parameters) - {"self", "kwargs"}
    for argument in arguments:
        if argument not in takes:
            expected = f"an argument of {type(network).__name__} must be known"
            raise checks.error(
                expected, given=repr(argument), fix=f"It takes: {', '.join(sorted(takes))}."
            )
    shapes = [tuple(tensor.shape) for tensor in getattr(network, "inputs", None) or []]
    if not nodes.is_functional(network) or len(shapes) != 1 or len(shapes[0]) != 4:
        raise checks.error(
            "the preset must be of a network that takes images alone",
            given=f"{preset!r}, a {type(network).__name__}",
        )
    return network


def _found(load: Callable[[], object], preset: str) -> object:
    """What a function of KerasHub loads from a preset."""
    import tensorflow as tf

    try:
        return load()
    except checks.InputError:
        raise
    except (OSError, ValueError, tf.errors.OpError) as failed:
        raise checks.error(
            "`source` must be a KerasHub preset that is here or can be downloaded",
            given=f"{preset!r} ({checks.first_line(failed)})",
            fix="Offline: download it elsewhere and give its folder.",
        ) from failed


def _converter(hub: types.ModuleType, preset: str) -> keras.layers.Layer:
    """The preset's image converter; nothing else says what becomes of pixels."""
    try:
        return hub.layers.ImageConverter.from_preset(preset)
    except (OSError, ValueError) as absent:
        raise checks.error(
            "the preset must have an image converter",
            given=f"{preset!r} ({checks.first_line(absent)})",
            fix="Give its network and say what it expects: "
            "kt.backbone(keras_hub.models.Backbone.from_preset(...), preprocess=...).",
        ) from absent


def _preprocessing(converter: keras.layers.Layer, channels: int | None) -> str | keras.layers.Layer:
    """A layer of Keras that does what the converter does, its resizing aside."""
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    if channels not in (None, 3):
        return _mode(scale, offset)
    if np.all(np.equal(scale, 1)) and not np.any(offset):
        return "inside"
    return keras.layers.Rescaling(scale, offset, dtype="float32", name="preprocess")


def _mode(scale: object, offset: object) -> str:
    """The mode of `layers.Preprocess` that a converter is: only for these is it known what other channels need."""
    for mode, (reverse, divisor, mean, deviation) in MODES.items():
        factors = 1 / (divisor * np.array(deviation))
        shifts = -np.array(mean) / np.array(deviation)
        if (
            not reverse
            and np.allclose(factors, scale, rtol=1e-4)
            and np.allclose(shifts, offset, rtol=1e-4, atol=1e-6)
        ):
            return mode
    raise checks.error(
        "`channels` must be 3 for a preset with an image converter of its own kind",
        given=f"scale {scale}, offset {offset}",
    )


def _with_a_map(network: keras.Model) -> keras.Model:
    """The network, ending in one tensor: its map, else the deepest level of its pyramid, else its tokens as a map."""
    outputs = network.outputs
    if len(outputs) == 1 and len(outputs[0].shape) == 4:
        return network
    levels = {
        name: level
        for name, level in getattr(network, "pyramid_outputs", {}).items()
        if len(level.shape) == 4
    }
    if levels:
        deepest = max(levels, key=lambda name: int(re.sub(r"\D", "", name) or 0))
        checks.note(f"{network.name}: its level {deepest} is taken")
        return keras.Model(network.inputs, levels[deepest], name=network.name)
    tokens = [tensor for tensor in outputs if len(tensor.shape) == 3]
    side = getattr(network, "patch_size", None)
    if len(tokens) != 1 or side is None or None in network.inputs[0].shape[1:3]:
        return network
    images = keras.Input(network.inputs[0].shape[1:], name="image")
    return keras.Model(
        images, _laid_out(network(images), images.shape[1:3], side), name=f"{network.name}_map"
    )


def _laid_out(
    tokens: keras.KerasTensor, size: tuple[int, int], side: int | tuple[int, int]
) -> keras.KerasTensor:
    """Tokens as the map of their patches; those before them (the class, registers) are dropped."""
    sides = (side, side) if isinstance(side, int) else tuple(side)
    grid = tuple(whole // part for whole, part in zip(size, sides, strict=True))
    extra = tokens.shape[1] - math.prod(grid)
    if extra < 0:
        return tokens
    patches = keras.layers.Cropping1D((extra, 0), name="patches")(tokens) if extra else tokens
    return keras.layers.Reshape((*grid, tokens.shape[2]), name="patch_map")(patches)
