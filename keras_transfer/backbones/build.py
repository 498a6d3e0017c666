"""Builds the networks of the catalogue, with pretrained weights."""

import inspect
import os
import pathlib
import warnings
from typing import Any, NamedTuple

import keras

from keras_transfer.backbones import channels as planes
from keras_transfer.backbones import tiny, weight_files
from keras_transfer.backbones.base import Backbone
from keras_transfer.backbones.catalogue import CATALOGUE, FAMILIES
from keras_transfer.core import checks

__all__ = ["from_name", "is_name"]

TINY_WEIGHTS = pathlib.Path(__file__).with_name("tiny.weights.h5")
# Arguments of constructors that the package sets; all others are the user's.
_OURS = {
    "include_top", "weights", "input_tensor", "input_shape", "pooling", "classes", "classifier_activation",
    "include_preprocessing", "name", "x",
}  # fmt: skip


def is_name(source: object) -> bool:
    """Returns whether a source is a name of the catalogue.

    Example:
        >>> is_name("VGG16")
        True
    """
    return isinstance(source, str) and source in CATALOGUE


def from_name(
    name: str,
    *,
    weights: str | os.PathLike | None,
    image_size: tuple[int, int] | None,
    channels: int | None,
    channel_mode: str,
    arguments: dict,
) -> Backbone:
    """Builds a network of the catalogue.

    Args:
        name: A name of the catalogue.
        weights: "pretrained" (the published weights: "imagenet" for Keras Applications, generated images for "tiny"),
            "imagenet", None for random weights, or a weights file, also one of the same network for as many channels.
        image_size: (height, width) of the images; None for the size that the network was pretrained at.
        channels: Channels of the images; None for 3.
        channel_mode: How the first layer's pretrained filters are adapted to them, see `channels.widen`.
        arguments: Arguments of the network's own constructor.

    Raises:
        InputError: If an argument, the size or the weights cannot work.

    Example:
        >>> options = {"weights": None, "image_size": (96, 96), "channel_mode": "mean", "arguments": {"alpha": 0.35}}
        >>> from_name("MobileNetV2", channels=4, **options).input.shape
        (None, 96, 96, 4)
    """
    row = CATALOGUE[name]
    family = FAMILIES[row.family]
    size = image_size or checks.image_size(row.size)
    if min(size) < family.minimum:
        given = size[0] if size[0] == size[1] else size
        raise checks.error(
            f"`image_size` must be at least {family.minimum} for {name}", given=given
        )
    _check_arguments(name, arguments)
    is_tiny = name == "tiny"
    names = ("pretrained",) if is_tiny else ("pretrained", "imagenet")
    weights = weight_files.check(weights, names=names)
    if weights == "pretrained" and not is_tiny:
        weights = "imagenet"

    channels = planes.check_channels(3 if channels is None else channels, channel_mode)
    plan = _Plan(name, size, channels, channel_mode, arguments)
    network = _build(plan, weights)
    source: dict[str, Any] = {
        "name": name,
        "weights": weights.name if isinstance(weights, pathlib.Path) else weights,
        "image_size": list(size),
        "arguments": arguments,
        "preprocessing": plan.mode,
        "blocks": family.blocks,
    }
    if channels != 3:
        source |= {"channels": channels, "channel_mode": channel_mode}
    return Backbone.of(network.inputs[0], network.outputs[0], source=source, name=name.lower())


class _Plan(NamedTuple):
    """The decisions about a network, without its weights."""

    name: str
    size: tuple[int, int]
    channels: int
    channel_mode: str
    arguments: dict

    @property
    def is_prepared_outside(self) -> bool:
        """Whether its own preprocessing, which is for three channels, is left out; see `catalogue.Row.outside`."""
        return self.channels != 3 and bool(CATALOGUE[self.name].outside)

    @property
    def mode(self) -> str:
        """Mode of `layers.Preprocess`."""
        row = CATALOGUE[self.name]
        return row.outside if self.is_prepared_outside else FAMILIES[row.family].preprocessing


def _build(plan: _Plan, weights: str | pathlib.Path | None) -> keras.Model:
    """Builds the network and fills it with weights; those for RGB are adapted to other channels."""
    is_rgb = plan.channels == 3
    network = _construct(plan, "imagenet" if is_rgb and weights == "imagenet" else None)
    if weights is None or (is_rgb and weights == "imagenet"):
        return network
    if is_rgb:
        path = weights if isinstance(weights, pathlib.Path) else TINY_WEIGHTS
        _load(network, plan.name, path)
        return network

    try:
        pretrained = _build(plan._replace(channels=3), weights)
    except checks.InputError as refused:
        if not isinstance(weights, pathlib.Path):
            raise
        try:  # the file may be of a network for these channels
            _load(network, plan.name, weights)
        except checks.InputError:
            raise refused from None
        return network
    planes.transfer(
        pretrained,
        network,
        mode=plan.mode,
        channels=plan.channels,
        channel_mode=plan.channel_mode,
    )
    return network


def _construct(plan: _Plan, published: str | None) -> keras.Model:
    """Makes the network from pixels to features, with its published weights or random ones."""
    normalises = FAMILIES[CATALOGUE[plan.name].family].normalises
    inputs = keras.Input((*plan.size, plan.channels), name="image")
    pixels = planes.preprocess(plan.mode, plan.channels, plan.channel_mode, normalises=normalises)(
        inputs
    )
    if plan.name == "tiny":
        return keras.Model(inputs, tiny.network(pixels))

    arguments = {
        "include_top": False,
        "weights": published,
        "input_tensor": pixels,
        "input_shape": pixels.shape[1:],
        **plan.arguments,
    }
    if plan.is_prepared_outside:
        arguments["include_preprocessing"] = False
    try:
        with warnings.catch_warnings():
            unusual = "This model usually expects 1 or 3 input channels"
            warnings.filterwarnings("ignore", message=unusual)
            return getattr(keras.applications, plan.name)(**arguments)
    except (ValueError, TypeError) as refused:
        raise checks.error(
            f"the arguments must suit {plan.name}",
            given=plan.arguments,
            fix=f"Keras says: {checks.first_line(refused)}",
        ) from refused
    except Exception as failed:
        # keras.utils.get_file raises a bare Exception when a download fails; anything else passes through.
        if not isinstance(failed, OSError) and not isinstance(failed.__context__, OSError):
            raise
        raise checks.error(
            f"the ImageNet weights of {plan.name} must be in Keras's cache or downloadable",
            given=checks.first_line(failed),
            fix="Offline: put the file of that name into ~/.keras/models, or pass weights='path/to/file.h5'; "
            "weights=None starts from random weights.",
        ) from failed


def _load(network: keras.Model, name: str, path: pathlib.Path) -> None:
    weight_files.load_whole(
        network,
        path,
        what=f"{name} without its top, with the same arguments",
        fix="Check the name, `alpha` and the like, and that the file is the 'no_top' one.",
    )


def _check_arguments(name: str, arguments: dict) -> None:
    constructor = tiny.network if name == "tiny" else getattr(keras.applications, name)
    known = sorted(set(inspect.signature(constructor).parameters) - _OURS)
    for argument in arguments:
        if argument not in known:
            fix = f"It takes: {', '.join(known)}." if known else "It takes none."
            raise checks.error(
                f"an argument of {name} must be known", given=repr(argument), fix=fix
            )
