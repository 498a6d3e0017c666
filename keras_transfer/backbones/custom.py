"""Makes a backbone of the user's own Keras model.

The model's graph is called once more on preprocessed pixels, with the same layers: training the backbone trains the
model. Layers are only copied if the input must have another shape or the weights shall be random.
"""

import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from keras_transfer import layers
from keras_transfer.backbones import channels as planes
from keras_transfer.backbones import preprocessing, rebuilding, trunks, weight_files
from keras_transfer.backbones.base import Backbone
from keras_transfer.core import checks
from keras_transfer.graphs import nodes, paths, pixel_range

__all__ = ["from_model", "is_model"]


def is_model(source: object) -> bool:
    """Returns whether a source is a Keras model, or a layer that can stand for one."""
    return isinstance(source, keras.layers.Layer)


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

    The backbone shares its layers with `model`, unless image size or channels differ from those of `model`, or
    `weights` is None. A model without a graph (a subclass of `keras.Model`) becomes one layer and one block, and
    keeps its head.

    Args:
        model: Functional, sequential, or anything that can be called on images.
        weights: "pretrained" (those of the model), None for random ones, or a file, which is loaded into `model`.
        image_size: (height, width) of the images; None for what the model takes.
        channels: Channels of the images; None for what the model takes.
        channel_mode: How the first layer's filters are adapted to them, see `channels.widen`.
        preprocess: See `preprocessing.resolve`. Optional for a model whose own layers rescale pixels.
        output: See `trunks.find`.
        name: The backbone's name; by default the model's.
        source: More entries for the record of where it comes from.

    Raises:
        InputError: If the model, an argument, the size or the weights cannot work.

    Example:
        >>> head = [keras.layers.Flatten(name="flat"), keras.layers.Dense(2, name="fc")]
        >>> own = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv"), *head], name="own")
        >>> backbone = from_model(own, preprocess="tf")
        keras_transfer: own is used up to 'conv'; left out above it: flat, fc
        >>> backbone.output.shape
        (None, 6, 6, 4)
    """
    if isinstance(model, Backbone) and (weights, preprocess, output) == ("pretrained", None, None):
        height, width, count = model.input_shape[1:]
        if (image_size or (height, width), channels or count) == ((height, width), count):
            return model

    weights = weight_files.check(weights)
    trunk = trunks.find(model, output=output, image_size=image_size, channels=channels)
    _check_layers(trunk)
    prepare = _choose_preprocessing(trunk, preprocess)
    entry = _enter(trunk, prepare, image_size, channels, channel_mode)
    if isinstance(weights, pathlib.Path):
        weight_files.load(model, weights, needed=trunk.operations)
    features = _call_network(trunk, entry, keep=weights is not None, channel_mode=channel_mode)
    if len(features.shape) == 3:
        # The heads do the same with the places of a map.
        checks.note(
            f"{trunk.network.name} gives {features.shape[1]} vectors for each image (tokens): their mean is used"
        )
        features = keras.layers.GlobalAveragePooling1D(name="mean_token")(features)
    if len(features.shape) not in (2, 4):
        raise checks.error(
            "the network must end in a map or a vector",
            given=f"a tensor of shape {tuple(features.shape)}",
            fix="Choose with `output=`.",
        )

    name = name or model.name
    *size, count = entry.images.shape[1:]
    record: dict[str, Any] = {"name": name, "weights": "pretrained", "arguments": {}}
    record |= trunk.mark.source if trunk.mark else {}
    record["image_size"] = None if None in size else size
    if prepare is not None:
        record["preprocessing"] = preprocessing.describe(prepare)
    if weights != "pretrained":
        record["weights"] = weights.name if isinstance(weights, pathlib.Path) else weights
    if count != 3:
        record |= {"channels": count, "channel_mode": channel_mode}
    return Backbone.of(entry.images, features, source=record | (source or {}), name=name)


def _check_layers(trunk: trunks.Trunk) -> None:
    """Raises an error for layers that could not be saved, and notes those that need trust when they are loaded."""
    operations = [operation for operation in trunk.operations if operation is not trunk.mark]
    lambdas = rebuilding.check_saveable(operations)
    if lambdas:
        checks.note(
            f"a saved file will hold Python code, of {', '.join(lambdas)}: loading it needs trust=True"
        )
    if any(operation.name == "representation" for operation in operations):
        raise checks.error(
            "the name 'representation' must be free",
            given="a layer of that name",
            fix="Rename the layer.",
        )


def _choose_preprocessing(
    trunk: trunks.Trunk, preprocess: object
) -> str | keras.layers.Layer | None:
    """Returns a mode or a layer; None for a network that holds the package's preprocessing already."""
    name = trunk.network.name
    if trunk.is_prepared:
        if preprocess is not None:
            raise checks.error(
                "`preprocess` must be left out for a model that has the package's", given=preprocess
            )
        return None

    rescales = pixel_range.takes(trunk.network) == "pixels"
    if preprocess is None and rescales:
        checks.note(
            f"{name} rescales pixels by its own layers, so nothing else does (preprocess='inside')"
        )
        return "inside"
    if preprocess is None:
        raise checks.error(
            f"`preprocess` must be given for {name!r}: its layers do not say what it expects instead of pixels 0..255",
            given=None,
            fix=f"It is one of {preprocessing.CHOICES}.",
        )
    prepare = preprocessing.resolve(preprocess, name=_free_name("preprocess", trunk))
    if rescales and prepare != "inside":
        given = preprocessing.describe(prepare)
        checks.note(
            f"{name} rescales its pixels by layers of its own, after preprocess={given!r}; 'inside' leaves it to them"
        )
    return prepare


