"""The user's own Keras model as a backbone.

The model's graph is called once more on pixels that were preprocessed, with the layers themselves: what is
trained in the backbone is trained in the model. Only where the input must have another shape, or the weights
shall be random, are the layers made again.
"""

import functools
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import keras

from keras_transfer import layers
from keras_transfer.backbones import channels as planes
from keras_transfer.backbones import preprocessing, rebuilding, trunks, weight_files
from keras_transfer.backbones.base import Backbone
from keras_transfer.core import checks
from keras_transfer.graphs import nodes, pixel_range

__all__ = ["from_model"]


def from_model(
    model: keras.layers.Layer,
    *,
    weights: str | os.PathLike | None = "pretrained",
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    channel_mode: str = "mean",
    preprocess: object = None,
    output: str | None = None,
    name: str | None = None,
    source: dict | None = None,
) -> Backbone:
    """Makes a backbone of a Keras model: pixels 0..255 in, features out, head cut off.

    The backbone shares its layers with `model`, unless image size or channels differ from what `model` takes, or
    `weights` is None. A model without a graph (a subclass of `keras.Model`) becomes one layer; it is one block
    and keeps its head.

    Args:
        model: Functional, sequential, or anything that can be called on images.
        weights: "pretrained" (those that the model has), None for random ones, or a file, which is loaded into
            `model`.
        image_size: (height, width) of the images; None for what the model takes.
        channels: Channels of the images; None for what the model takes.
        channel_mode: How the first layer's filters go over to them, see `channels.widen`.
        preprocess: See `preprocessing.resolve`. May be left out for a model that rescales pixels by layers of its own.
        output: See `trunks.find`.
        name: Of the backbone; by default the model's.
        source: More for the record of where it comes from.

    Raises:
        InputError: If the model, an argument, the size or the weights cannot work.

    Example:
        >>> head = [keras.layers.Flatten(name="flat"), keras.layers.Dense(2, name="fc")]
        >>> own = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv"), *head], name="own")
        >>> backbone = from_model(own, preprocess="tf")
        keras_transfer: own ends at 'conv'; left out above it: flat, fc
        >>> backbone.output.shape
        (None, 6, 6, 4)
    """
    if isinstance(model, Backbone) and (weights, preprocess, output) == ("pretrained", None, None):
        height, width, count = model.input_shape[1:]
        if (image_size or (height, width), channels or count) == ((height, width), count):
            return model
    weights = weight_files.check(weights)
    trunk = trunks.find(model, output=output, image_size=image_size, channels=channels)
    _check_names(trunk)
    prepare = _preparation(trunk, preprocess)
    entry = _entry(trunk, prepare, image_size, channels, channel_mode)
    if isinstance(weights, pathlib.Path):
        weight_files.load(model, weights, needed=trunk.operations)
    features = _features(trunk, entry, keep=weights is not None, channel_mode=channel_mode)
    name = name or model.name
    record = _record(trunk, name, weights, entry.images, prepare, channel_mode) | (source or {})
    return Backbone.of(entry.images, features, source=record, name=name)


def _check_names(trunk: trunks.Trunk) -> None:
    """Raises an error for layers that could not be saved, and notes what needs trust when it is loaded."""
    unmarked = [operation for operation in trunk.operations if operation is not trunk.mark]
    lambdas = rebuilding.check_saveable(unmarked)
    if lambdas:
        checks.note(
            f"a saved file will carry the code of {', '.join(lambdas)}: loading it needs trust=True"
        )
    if any(operation.name == "representation" for operation in unmarked):
        raise checks.error(
            "the name 'representation' must be free",
            given="a layer of that name",
            fix="Rename the layer.",
        )


def _free(name: str, trunk: trunks.Trunk) -> str:
    taken = {operation.name for operation in trunk.operations}
    return next(
        one
        for one in (name, *(f"{name}_{number}" for number in range(1, len(taken) + 2)))
        if one not in taken
    )


