"""What a model takes as images, checked on one batch: their shape and channels, and the range of their values.

Networks of the package take pixels 0..255 and rescale inside. Images that were rescaled before reach such a network
as nearly black ones: nothing fails, it only learns badly. One look at a batch finds that.
"""

from collections.abc import Iterable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.graphs import nodes, paths

__all__ = ["check", "check_shape", "further", "takes"]

LOOK = 16  # batches to look at before images count as rescaled: a film may start in the dark
SLACK = 1.0  # what resizing may leave beyond 0..255
BRIGHT = 16.0  # no rescaled image has values above this
FIX = "Multiply them by 255, or leave the rescaling out where the data is made: the model rescales inside."

# Layers that change no range, so that what comes out of them is still what came in.
PASSING = (
    keras.layers.Identity, keras.layers.ZeroPadding2D, keras.layers.Cropping2D, keras.layers.Resizing,
    keras.layers.CenterCrop, keras.layers.Reshape, keras.layers.Permute, keras.layers.Flatten,
    keras.layers.MaxPooling2D, keras.layers.AveragePooling2D, keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D, keras.layers.UpSampling2D,
)  # fmt: skip
WEIGHTED = (
    keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D, keras.layers.Conv2DTranspose,
    keras.layers.Dense, keras.layers.EinsumDense,
)  # fmt: skip


def takes(model: keras.Model) -> str:
    """Returns what a model does to its images before the first weights see them.

    "pixels" means that it rescales values 0..255 itself, "raw" that the weights see the images as they are given,
    "unknown" that something else happens (a function, a layer of the user's own, a normalisation by the batch).

    Example:
        >>> takes(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255)]))
        'pixels'
    """
    every = paths.leaves(model).values()
    # A trunk that says how it preprocesses takes pixels, whatever the layer is that does so.
    if any(
        isinstance(own := getattr(layer, "source", None), dict) and own.get("preprocessing")
        for layer in every
    ):
        return "pixels"
    return _of_model(model) or "unknown"


def check(
    model: keras.Model,
    images: np.ndarray,
    *,
    name: str = "`images`",
    more: Iterable[np.ndarray] = (),
) -> str | None:
    """Raises an error if a batch of images cannot be what `model` takes; returns a note if it may not be.

    Images of type uint8 are pixels, however dark. Floats are called rescaled if no value is beyond 1, not all are
    whole numbers, and the same is true of the batches in `more`.

    Args:
        model: Any Keras model of images.
        images: One batch.
        name: What errors call the images.
        more: Further batches, only looked at when the first one is suspicious.

    Raises:
        InputError: If a value is not finite, or the model takes pixels and the images are none.

    Example:
        >>> model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Rescaling(1 / 255)])
        >>> check(model, np.full((1, 2, 2, 3), 0.5))
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `images` must have values 0..255. Given: 0.5 to 0.5. Multiply ...
    """
    images = _numbers(images)
    if not images.size:
        return None
    low, high = float(images.min()), float(images.max())  # not a number where a single value is not
    if not np.isfinite([low, high]).all():
        fix = "Repair or leave out the image, or find the division by zero before it."
        raise checks.error(f"{name} must have finite values", given=f"{low:g} to {high:g}", fix=fix)
    kind = takes(model)
    if kind == "raw" and high > BRIGHT:
        return (
            f"{name}: the model has no rescaling inside and is given values up to {high:g}; unless it was trained like "
            "that, put keras.layers.Rescaling(1 / 255) before it"
        )
    if kind != "pixels" or images.dtype == np.uint8:
        return None
    if _is_small(images) and not all(_is_small(_numbers(batch)) for batch in more):
        return None  # a dark start
    return _judged(images, low, high, name)


def _judged(images: np.ndarray, low: float, high: float, name: str) -> str | None:
    """What to say of images that a model of pixels is given."""
    expected, given = f"{name} must have values 0..255", f"{low:g} to {high:g}"
    if _is_small(images):
        if np.array_equal(images, np.trunc(images)) and low >= 0:
            text = f"{name} hold only 0 and 1, of 0..255: multiply them by 255 if 1 is meant to be white"
            return text if high else None  # all black
        fix = FIX if low >= 0 else FIX.replace("Multiply them by 255", "Use (images + 1) * 127.5")
        raise checks.error(expected, given=given, fix=fix)
    if low < -SLACK or high > 255 + SLACK:
        fix = "Clip what resizing or noise added, or undo the normalisation: the model does it inside."
        if images.dtype.kind in "iu" and low >= 0:
            fix = "Bring them to 8 bits: 16-bit values divided by 257."
        raise checks.error(expected, given=given, fix=fix)
    return None


