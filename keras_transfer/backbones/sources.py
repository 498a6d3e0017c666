"""`kt.backbone`: makes a backbone of anything that holds a pretrained network."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from keras_transfer.backbones import build, custom, files, fresh, kerashub, saved_model
from keras_transfer.backbones.base import Backbone
from keras_transfer.backbones.catalogue import CATALOGUE
from keras_transfer.core import checks, lookup
from keras_transfer.graphs import precision as precisions

__all__ = ["ORIGINS", "Origin", "backbone", "recognise"]


class Origin(NamedTuple):
    """A kind of source."""

    recognises: Callable[[Any], bool]
    """Whether a source is of this kind."""
    build: Callable[..., Backbone]
    """Takes the source, the arguments of `backbone` from `weights` to `channel_mode`, and those in `takes`."""
    takes: tuple[str, ...]
    """Which further arguments it takes: "preprocess", "output", "trust", "precision", "arguments" (the network's)."""


# The first row that recognises a source builds it; all but the first two see paths and handles only.
ORIGINS = {
    "name in the catalogue": Origin(build.is_name, build.from_name, ("precision", "arguments")),
    "Keras model": Origin(custom.is_model, custom.from_model, ("preprocess", "output")),
    "KerasHub preset": Origin(kerashub.is_preset, kerashub.from_preset, ("precision", "arguments")),
    "file of a Keras model": Origin(
        files.is_model_file, files.from_file, ("preprocess", "output", "trust")
    ),
    "SavedModel": Origin(
        saved_model.is_saved_model,
        saved_model.from_saved_model,
        ("preprocess", "output", "trust", "arguments"),
    ),
}


def recognise(source: str | os.PathLike | keras.Model) -> Origin | None:
    """Returns what builds a source, None where it is nothing that `backbone` knows.

    Example:
        >>> recognise("MobileNetV2") is ORIGINS["name in the catalogue"], recognise("mobilnet")
        (True, None)
    """
    return next((row for row in ORIGINS.values() if row.recognises(source)), None)


def backbone(
    source: str | os.PathLike | keras.Model,
    *,
    weights: str | os.PathLike | None = "pretrained",
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    channel_mode: str = "mean",
    preprocess: object = None,
    precision: str | None = None,
    trust: bool = False,
    output: str | None = None,
    **arguments: object,
) -> Backbone:
    """Builds a backbone: pixels 0..255 in, feature map out, the network's preprocessing inside.

    Args:
        source: One of

            - a name of `kt.backbones.names()`: any Keras Applications network, or "tiny", which ships
              with the package;
            - a functional or sequential `keras.Model`, or one that can be called on images;
            - a folder with a TensorFlow SavedModel, or a TF Hub handle (address or compressed file);
            - "kerashub:NAME" or the folder of a KerasHub preset;
            - a `.keras` file, or a complete `.h5` model of Keras 1, 2 or 3.
        weights: "pretrained" (what the source brings: "imagenet" for Keras Applications, generated images
            for "tiny"), "imagenet", None for random weights, or a weights file. Batch normalisations of a network
            with random weights have a momentum of at most 0.9: with the 0.999 of Keras Applications their statistics
            would still be those of the first steps when training ends.
        image_size: Side, or (height, width), of the images; by default the size that the network
            was pretrained at, where the source says it.
        channels: Channels of the images, by default those of the network. The pretrained first layer is kept
            for any number of them.
        channel_mode: How: "mean" (every channel gets the mean filter), "tile" (the RGB filters in turn) or
            "zero-extra" (the RGB filters, and zeros for further channels).
        preprocess: What turns pixels 0..255 into what the network expects, for sources that do not say
            it: "tf" (-1..1), "torch", "caffe", "0-1", "inside" (nothing), a layer, or a function.
        precision: "mixed_bfloat16" (for TPUs and new GPUs) or "mixed_float16" (for GPUs such as a T4) computes twice as
            fast there, and the heads of `kt.build_model` too; weights and answers stay float32. "float32" computes in
            full precision. By default what `keras.config.set_dtype_policy` says. For networks that are built here.
        trust: Whether code in a file (a SavedModel, a Lambda layer) may run. Only for files you trust.
        output: Where the network ends: a layer's path pattern in a Keras model (by default its last
            feature map), a key or signature in a SavedModel.
        **arguments: The network's own constructor arguments, such as `alpha`; checked by name.

    Raises:
        InputError: If the source, an argument, the size or the weights cannot work.

    Example:
        >>> trunk = backbone("MobileNetV2", weights=None, image_size=96, alpha=0.35)
        >>> trunk.levels["P3"], trunk.output.shape
        ('block_5_add', (None, 3, 3, 1280))
    """
    if not (custom.is_model(source) or isinstance(source, str | os.PathLike)):
        raise checks.error(
            "`source` must be a name, a path, a handle or a keras.Model",
            given=type(source).__name__,
        )
    origin = recognise(source)
    if origin is None:
        near = lookup.close(os.fspath(source), CATALOGUE)
        fix = "kt.backbones.names() lists the names."
        if near:
            fix = f"Close names: {', '.join(map(repr, near))}."
        expected = "`source` must be a known name, or an existing file or folder"
        raise checks.error(expected, given=repr(os.fspath(source)), fix=fix)

    precisions.check(precision)
    options = {"preprocess": preprocess, "output": output, "trust": trust, "arguments": arguments}
    options["precision"] = precision
    options = {name: options[name] for name in origin.takes}
    unused = {} if "arguments" in options else arguments
    chosen = {"preprocess": preprocess, "output": output, "precision": precision, **unused}
    for name, value in chosen.items():
        if name not in options and value is not None:
            what = "a Keras model" if custom.is_model(source) else source
            raise checks.error(f"`{name}` must be left out for {what}", given=repr(value))
    if image_size is not None:
        image_size = checks.image_size(image_size)
    if channels is not None:
        channels = checks.integer(channels, name="channels")
    options |= {"image_size": image_size, "channels": channels, "channel_mode": channel_mode}
    options.pop("precision", None)
    with precisions.made_in(precision):
        built = origin.build(source, weights=weights, **options)
    if weights is None:
        fresh.shorten_memory(built)
    return built
