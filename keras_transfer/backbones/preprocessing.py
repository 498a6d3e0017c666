"""Understands what a user says about preprocessing, for networks that do not bring it along.

It is a mode of `layers.Preprocess`, a layer, or a function. A function that Keras ships becomes the mode it stands
for, so that a loaded model needs no function.
"""

import keras

from keras_transfer import layers
from keras_transfer.backbones.catalogue import FAMILIES
from keras_transfer.core import checks, lookup
from keras_transfer.layers.preprocess import MODES

__all__ = ["CHOICES", "describe", "make", "resolve"]

CHOICES = (
    "'tf' (-1..1), 'torch' (0..1, then ImageNet mean and deviation), 'caffe' (BGR, ImageNet mean subtracted), '0-1', "
    "'inside' (it takes 0..255 itself), a keras.layers.Layer, or a registered function of a tensor"
)


def resolve(preprocess: object, *, name: str = "preprocess") -> str | keras.layers.Layer:
    """Returns a mode of `layers.Preprocess`, or a layer that does what `preprocess` says.

    Args:
        preprocess: A mode, a layer, or a function of a float32 tensor (batch, height, width, channels).
        name: The name of a layer made of a function.

    Raises:
        InputError: If it is none of these, or a function that a saved model could not find again.

    Example:
        >>> resolve(keras.applications.resnet.preprocess_input)
        'caffe'
    """
    if isinstance(preprocess, keras.layers.Layer):
        return preprocess
    if isinstance(preprocess, str) and preprocess in MODES:
        return preprocess
    if not callable(preprocess):
        near = lookup.close(str(preprocess), MODES)
        fix = f"Close: {', '.join(map(repr, near))}." if near else ""
        raise checks.error(f"`preprocess` must be {CHOICES}", given=repr(preprocess), fix=fix)

    package, _, module = getattr(preprocess, "__module__", "").rpartition(".")
    is_keras = package == "keras.src.applications"
    if is_keras and getattr(preprocess, "__name__", "") == "preprocess_input":
        return "caffe" if module == "imagenet_utils" else FAMILIES[module].preprocessing
    return layers.PreprocessFunction(preprocess, name=name)


def make(
    preprocess: str | keras.layers.Layer,
    *,
    channels: int,
    channel_mode: str = "mean",
    name: str = "preprocess",
) -> keras.layers.Layer:
    """Returns the layer for a result of `resolve`.

    Example:
        >>> make("tf", channels=3).mode
        'tf'
    """
    if isinstance(preprocess, keras.layers.Layer):
        return preprocess
    return layers.Preprocess(preprocess, channels=channels, channel_mode=channel_mode, name=name)


def describe(preprocess: str | keras.layers.Layer) -> str:
    """Returns the mode, or the name of the function or layer, for the record.

    Example:
        >>> describe(keras.layers.Rescaling(1 / 255))
        'Rescaling'
    """
    if isinstance(preprocess, layers.PreprocessFunction):
        return keras.saving.get_registered_name(preprocess.function)
    return preprocess if isinstance(preprocess, str) else type(preprocess).__name__