def _is_small(images: np.ndarray) -> bool:
    """Whether nothing is beyond -1..1."""
    return not images.size or float(np.abs(images).max()) <= 1.001


def _numbers(images: np.ndarray) -> np.ndarray:
    """`images` as numbers that NumPy computes with: bfloat16 and truth values are not."""
    images = np.asarray(images)
    return images if images.dtype.kind in "iuf" else images.astype(np.float32)


def further(dataset: tf.data.Dataset) -> Iterator[np.ndarray]:
    """Yields the images of the batches after the first, as far as `check` wants them; reads when they are asked for.

    Example:
        >>> dataset = tf.data.Dataset.from_tensor_slices((np.zeros((3, 8, 8, 3)), [0, 1, 2])).batch(2)
        >>> [images.shape for images in further(dataset)]
        [(1, 8, 8, 3)]
    """
    for element in dataset.skip(1).take(LOOK):
        yield element[0].numpy()


def check_shape(
    wanted: Sequence[int | None], given: Sequence[int | None], *, name: str, batch: str = "data"
) -> None:
    """Raises an error unless images of one shape can go where another is wanted; None stands for any number.

    Args:
        wanted: The model's shape, batch first and channels last.
        given: The data's.
        name: What errors call the images.
        batch: What errors call the dataset to batch.

    Example:
        >>> check_shape((None, 32, 32, 1), (None, 32, 32, 3), name="`images`")
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `images` must have 1 channel as the model takes. Given: 3. Set ...
    """
    wanted, given = tuple(wanted), tuple(given)
    pairs = list(zip(wanted, given, strict=False))[1:]
    if len(given) == len(wanted) and all(None in pair or pair[0] == pair[1] for pair in pairs):
        return
    if len(given) == len(wanted) == 4 and None not in pairs[-1] and wanted[-1] != given[-1]:
        many = "channel" if wanted[-1] == 1 else "channels"
        fix = f"Set `channels={wanted[-1]}` where the data is made, or `channels={given[-1]}` for the backbone."
        raise checks.error(
            f"{name} must have {wanted[-1]} {many} as the model takes", given=given[-1], fix=fix
        )
    is_single = len(given) == len(wanted) - 1
    fix = (
        f"Batch the dataset: `{batch}.batch(32)`."
        if is_single
        else "Set `image_size` where the data is made."
    )
    raise checks.error(f"{name} must have shape {wanted}", given=given, fix=fix)


def _of_model(model: keras.Model) -> str | None:
    """What the first layers that matter do to the model's images; None where nothing does anything."""
    if not nodes.is_functional(model):
        every = paths.leaves(model).values()
        return "pixels" if any(_verdict(layer) == "pixels" for layer in every) else "unknown"
    untouched, found = set(), set()
    for node in nodes.nodes(model):
        if node.inputs and not any(id(tensor) in untouched for tensor in node.inputs):
            continue
        verdict = _verdict(node.operation) if node.inputs else None
        if verdict is None:
            untouched |= {id(tensor) for tensor in node.outputs}
        found.add(verdict)
    return next((kind for kind in ("pixels", "unknown", "raw") if kind in found), None)


def _verdict(operation: keras.Operation) -> str | None:
    """What one operation does to images that nothing has touched before it; None for nothing that matters."""
    kind = type(operation)
    if isinstance(operation, keras.Model):
        return _of_model(operation)
    if keras.saving.get_registered_name(kind) == "keras_transfer>Preprocess":
        return "pixels"
    if isinstance(operation, keras.layers.Rescaling):
        return "pixels" if np.max(np.abs(operation.scale)) * 255 <= 4 else "unknown"
    if isinstance(operation, keras.layers.Normalization):
        mean = getattr(operation, "mean", None)
        return "pixels" if mean is not None and np.max(np.asarray(mean)) > 2 else "unknown"
    if isinstance(operation, WEIGHTED):
        return "raw"
    is_augmentation = kind.__module__.startswith("keras.") and kind.__name__.startswith("Random")
    return None if is_augmentation or isinstance(operation, PASSING) else "unknown"
