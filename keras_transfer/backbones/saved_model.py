"""Makes a backbone of a TensorFlow SavedModel, on disk or behind a TF Hub handle.

A SavedModel may say the size and channels of its images, but not the range of their values. Two cases are known: bytes
can only be pixels, and the image modules of tfhub.dev and Kaggle take 0..1 by convention.
"""

import os
import pathlib
import re
import tarfile
import tempfile
from collections.abc import Mapping

import keras
import tensorflow as tf

from keras_transfer import layers
from keras_transfer.backbones import preprocessing
from keras_transfer.backbones.base import Backbone
from keras_transfer.core import checks, optional
from keras_transfer.graphs import pixel_range
from keras_transfer.machine import engine
from keras_transfer.storage import archives, saved_models

__all__ = ["from_saved_model", "is_saved_model"]

# TensorFlow Hub resolves web and bucket addresses, and compressed SavedModels.
_HANDLE = re.compile(r"(https?|gs|s3)://|.*\.(tar\.gz|tgz|tar)$")

# Addresses whose image modules follow TensorFlow Hub's conventions for images.
_HUB = re.compile(r"https?://(www\.)?(tfhub\.dev|kaggle\.com)/")
_NUMBERS = {"float32", "float16", "bfloat16", "float64", "uint8", "int32", "int64"}


def is_saved_model(source: str | os.PathLike) -> bool:
    """Returns whether a source may be a SavedModel: a folder, a compressed one, or what TF Hub resolves.

    Example:
        >>> is_saved_model("module.tar.gz")
        True
    """
    is_handle = _HANDLE.match(os.fspath(source)) is not None
    return is_handle or pathlib.Path(source).expanduser().is_dir()


def from_saved_model(
    handle: str | os.PathLike,
    *,
    weights: str | None = "pretrained",
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    channel_mode: str = "mean",
    preprocess: object = None,
    output: str | None = None,
    trust: bool = False,
    arguments: dict | None = None,
) -> Backbone:
    """Makes a backbone of a SavedModel: pixels 0..255 in, the module's feature map or vector out.

    The whole module is one block with one layer, "saved_model"; see `layers.SavedModelLayer`.

    Args:
        handle: A folder; a compressed one (`.tar`, `.tar.gz`, `.tgz`); or a handle that TF Hub resolves: an address of
            tfhub.dev or Kaggle, of a compressed SavedModel anywhere, or a bucket. TF Hub keeps its downloads in the
            folder named by the environment variable TFHUB_CACHE_DIR.
        weights: Must be "pretrained": a SavedModel has no others.
        image_size: (height, width) of the images, for a module that takes several sizes.
        channels: Channels of the images, which must be those of the module; None for 3.
        channel_mode: Unused, as the module's first layer cannot be changed.
        preprocess: See `preprocessing.resolve`. Optional for a module that takes bytes, and for one from tfhub.dev or
            Kaggle, which takes 0..1.
        output: Key of the output to take, a signature to call, or "signature:key".
        trust: Whether the program in the SavedModel may run.
        arguments: Further arguments of the module's call.

    Raises:
        InputError: If there is no such SavedModel, it does not map images to features, an argument cannot work, or
            it is not trusted.
        MissingExtraError: If TF Hub is needed and not installed.

    Example:
        >>> import tensorflow as tf
        >>> module = tf.Module()
        >>> module.kernel = tf.Variable(tf.ones((2, 2, 3, 4)))
        >>> images = tf.TensorSpec([None, 8, 8, 3])
        >>> module.__call__ = tf.function(lambda x: tf.nn.conv2d(x, module.kernel, 2, "SAME"), input_signature=[images])
        >>> tf.saved_model.save(module, "conv")
        >>> from_saved_model("conv", preprocess="tf", trust=True).output.shape
        (None, 4, 4, 4)
    """
    if weights != "pretrained":
        raise checks.error(
            "`weights` must be 'pretrained' for a SavedModel, which brings its own",
            given=repr(weights),
        )
    engine.require_tensorflow("a SavedModel or TF Hub module as backbone")
    handle, channels = str(handle), channels or 3
    folder = _find_folder(handle, trust=trust)
    calls = saved_models.describe(folder, argument="source").calls
    call, _ = saved_models.choose(calls, output)
    specs = _image_specs(call, calls)
    size = _choose_size(specs, image_size)
    counts = [None if spec.shape is None else spec.shape[3] for spec in specs]
    if None not in counts and channels not in counts:
        raise checks.error(
            f"`channels` must be {min(filter(None, counts))}, which the SavedModel takes",
            given=channels,
            fix="The first layer of a SavedModel cannot be changed.",
        )
    prepare = preprocessing.resolve(_choose_preprocess(handle, specs, preprocess))
    saved_models.check_trust(handle, trust=trust)

    images = keras.Input((*size, channels), name="image")
    pixels = preprocessing.make(prepare, channels=channels)(images)
    digest = saved_models.keep(folder)
    module = layers.SavedModelLayer(
        handle, output=output, arguments=arguments, digest=digest, name="saved_model"
    )
    features = module(pixels)
    if len(features.shape) not in (2, 4):
        has_others = len(call.outputs) > 1 or len(calls) > 1
        raise checks.error(
            "a SavedModel must give vectors or feature maps, of rank 2 or 4",
            given=f"shape {tuple(features.shape)} from {handle!r}",
            fix="Choose another output with `output=`." if has_others else "",
        )
    module.tell()
    source = {
        "name": handle,
        "weights": weights,
        "image_size": list(size),
        "arguments": dict(arguments or {}),
        "preprocessing": preprocessing.describe(prepare),
        "output": output,
        "digest": digest,
    }
    name = re.sub(r"\W+", "_", pathlib.PurePath(handle).name.partition(".")[0]).strip("_")
    return Backbone.of(images, features, source=source, name=name or "backbone")


