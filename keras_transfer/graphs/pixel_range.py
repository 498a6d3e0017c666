"""Checks that images are what a model takes: their shape, channels and range of values.

Networks of the package take pixels 0..255 and rescale inside. Images that were already rescaled look nearly black to
them: nothing fails, the model only learns badly. Looking at one batch finds that.
"""

from collections.abc import Iterable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.graphs import nodes, paths

__all__ = ["check", "check_shape", "fits", "further", "takes"]

LOOK = (
    16  # further batches to look at before images count as rescaled: a film may start in the dark
)
SLACK = 1.0  # resizing may overshoot 0..255 by this
BRIGHT = 16.0  # no rescaled image has values above this
FIX = "Multiply them by 255, or leave the rescaling out where the data is made: the model rescales inside."

# Layers that leave the range of values as it is.
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

    "pixels": it rescales values 0..255 itself. "raw": the weights see the images unchanged. "unknown": something else
    happens (a function, a layer of the user's own, a normalisation by the batch).

    Example:
        >>> takes(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255)]))
        'pixels'
    """
    for layer in paths.leaves(model).values():
        source = getattr(layer, "source", None)
        if isinstance(source, dict) and source.get("preprocessing"):
            return "pixels"  # a marked trunk preprocesses, whatever layer does so
    return _classify_model(model) or "unknown"


def check(
    model: keras.Model,
    images: np.ndarray,
    *,
    name: str = "`images`",
    more: Iterable[np.ndarray] = (),
) -> str | None:
    """Raises an error if a batch of images is not what `model` takes; returns a note if it may not be.

    Images of type uint8 are pixels, however dark. Floats count as rescaled if none is larger than 1, not all are
    whole numbers, and the same holds for the batches in `more`.

    Args:
        model: A Keras model of images.
        images: One batch.
        name: The name of the images in errors.
        more: Further batches, read only if the first one is suspicious.

    Raises:
        InputError: If a value is not finite, or the model takes pixels and the images are none.

    Example:
        >>> model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Rescaling(1 / 255)])
        >>> check(model, np.full((1, 2, 2, 3), 0.5))
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `images` must have values 0..255. Given: 0.5 to 0.5. Multiply ...
    """
    images = _as_numbers(images)
    if not images.size:
        return None
    low, high = float(images.min()), float(images.max())  # NaN if any value is
    if not np.isfinite([low, high]).all():
        fix = "Repair or leave out the image, or find the division by zero before it."
        raise checks.error(f"{name} must have finite values", given=f"{low:g} to {high:g}", fix=fix)
    kind = takes(model)
    if kind == "raw" and high > BRIGHT:
        return (
            f"{name}: the model has no rescaling inside and is given values up to {high:g}; unless it was trained on "
            "such values, put keras.layers.Rescaling(1 / 255) before it"
        )
    if kind != "pixels" or images.dtype == np.uint8:
        return None
    if _is_small(images) and not all(_is_small(_as_numbers(batch)) for batch in more):
        return None  # a dark start
    return _check_pixels(images, low, high, name)


def _check_pixels(images: np.ndarray, low: float, high: float, name: str) -> str | None:
    """Raises an error if images for a model of pixels have another range; returns a note if they may have."""
    expected, given = f"{name} must have values 0..255", f"{low:g} to {high:g}"
    if _is_small(images):
        if np.array_equal(images, np.trunc(images)) and low >= 0:
            note = f"{name} hold only 0 and 1, of 0..255: multiply them by 255 if 1 is meant to be white"
            return note if high else None  # all black
        fix = FIX if low >= 0 else FIX.replace("Multiply them by 255", "Use (images + 1) * 127.5")
        raise checks.error(expected, given=given, fix=fix)
    if low < -SLACK or high > 255 + SLACK:
        fix = "Clip what resizing or noise added, or undo the normalisation: the model does it inside."
        if images.dtype.kind in "iu" and low >= 0:
            fix = "Bring them to 8 bits: 16-bit values divided by 257."
        raise checks.error(expected, given=given, fix=fix)
    return None


def _is_small(images: np.ndarray) -> bool:
    """Whether all values lie in -1..1."""
    return not images.size or float(np.abs(images).max()) <= 1.001


def _as_numbers(images: np.ndarray) -> np.ndarray:
    """Converts types that NumPy does not compute with, such as bfloat16 and bool, to float32."""
    images = np.asarray(images)
    return images if images.dtype.kind in "iuf" else images.astype(np.float32)


def further(dataset: tf.data.Dataset) -> Iterator[np.ndarray]:
    """Yields the images of up to `LOOK` batches after the first, and reads each only when it is asked for.

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
    """Raises an error unless a model can take images of a shape; None stands for any number.

    Args:
        wanted: The model's shape, batch first and channels last.
        given: The images' shape.
        name: The name of the images in errors.
        batch: The name of the dataset to batch in errors.

    Example:
        >>> check_shape((None, 32, 32, 1), (None, 32, 32, 3), name="`images`")
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `images` must have 1 channel as the model takes. Given: 3. Set ...
    """
    wanted, given = tuple(wanted), tuple(given)
    if len(given) == len(wanted) and fits(wanted[1:], given[1:]):
        return
    if len(given) == len(wanted) == 4 and not fits(wanted[-1:], given[-1:]):
        many = "channel" if wanted[-1] == 1 else "channels"
        fix = f"Set `channels={wanted[-1]}` where the data is made, or `channels={given[-1]}` for the backbone."
        raise checks.error(
            f"{name} must have {wanted[-1]} {many} as the model takes", given=given[-1], fix=fix
        )
    fix = "Set `image_size` where the data is made."
    if len(given) == len(wanted) - 1:
        fix = f"Batch the dataset: `{batch}.batch(32)`."
    raise checks.error(f"{name} must have shape {wanted}", given=given, fix=fix)


def fits(wanted: Sequence[int | None], given: Sequence[int | None]) -> bool:
    """Returns whether two shapes agree side by side; None stands for any number.

    Example:
        >>> fits((None, 32, 3), (16, 32, 3)), fits((32, 3), (16, 3))
        (True, False)
    """
    pairs = zip(wanted, given, strict=False)
    return all(None in pair or pair[0] == pair[1] for pair in pairs)


def _classify_model(model: keras.Model) -> str | None:
    """Returns what the first layers that change a model's images do, as in `takes`; None if none does anything."""
    if not nodes.is_functional(model):
        inner = map(_classify, paths.leaves(model).values())
        return "pixels" if "pixels" in inner else "unknown"

    untouched: set[int] = set()
    kinds: set[str | None] = set()
    for node in nodes.nodes(model):
        if node.inputs and not any(id(tensor) in untouched for tensor in node.inputs):
            continue
        kind = _classify(node.operation) if node.inputs else None
        if kind is None:
            untouched |= {id(tensor) for tensor in node.outputs}
        kinds.add(kind)
    return next((kind for kind in ("pixels", "unknown", "raw") if kind in kinds), None)


def _classify(operation: keras.Operation) -> str | None:
    """Returns what one operation does to images that no other has changed, as in `takes`; None for nothing."""
    kind = type(operation)
    if isinstance(operation, keras.Model):
        return _classify_model(operation)
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