def _free_name(name: str, trunk: trunks.Trunk) -> str:
    return paths.free_name(name, [operation.name for operation in trunk.operations])


class _Entry(NamedTuple):
    """The input of the backbone, and what the network gets from it."""

    images: keras.KerasTensor
    pixels: keras.KerasTensor
    """The preprocessed images."""
    mode: str
    """Mode of `layers.Preprocess` to which the first layer's filters are adapted if the channels are not 3."""
    channels: int
    """Number of channels to which they are adapted."""


def _enter(
    trunk: trunks.Trunk,
    prepare: str | keras.layers.Layer | None,
    image_size: tuple[int, int] | None,
    channels: int | None,
    channel_mode: str,
) -> _Entry:
    *size, native = trunk.network.inputs[0].shape[1:]
    count = planes.check_channels(channels or native or 3, channel_mode)
    images = keras.Input((*(image_size or size), count), name=_free_name("image", trunk))
    name = _free_name("preprocess", trunk)
    is_widened = isinstance(prepare, str) and native == 3 != count
    if prepare is None:
        pixels = images
    elif is_widened:
        pixels = planes.preprocess(prepare, count, channel_mode, name=name)(images)
    else:
        layer = preprocessing.make(prepare, channels=count, channel_mode=channel_mode, name=name)
        pixels = _prepare(layer, images)
    if is_widened or native not in (None, pixels.shape[3]):
        _check_widening(trunk, native, count)
    if isinstance(prepare, str):
        return _Entry(images, pixels, prepare, count)
    return _Entry(images, pixels, "inside", pixels.shape[3])


def _prepare(layer: keras.layers.Layer, images: keras.KerasTensor) -> keras.KerasTensor:
    """Calls the user's preprocessing, which must map images to images."""
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
        raise checks.error(
            "`preprocess` must give a tensor (batch, height, width, channels)",
            given=f"{given}, which gives {shape}",
        )
    return pixels


def _check_widening(trunk: trunks.Trunk, native: int, count: int) -> None:
    """Raises an error if the first layer cannot be adapted to another number of channels."""
    if trunk.is_prepared:
        expected = f"{native}, which the backbone takes"
        fix = "Build it anew with `channels=` from what it was built from."
    elif native != 3:
        expected = f"{native}, which the model takes"
        fix = "Only networks for RGB can be given other channels."
    else:
        kinds = keras.layers.Normalization
        norms = [operation for operation in trunk.operations if isinstance(operation, kinds)]
        if not norms:
            return
        expected = f"3 for a model that normalises each colour ({norms[0].name!r})"
        fix = "Take that layer out of the model, and give what it does as `preprocess`."
    given = f"{count} for {trunk.network.name!r}"
    raise checks.error(f"`channels` must be {expected}", given=given, fix=fix)


def _call_network(
    trunk: trunks.Trunk, entry: _Entry, *, keep: bool, channel_mode: str
) -> keras.KerasTensor:
    """Calls the network on the pixels: with its own layers if they fit and `keep` is True, else with copies."""
    native, given = tuple(trunk.network.inputs[0].shape[1:]), tuple(entry.images.shape[1:])
    # Two channels and the plane of ones are three inputs, too: shapes alone do not tell.
    is_widened = native[2] == 3 != entry.channels
    fits = not is_widened and pixel_range.fits(native, entry.pixels.shape[1:])
    pairs: rebuilding.Pairs = {}
    copy = None if fits and keep else rebuilding.make_copier(pairs)
    try:
        (features,) = nodes.replay(
            trunk.network, [entry.pixels], [trunk.end], swap=functools.partial(_swap, copy=copy)
        )
    except checks.InputError:
        raise
    except (ValueError, TypeError) as refused:
        raise checks.error(
            f"`image_size` and `channels` must suit {trunk.network.name!r}, which was built for {native}",
            given=f"{given} ({checks.first_line(refused)})",
        ) from refused
    if copy and keep:
        adapt = None
        if is_widened:
            adapt = functools.partial(
                planes.adapt, mode=entry.mode, channels=entry.channels, channel_mode=channel_mode
            )
        rebuilding.hand_over(pairs, sizes=f"images {given}", adapt=adapt)
        checks.note(
            f"{trunk.network.name} was rebuilt for images {given}, with copies of its weights"
        )
    return features


def _swap(operation: keras.Operation, copy: Callable | None) -> Callable:
    """Returns what the backbone calls in the place of an operation."""
    if isinstance(operation, layers.Representation):
        return lambda features: features  # else it would be taken for the backbone's own mark
    called = copy(operation) if copy else operation
    if not nodes.is_functional(operation):
        return called

    def call_nested(first: object, *more: object, **named: object) -> object:
        # Keras lets some shapes pass that a nested model was not built for.
        wanted = operation.inputs[0].shape
        if isinstance(first, keras.KerasTensor) and not pixel_range.fits(wanted, first.shape):
            raise ValueError(f"{operation.name!r} within it takes {tuple(wanted[1:])}")
        return called(first, *more, **named)

    return call_nested