def _find_folder(handle: str, *, trust: bool) -> str:
    """Returns the folder that a handle stands for. Nothing is downloaded or unpacked without trust."""
    path = pathlib.Path(handle).expanduser()
    if path.is_dir():
        return str(path)
    saved_models.check_trust(handle, trust=trust)
    if path.is_file():
        unpacked = pathlib.Path(tempfile.mkdtemp(dir=archives.scratch()))
        archives.untar(path, unpacked, argument="source")
        folders = [file.parent for file in unpacked.rglob(saved_models.FILE)]
        if len(folders) != 1:
            given = f"{len(folders)} in {str(path)!r}"
            raise checks.error(f"`source` must hold one {saved_models.FILE}", given=given)
        return str(folders[0])
    if "://" not in handle:
        raise checks.error(
            "`source` must be an existing folder or file, or a handle", given=repr(handle)
        )
    hub = optional.require("tensorflow_hub", purpose="Resolving a TF Hub handle")
    try:
        return hub.resolve(handle)
    except (OSError, ValueError, EOFError, tarfile.TarError, tf.errors.OpError) as failed:
        raise checks.error(
            "`source` must be an existing folder, or a handle that TF Hub can resolve",
            given=f"{handle!r} ({checks.first_line(failed)})",
            fix="Offline: download the module elsewhere and give its folder, or set TFHUB_CACHE_DIR to a filled cache.",
        ) from failed


def _image_specs(call: saved_models.Call, calls: Mapping) -> list[saved_models.Spec]:
    """Returns the tensors of images that a call takes, in batches of any size."""
    numbers = [spec for spec in call.specs if spec.dtype in _NUMBERS]
    specs = [spec for spec in numbers if spec.shape is None or len(spec.shape) == 4]
    if not specs:
        takes = ", ".join(f"{spec.dtype} {spec.shape}" for spec in call.specs)
        others = [name for name, other in calls.items() if name and other is not call]
        fix = f"It has further signatures: output={' or '.join(map(repr, others))}."
        raise checks.error(
            "a SavedModel must take images (batch, height, width, channels)",
            given=takes or "no tensor, or several",
            fix=fix if others else "",
        )
    specs = [spec for spec in specs if spec.shape is None or spec.shape[0] is None]
    if not specs:
        given = f"shape {call.specs[0].shape}"
        raise checks.error("a SavedModel must take batches of any size", given=given)
    return specs


def _choose_size(specs: list[saved_models.Spec], asked: tuple[int, int] | None) -> tuple[int, int]:
    """Returns the image size asked for, or the only one that the SavedModel takes."""
    sizes = [(None, None) if spec.shape is None else spec.shape[1:3] for spec in specs]
    fixed = [(height, width) for height, width in sizes if height is not None and width is not None]
    if asked is None and len(fixed) == len(sizes) == 1:
        return fixed[0]
    if asked is not None and any(pixel_range.fits(size, asked) for size in sizes):
        return asked
    takes = " or ".join(map(str, fixed)) if len(fixed) == len(sizes) else "images of several sizes"
    given = f"{asked}, where it takes {takes}"
    if asked is None:
        expected = "`image_size` must be given for this SavedModel"
        fix = "Pass image_size=, best the size that it was trained at."
        raise checks.error(expected, given=given, fix=fix)
    raise checks.error("`image_size` must be what the SavedModel takes", given=given)


def _choose_preprocess(handle: str, specs: list[saved_models.Spec], preprocess: object) -> object:
    """Returns what the user says, else the preprocessing of the two cases that are known."""
    if preprocess is not None:
        return preprocess
    if all(spec.dtype == "uint8" for spec in specs):
        checks.note(
            f"{handle} takes whole numbers 0..255, so pixels are not rescaled (preprocess='inside')"
        )
        return "inside"
    if _HUB.match(handle):
        checks.note(
            f"{handle}: pixels are scaled to 0..1, the range of TF Hub's image modules (preprocess='0-1')"
        )
        return "0-1"
    raise checks.error(
        "`preprocess` must be given for a SavedModel, which does not say what it expects instead of pixels 0..255",
        given=None,
        fix=f"It is one of {preprocessing.CHOICES}.",
    )
