"""`kt.backbone`: from a name to a pretrained trunk."""

import inspect
import os
import pathlib
import warnings

import keras

from keras_transfer import layers
from keras_transfer.backbones import tiny
from keras_transfer.backbones.base import Backbone
from keras_transfer.backbones.catalogue import CATALOGUE, FAMILIES
from keras_transfer.core import checks, lookup

__all__ = ["backbone", "names"]

TINY_WEIGHTS = pathlib.Path(__file__).with_name("tiny.weights.h5")
# What the package decides itself; the rest of a constructor's arguments are the user's.
_OURS = {
    "include_top", "weights", "input_tensor", "input_shape", "pooling", "classes", "classifier_activation",
    "include_preprocessing", "name", "x",
}  # fmt: skip


def names() -> list[str]:
    """Returns the names that `backbone` knows.

    Example:
        >>> "MobileNetV2" in names()
        True
    """
    return sorted(CATALOGUE, key=str.lower)


def backbone(
    name: str,
    *,
    weights: str | os.PathLike | None = "pretrained",
    image_size: int | tuple[int, int] | None = None,
    **arguments: object,
) -> Backbone:
    """Builds a backbone: pixels 0..255 in, feature map out, the network's preprocessing inside.

    Args:
        name: A name of `kt.backbones.names()`: any Keras Applications network, or "tiny", which
            ships with the package.
        weights: "pretrained" (the network's published weights: "imagenet" for Keras Applications,
            generated images for "tiny"), "imagenet", None for random weights, or a weights file.
        image_size: Side, or (height, width), of the images; by default the size that the network
            was pretrained at.
        **arguments: The network's own constructor arguments, such as `alpha`; checked by name.

    Raises:
        InputError: If the name, an argument, the size or the weights cannot work.

    Example:
        >>> trunk = backbone("MobileNetV2", weights=None, image_size=96, alpha=0.35)
        >>> trunk.levels["P3"], trunk.output.shape
        ('block_5_add', (None, 3, 3, 1280))
    """
    row = lookup.find(name, CATALOGUE, argument="backbone")
    family = FAMILIES[row.family]
    size = checks.image_size(row.size if image_size is None else image_size)
    if min(size) < family.minimum:
        raise checks.error(f"`image_size` must be at least {family.minimum} for {name}", given=image_size)
    _check_arguments(name, arguments)
    weights = _check_weights(name, weights)
    source = {
        "name": name,
        "weights": weights.name if isinstance(weights, pathlib.Path) else weights,
        "image_size": list(size),
        "arguments": arguments,
        "preprocessing": family.preprocessing,
        "blocks": family.blocks,
    }
    inputs = keras.Input((*size, 3), name="image")
    pixels = layers.Preprocess(family.preprocessing, name="preprocess")(inputs)
    network = _network(name, inputs, pixels, weights, arguments)
    return Backbone.of(inputs, network.output, source=source, name=name.lower())


def _network(
    name: str,
    inputs: keras.KerasTensor,
    pixels: keras.KerasTensor,
    weights: str | pathlib.Path | None,
    arguments: dict,
) -> keras.Model:
    """Builds the network on top of `pixels`, which comes from `inputs`, and fills it with weights."""
    if name == "tiny":
        network = keras.Model(inputs, tiny.network(pixels))
        weights = TINY_WEIGHTS if weights == "pretrained" else weights
    else:
        network = _application(name, pixels, "imagenet" if weights == "imagenet" else None, arguments)
    if isinstance(weights, pathlib.Path):
        _load(network, name, weights)
    return network


def _application(name: str, pixels: keras.KerasTensor, published: str | None, arguments: dict) -> keras.Model:
    build = getattr(keras.applications, name)
    try:
        return build(
            include_top=False, weights=published, input_tensor=pixels, input_shape=pixels.shape[1:], **arguments
        )
    except (ValueError, TypeError) as refused:
        reason = str(refused).strip().splitlines()[0]
        raise checks.error(f"the arguments must suit {name}", given=arguments, fix=f"Keras says: {reason}") from refused
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
    return pathlib.Path(keras.config.keras_home() if hasattr(keras.config, "keras_home") else "~/.keras") / "models"


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
            raise checks.error(f"an argument of {name} must be known", given=repr(argument), fix=takes)


def _check_weights(name: str, weights: str | os.PathLike | None) -> str | pathlib.Path | None:
    """Returns "imagenet", "pretrained" (for "tiny"), None, or the path of an existing file."""
    if weights is None:
        return None
    if weights == "pretrained":
        return "pretrained" if name == "tiny" else "imagenet"
    if weights == "imagenet" and name == "tiny":
        raise checks.error("`weights` of 'tiny' must be 'pretrained', None or a file", given="'imagenet'")
    if weights == "imagenet":
        return weights
    path = pathlib.Path(weights)
    if not path.is_file():
        raise checks.error(
            "`weights` must be 'pretrained', 'imagenet', None or an existing file", given=repr(str(weights))
        )
    if not path.name.endswith((".h5", ".hdf5", ".keras")):
        raise checks.error("`weights` must be an .h5, .weights.h5 or .keras file", given=repr(str(weights)))
    return path
