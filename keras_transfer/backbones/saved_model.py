"""A TensorFlow SavedModel, on disk or behind a TF Hub handle, as a backbone.

Size and channels of the images are read from the module where it says them; the range of its values is
not in a SavedModel. Two cases are known all the same: bytes can only be pixels, and the image modules of
tfhub.dev and Kaggle take 0..1 by a convention of theirs.
"""

import pathlib
import re
import tarfile
import tempfile

import keras
import tensorflow as tf

from keras_transfer import layers
from keras_transfer.backbones import preprocessing
from keras_transfer.backbones.base import Backbone
from keras_transfer.core import checks, optional
from keras_transfer.storage import archives, saved_models

__all__ = ["from_saved_model"]

# Places whose image modules follow TensorFlow Hub's common image conventions.
_HUB = re.compile(r"https?://(www\.)?(tfhub\.dev|kaggle\.com)/")
_NUMBERS = {"float32", "float16", "bfloat16", "float64", "uint8", "int32", "int64"}


def from_saved_model(
    handle: str,
    *,
    weights: str | None = "pretrained",
    image_size: tuple[int, int] | None = None,
    channels: int = 3,
    channel_mode: str = "mean",
    preprocess: object = None,
    output: str | None = None,
    trust: bool = False,
    arguments: dict | None = None,
) -> Backbone:
    """Makes a backbone of a SavedModel: pixels 0..255 in, the module's feature map or vector out.

    The whole module is one block with one layer, "saved_model"; see `layers.SavedModelLayer`.

    Args:
        handle: A folder; a compressed one (`.tar`, `.tar.gz`, `.tgz`); or what TF Hub resolves: an address of
            tfhub.dev or Kaggle, of a compressed SavedModel anywhere, or a bucket. Hub keeps what it downloads
            in the folder that the environment variable TFHUB_CACHE_DIR names.
        weights: Must be "pretrained": a SavedModel has no others.
        image_size: (height, width) of the images, where the module takes several.
        channels: Of the images; must be the module's.
        channel_mode: Has no meaning here, as the module's first layer cannot be changed.
        preprocess: See `preprocessing.resolve`. May be left out for a module that takes bytes, and for one from
            tfhub.dev or Kaggle, which takes 0..1.
        output: Key of the output to take, a signature to call, or "signature:key".
        trust: Whether the program in the SavedModel may run.
        arguments: Further arguments of the module's call; checked by name.

    Raises:
        InputError: If there is no such SavedModel, it does not take and give what a backbone does, an argument
            cannot work, or it is not trusted.
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
    handle = str(handle)
    folder = _folder(handle, trust=trust)
    calls = saved_models.describe(folder, argument="source").calls
    call, _ = saved_models.choose(calls, output)
    specs = _image_specs(call, calls)
    size = _size(specs, image_size)
    _check_channels(specs, channels)
    found = preprocessing.resolve(_range(handle, specs, preprocess))
    _check_trust(handle, trust=trust)
    prepare = preprocessing.make(found, channels=channels)
    module = layers.SavedModelLayer(
        handle,
        output=output,
        arguments=arguments,
        digest=saved_models.keep(folder),
        name="saved_model",
    )
    images = keras.Input((*size, channels), name="image")
    features = module(prepare(images))
    if len(features.shape) not in (2, 4):
        raise checks.error(
            "a SavedModel must give vectors or feature maps, of rank 2 or 4",
            given=f"shape {tuple(features.shape)} from {handle!r}",
            fix="Choose another output with `output=`."
            if len(call.outputs) > 1 or len(calls) > 1
            else "",
        )
    module.tell()
    source = {
        "name": handle,
        "weights": weights,
        "image_size": list(size),
        "arguments": dict(arguments or {}),
        "preprocessing": preprocessing.describe(found),
        "output": output,
        "digest": module.digest,
    }
    name = re.sub(r"\W+", "_", pathlib.PurePath(handle).name.partition(".")[0]).strip("_")
    return Backbone.of(images, features, source=source, name=name or "backbone")


def _check_trust(handle: str, *, trust: bool) -> None:
    if not trust:
        raise checks.error(
            "`trust` must be True for a SavedModel, which is a program that will run",
            given=f"{trust} for {handle!r}",
            fix="Pass trust=True if you trust its author.",
        )


def _folder(handle: str, *, trust: bool) -> str:
    """Returns the folder that a handle stands for; what is not trusted is neither downloaded nor unpacked."""
    path = pathlib.Path(handle).expanduser()
    if path.is_dir():
        return str(path)
    _check_trust(handle, trust=trust)
    if path.is_file():
        return _unpacked(path)
    if "://" not in handle:
        raise checks.error(
            "`source` must be an existing folder or file, or a handle", given=repr(handle)
        )
    hub = optional.require("tensorflow_hub", extra="hub", purpose="Resolving a TF Hub handle")
    try:
        return hub.resolve(handle)
    except (OSError, ValueError, EOFError, tarfile.TarError, tf.errors.OpError) as failed:
        reason = (str(failed).strip() or type(failed).__name__).splitlines()[0]
        raise checks.error(
            "`source` must be an existing folder, or a handle that TF Hub can resolve",
            given=f"{handle!r} ({reason})",
            fix="Offline: download the module elsewhere and give its folder, or set TFHUB_CACHE_DIR to a filled cache.",
        ) from failed


def _unpacked(path: pathlib.Path) -> str:
    folder = pathlib.Path(tempfile.mkdtemp(dir=archives.scratch()))
    archives.untar(path, folder, argument="source")
    found = [file.parent for file in folder.rglob(saved_models.FILE)]
    if len(found) != 1:
        raise checks.error(
            f"`source` must hold one {saved_models.FILE}", given=f"{len(found)} in {str(path)!r}"
        )
    return str(found[0])


def _image_specs(call: saved_models.Call, calls: dict) -> list[saved_models.Spec]:
    """What images a call takes, in any number."""
    found = [
        spec
        for spec in call.specs
        if spec.dtype in _NUMBERS and (spec.shape is None or len(spec.shape) == 4)
    ]
    if not found:
        takes = (
            ", ".join(f"{spec.dtype} {spec.shape}" for spec in call.specs)
            or "no tensor, or several"
        )
        others = [name for name, other in calls.items() if name and other is not call]
        fix = (
            f"It has further signatures: output={' or '.join(map(repr, others))}." if others else ""
        )
        raise checks.error(
            "a SavedModel must take images (batch, height, width, channels)", given=takes, fix=fix
        )
    found = [spec for spec in found if spec.shape is None or spec.shape[0] is None]
    if not found:
        raise checks.error(
            "a SavedModel must take batches of any size", given=f"shape {call.specs[0].shape}"
        )
    return found


def _size(specs: list[saved_models.Spec], asked: tuple[int, int] | None) -> tuple[int, int]:
    sizes = [(None, None) if spec.shape is None else spec.shape[1:3] for spec in specs]
    fixed = [size for size in sizes if None not in size]
    if asked is None and len(fixed) == len(sizes) == 1:
        return fixed[0]
    takes = " or ".join(map(str, fixed)) if len(fixed) == len(sizes) else "images of several sizes"
    if asked is None:
        fix = "Pass image_size=, best the size that it was trained at."
        raise checks.error(
            "`image_size` must be given for this SavedModel",
            given=f"None, where it takes {takes}",
            fix=fix,
        )
    if not any(
        all(None in pair or pair[0] == pair[1] for pair in zip(size, asked, strict=True))
        for size in sizes
    ):
        raise checks.error(
            "`image_size` must be what the SavedModel takes",
            given=f"{asked}, where it takes {takes}",
        )
    return asked


def _check_channels(specs: list[saved_models.Spec], channels: int) -> None:
    takes = {None if spec.shape is None else spec.shape[3] for spec in specs}
    if not takes & {None, channels}:
        fix = "The first layer of a SavedModel cannot be changed."
        raise checks.error(
            f"`channels` must be {min(takes)}, which the SavedModel takes", given=channels, fix=fix
        )


def _range(handle: str, specs: list[saved_models.Spec], preprocess: object) -> object:
    """What is to be done to pixels: as asked, or by the two cases that are known."""
    if preprocess is not None:
        return preprocess
    if all(spec.dtype == "uint8" for spec in specs):
        checks.note(f"{handle}: takes bytes, so preprocess='inside'")
        return "inside"
    if _HUB.match(handle):
        checks.note(f"{handle}: preprocess='0-1' taken, the range of TF Hub's image modules")
        return "0-1"
    raise checks.error(
        "`preprocess` must be given for a SavedModel, which does not say what it expects instead of pixels 0..255",
        given=None,
        fix=f"It is one of {preprocessing.CHOICES}.",
    )