def _preparation(trunk: trunks.Trunk, preprocess: object) -> str | keras.layers.Layer | None:
    """A mode or a layer; None for a network that holds the package's own."""
    if trunk.prepared:
        if preprocess is not None:
            raise checks.error(
                "`preprocess` must be left out for a model that has the package's", given=preprocess
            )
        return None
    rescales = pixel_range.takes(trunk.network) == "pixels"
    name = trunk.network.name
    if preprocess is None and not rescales:
        raise checks.error(
            f"`preprocess` must be given for {name!r}: its layers do not say what it expects instead of pixels 0..255",
            given=None,
            fix=f"It is one of {preprocessing.CHOICES}.",
        )
    if preprocess is None:
        checks.note(f"{name} rescales its pixels by layers of its own: preprocess='inside'")
        return "inside"
    found = preprocessing.resolve(preprocess, name=_free("preprocess", trunk))
    if rescales and found != "inside":
        given = preprocessing.describe(found)
        checks.note(
            f"{name} rescales its pixels by layers of its own, after preprocess={given!r}; 'inside' leaves it to them"
        )
    return found


class _Entry(NamedTuple):
    """How images come in."""

    images: keras.KerasTensor
    pixels: keras.KerasTensor
    """What the network is given in their place."""
    mode: str
    """Of `layers.Preprocess`: what the first layer's filters are adapted to where the channels are others."""
    count: int
    """How many channels they are adapted to."""


def _entry(
    trunk: trunks.Trunk,
    prepare: str | keras.layers.Layer | None,
    image_size: tuple[int, int] | None,
    channels: int | None,
    channel_mode: str,
) -> _Entry:
    *size, native = trunk.network.inputs[0].shape[1:]
    count = planes.check_channels(channels or native or 3, channel_mode)
    images = keras.Input((*(image_size or size), count), name=_free("image", trunk))
    named = {"channels": count, "channel_mode": channel_mode, "name": _free("preprocess", trunk)}
    if prepare is None:
        pixels = images
    elif isinstance(prepare, str) and native == 3 != count:
        pixels = planes.preprocess(prepare, **named)(images)
    else:
        pixels = _prepared(preprocessing.make(prepare, **named), images)
    widened = isinstance(prepare, str) and native == 3 != count
    if native not in (None, pixels.shape[3]) or widened:
        _check_widening(trunk, native, count)
    if isinstance(prepare, str):
        return _Entry(images, pixels, prepare, count)
    return _Entry(images, pixels, "inside", pixels.shape[3])


def _prepared(layer: keras.layers.Layer, images: keras.KerasTensor) -> keras.KerasTensor:
    given = preprocessing.describe(layer)
    try:
        pixels = layer(images)
    except (ValueError, TypeError, NotImplementedError, AttributeError) as refused:
        raise checks.error(
            "`preprocess` must take a tensor (batch, height, width, channels)",
            given=f"{given} ({checks.first_line(refused)})",
            fix="Write it with keras.ops.",
        ) from refused
    shape = tuple(getattr(pixels, "shape", ()))
    if len(shape) != 4 or shape[3] is None:
        expected = "`preprocess` must give a tensor (batch, height, width, channels)"
        raise checks.error(expected, given=f"{given}, which gives {shape}")
    return pixels


def _check_widening(trunk: trunks.Trunk, native: int, count: int) -> None:
    given = f"{count} for {trunk.network.name!r}"
    if trunk.prepared:
        fix = "Build it anew with `channels=` from what it was built from."
        raise checks.error(
            f"`channels` must be {native}, which the backbone takes", given=given, fix=fix
        )
    if native != 3:
        fix = "Only networks for RGB can be given other channels."
        raise checks.error(
            f"`channels` must be {native}, which the model takes", given=given, fix=fix
        )
    for operation in trunk.operations:
        if isinstance(operation, keras.layers.Normalization):
            expected = (
                f"`channels` must be 3 for a model that normalises each colour ({operation.name!r})"
            )
            fix = "Take that layer out of the model, and give what it does as `preprocess`."
            raise checks.error(expected, given=given, fix=fix)


