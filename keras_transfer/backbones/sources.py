"""`kt.backbone`: from whatever holds a pretrained network to a backbone."""

import os
import pathlib
import re

import keras

from keras_transfer.backbones import build, custom, files, kerashub, saved_model
from keras_transfer.backbones.base import Backbone
from keras_transfer.backbones.catalogue import CATALOGUE
from keras_transfer.backbones.legacy import model
from keras_transfer.core import checks, lookup

__all__ = ["backbone", "names"]

# What TensorFlow Hub resolves: a web or bucket address, or a compressed SavedModel.
_HANDLE = re.compile(r"(https?|gs|s3)://|.*\.(tar\.gz|tgz|tar)$")


def names() -> list[str]:
    """Returns the names that `backbone` knows.

    Example:
        >>> "MobileNetV2" in names()
        True
    """
    return sorted(CATALOGUE, key=str.lower)


def backbone(
    source: str | os.PathLike | keras.Model,
    *,
    weights: str | os.PathLike | None = "pretrained",
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    channel_mode: str = "mean",
    preprocess: object = None,
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
            for "tiny"), "imagenet", None for random weights, or a weights file.
        image_size: Side, or (height, width), of the images; by default the size that the network
            was pretrained at, where the source says it.
        channels: Channels of the images, by default those of the network. The pretrained first layer is kept
            for any number of them.
        channel_mode: How: "mean" (every channel gets the mean filter), "tile" (the RGB filters in turn) or
            "zero-extra" (the RGB filters, and zeros for further channels).
        preprocess: What turns pixels 0..255 into what the network expects, for sources that do not say
            it: "tf" (-1..1), "torch", "caffe", "0-1", "inside" (nothing), a layer, or a function.
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
    size = None if image_size is None else checks.image_size(image_size)
    planes = {
        "channels": None if channels is None else checks.integer(channels, name="channels"),
        "channel_mode": channel_mode,
    }
    if isinstance(source, str) and source in CATALOGUE:
        _without(source, preprocess=preprocess, output=output)
        planes["channels"] = planes["channels"] or 3
        return build.named(source, weights=weights, image_size=size, **planes, arguments=arguments)
    own = {
        "weights": weights,
        "image_size": size,
        "preprocess": preprocess,
        "output": output,
        **planes,
    }
    if isinstance(source, keras.layers.Layer):
        _without("a Keras model", **arguments)
        return custom.from_model(source, **own)
    if not isinstance(source, str | os.PathLike):
        raise checks.error(
            "`source` must be a name, a path, a handle or a keras.Model",
            given=type(source).__name__,
        )
    return _from_text(os.fspath(source), own, trust=trust, arguments=arguments)


def _from_text(source: str, own: dict, *, trust: bool, arguments: dict) -> Backbone:
    """Builds what a path, a handle or a preset's name stands for."""
    path = pathlib.Path(source).expanduser()
    if source.startswith(kerashub.PREFIX) or kerashub.is_preset(path):
        _without(source, preprocess=own.pop("preprocess"), output=own.pop("output"))
        preset = source.removeprefix(kerashub.PREFIX)
        return kerashub.from_preset(preset, **own, arguments=arguments)
    if path.suffix == ".keras" and not path.is_dir():
        _without(source, **arguments)
        return custom.from_model(files.read_keras(path, trust=trust), **own)
    if path.suffix in (".h5", ".hdf5"):
        _without(source, **arguments)
        return custom.from_model(model.read_h5(path, trust=trust), **own)
    if path.is_dir() or _HANDLE.match(source):
        own["channels"] = own["channels"] or 3
        return saved_model.from_saved_model(source, **own, trust=trust, arguments=arguments)
    near = lookup.close(source, CATALOGUE)
    raise checks.error(
        "`source` must be a known name, or an existing file or folder",
        given=repr(source),
        fix=f"Close names: {', '.join(map(repr, near))}."
        if near
        else "kt.backbones.names() lists the names.",
    )


def _without(source: str, **unused: object) -> None:
    """Raises an error for an argument that this source cannot use."""
    for name, value in unused.items():
        if value is not None:
            raise checks.error(f"`{name}` must be left out for {source}", given=repr(value))
