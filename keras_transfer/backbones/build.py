"""From a name of the catalogue to a pretrained trunk."""

import inspect
import os
import pathlib
import warnings
from typing import NamedTuple

import keras

from keras_transfer.backbones import channels as planes
from keras_transfer.backbones import tiny
from keras_transfer.backbones.base import Backbone
from keras_transfer.backbones.catalogue import CATALOGUE, FAMILIES
from keras_transfer.core import checks

__all__ = ["named"]

TINY_WEIGHTS = pathlib.Path(__file__).with_name("tiny.weights.h5")
# What the package decides itself; the rest of a constructor's arguments are the user's.
_OURS = {
    "include_top", "weights", "input_tensor", "input_shape", "pooling", "classes", "classifier_activation",
    "include_preprocessing", "name", "x",
}  # fmt: skip


def named(
    name: str,
    *,
    weights: str | os.PathLike | None,
    image_size: tuple[int, int] | None,
    channels: int,
    channel_mode: str,
    arguments: dict,
) -> Backbone:
    """Builds a network of the catalogue.

    Args:
        name: A name of the catalogue.
        weights: "pretrained" (the network's published weights: "imagenet" for Keras Applications,
            generated images for "tiny"), "imagenet", None for random weights, or a weights file, also one of
            the same network for as many channels.
        image_size: (height, width) of the images; None for the size that the network was pretrained at.
        channels: Channels of the images.
        channel_mode: How the first layer's pretrained filters go over to them, see `channels.widen`.
        arguments: The network's own constructor arguments; checked by name.

    Raises:
        InputError: If an argument, the size or the weights cannot work.

    Example:
        >>> plain = {"weights": None, "image_size": (96, 96), "channel_mode": "mean", "arguments": {"alpha": 0.35}}
        >>> named("MobileNetV2", channels=4, **plain).input.shape
        (None, 96, 96, 4)
    """
    family = FAMILIES[CATALOGUE[name].family]
    size = image_size or checks.image_size(CATALOGUE[name].size)
    if min(size) < family.minimum:
        given = size[0] if size[0] == size[1] else size
        raise checks.error(
            f"`image_size` must be at least {family.minimum} for {name}", given=given
        )
    _check_arguments(name, arguments)
    weights = _check_weights(name, weights)
    plan = _Plan(name, size, planes.check_channels(channels, channel_mode), channel_mode, arguments)
    network = _network(plan, weights) if channels == 3 else _widened(plan, weights)
    source = {
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
    """What a network is built of, its weights aside."""

    name: str
    size: tuple[int, int]
    channels: int
    channel_mode: str
    arguments: dict

    @property
    def outside(self) -> str:
        """See `catalogue.Row`."""
        return CATALOGUE[self.name].outside if self.channels != 3 else ""

    @property
    def mode(self) -> str:
        """Of `layers.Preprocess`."""
        return self.outside or FAMILIES[CATALOGUE[self.name].family].preprocessing


def _network(plan: _Plan, weights: str | pathlib.Path | None) -> keras.Model:
    """Builds the network as it was pretrained, for RGB, and fills it with weights."""
    network = _constructed(plan, "imagenet" if weights == "imagenet" else None)
    if plan.name == "tiny" and weights == "pretrained":
        weights = TINY_WEIGHTS
    if isinstance(weights, pathlib.Path):
        _load(network, plan.name, weights)
    return network


def _widened(plan: _Plan, weights: str | pathlib.Path | None) -> keras.Model:
    """Builds the network for other channels and fills it with the adapted weights of the one for RGB."""
    network = _constructed(plan, None)
    if weights is None:
        return network
    try:
        pretrained = _network(plan._replace(channels=3), weights)
    except checks.InputError as refused:
        if not isinstance(weights, pathlib.Path):
            raise
        try:  # the file may be of a network that was widened already
            _load(network, plan.name, weights)
        except checks.InputError:
            raise refused from None
        return network
    planes.transfer(
        pretrained, network, mode=plan.mode, channels=plan.channels, channel_mode=plan.channel_mode
    )
    return network


def _constructed(plan: _Plan, published: str | None) -> keras.Model:
    """Builds the network from pixels to features."""
    normalises = FAMILIES[CATALOGUE[plan.name].family].normalises
    inputs = keras.Input((*plan.size, plan.channels), name="image")
    pixels = planes.preprocess(plan.mode, plan.channels, plan.channel_mode, normalises=normalises)(
        inputs
    )
    if plan.name == "tiny":
        return keras.Model(inputs, tiny.network(pixels))
    arguments = (
        {**plan.arguments, "include_preprocessing": False} if plan.outside else plan.arguments
    )
    return _application(plan.name, pixels, published, arguments)


def _application(
    name: str, pixels: keras.KerasTensor, published: str | None, arguments: dict
) -> keras.Model:
    build = getattr(keras.applications, name)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="This model usually expects 1 or 3 input channels"
            )
            return build(
                include_top=False,
                weights=published,
                input_tensor=pixels,
                input_shape=pixels.shape[1:],
                **arguments,
            )
    except (ValueError, TypeError) as refused:
        reason = str(refused).strip().splitlines()[0]
        raise checks.error(
            f"the arguments must suit {name}", given=arguments, fix=f"Keras says: {reason}"
        ) from refused
    except Exception as failed:
        # keras.utils.get_file raises a bare Exception when a download fails; anything else passes through.
        if not isinstance(failed, OSError) and not isinstance(failed.__context__, OSError):
            raise
        raise checks.error(
            f"the ImageNet weights of {name} must be in Keras's cache or downloadable",
            given=str(failed).strip().splitlines()[0],
            fix=f"Offline: put the file of that name into {_keras_cache()}, or pass weights='path/to/file.h5'; "
            "weights=None starts from random weights.",
        ) from failed