def _features(
    trunk: trunks.Trunk, entry: _Entry, *, keep: bool, channel_mode: str
) -> keras.KerasTensor:
    """Calls the network on the pixels, with its own layers where they fit."""
    native, given = tuple(trunk.network.inputs[0].shape[1:]), tuple(entry.images.shape[1:])
    sides = zip(native, entry.pixels.shape[1:], strict=True)
    widened = (
        native[2] == 3 != entry.count
    )  # two channels and the plane of ones are three inputs, too
    fits = not widened and all(None in pair or pair[0] == pair[1] for pair in sides)
    pairs: rebuilding.Pairs = {}
    make = None if fits and keep else rebuilding.copying(pairs)
    swap = functools.partial(_called_instead, make=make)
    try:
        (features,) = nodes.replay(trunk.network, [entry.pixels], [trunk.end], swap=swap)
    except checks.InputError:
        raise
    except (ValueError, TypeError) as refused:
        raise checks.error(
            f"`image_size` and `channels` must suit {trunk.network.name!r}, which was built for {native}",
            given=f"{given} ({checks.first_line(refused)})",
        ) from refused
    if make and keep:
        adapt = functools.partial(
            planes.adapt, mode=entry.mode, channels=entry.count, channel_mode=channel_mode
        )
        rebuilding.hand_over(pairs, sizes=f"images {given}", adapt=adapt if widened else None)
        checks.note(
            f"{trunk.network.name} was built again for images {given}, with copies of its weights"
        )
    return _as_features(features)


def _called_instead(operation: keras.Operation, make: Callable | None) -> Callable:
    """What the backbone calls in the place of an operation; a mark below its end would be taken for its own."""
    if isinstance(operation, layers.Representation):
        return lambda features: features
    called = make(operation) if make else operation
    if not nodes.is_functional(operation):
        return called
    return lambda first, *more, **named: called(_as_built(operation, first), *more, **named)


def _as_built(nested: keras.Model, given: object) -> object:
    """Raises an error for a shape that a nested model was not built for: Keras lets some of them pass."""
    wanted = nested.inputs[0].shape
    pairs = zip(wanted, given.shape, strict=False) if isinstance(given, keras.KerasTensor) else ()
    if not all(None in pair or pair[0] == pair[1] for pair in pairs):
        raise ValueError(f"{nested.name!r} within it takes {tuple(wanted[1:])}")
    return given


def _as_features(features: keras.KerasTensor) -> keras.KerasTensor:
    """A map or a vector; tokens are averaged, which is what the heads do with the places of a map."""
    rank = len(features.shape)
    if rank == 3:
        checks.note(f"the features are {features.shape[1]} tokens; their mean is taken")
        return keras.layers.GlobalAveragePooling1D(name="mean_token")(features)
    if rank not in (2, 4):
        given = f"a tensor of shape {tuple(features.shape)}"
        raise checks.error(
            "the network must end in a map or a vector", given=given, fix="Choose with `output=`."
        )
    return features


def _record(
    trunk: trunks.Trunk,
    name: str,
    weights: str | pathlib.Path | None,
    images: keras.KerasTensor,
    prepare: str | keras.layers.Layer | None,
    channel_mode: str,
) -> dict:
    """See `layers.Representation`."""
    size = list(images.shape[1:3])
    known = {**trunk.mark.source} if trunk.mark else {}
    record = {"name": name, "weights": "pretrained", "arguments": {}, **known}
    record["image_size"] = None if None in size else size
    if prepare is not None:
        record["preprocessing"] = preprocessing.describe(prepare)
    if weights != "pretrained":
        record["weights"] = weights.name if isinstance(weights, pathlib.Path) else weights
    if images.shape[3] != 3:
        record |= {"channels": images.shape[3], "channel_mode": channel_mode}
    return record