def _keras_cache() -> pathlib.Path:
    return (
        pathlib.Path(
            keras.config.keras_home() if hasattr(keras.config, "keras_home") else "~/.keras"
        )
        / "models"
    )


def _load(network: keras.Model, name: str, path: pathlib.Path) -> None:
    try:
        with warnings.catch_warnings():
            # Keras only warns when a part of the network is missing from the file and keeps its random weights.
            warnings.simplefilter("error", UserWarning)
            network.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as mismatch:
        reason = str(mismatch).strip().splitlines()[0]
        raise checks.error(
            f"`weights` must be a weights file of {name} without its top, with the same arguments",
            given=f"{str(path)!r} ({reason})",
            fix="Check the name, `alpha` and the like, and that the file is the 'no_top' one.",
        ) from mismatch


def _check_arguments(name: str, arguments: dict) -> None:
    build = tiny.network if name == "tiny" else getattr(keras.applications, name)
    known = set(inspect.signature(build).parameters) - _OURS
    for argument in arguments:
        if argument not in known:
            takes = f"It takes: {', '.join(sorted(known))}." if known else "It takes none."
            raise checks.error(
                f"an argument of {name} must be known", given=repr(argument), fix=takes
            )


def _check_weights(name: str, weights: str | os.PathLike | None) -> str | pathlib.Path | None:
    """Returns "imagenet", "pretrained" (for "tiny"), None, or the path of an existing file."""
    if weights is None:
        return None
    if weights == "pretrained":
        return "pretrained" if name == "tiny" else "imagenet"
    if weights == "imagenet" and name == "tiny":
        raise checks.error(
            "`weights` of 'tiny' must be 'pretrained', None or a file", given="'imagenet'"
        )
    if weights == "imagenet":
        return weights
    path = pathlib.Path(weights)
    if not path.is_file():
        raise checks.error(
            "`weights` must be 'pretrained', 'imagenet', None or an existing file",
            given=repr(str(weights)),
        )
    if not path.name.endswith((".h5", ".hdf5", ".keras")):
        raise checks.error(
            "`weights` must be an .h5, .weights.h5 or .keras file", given=repr(str(weights))
        )
    return path
