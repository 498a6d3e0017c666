"""A small residual network with batch normalisation, for images from 32 pixels up.

`examples/pretrain_tiny.py` trained its weights on images that the package renders itself.
"""

import keras

__all__ = ["network"]

_WIDTHS = (32, 64, 128)


def network(x: keras.KerasTensor, *, name: str = "") -> keras.KerasTensor:
    """Applies the layers of the backbone to images in [-1, 1].

    The strides are 2, 4 and 8, so 32 pixels give a map of 4 x 4 with 256 channels. Each call makes new layers.

    Args:
        x: Images (batch, height, width, 3), at least 32 pixels high and wide.
        name: Prefix of all layer names, for a model with two of these networks.

    Returns:
        Features (batch, ceil(height / 8), ceil(width / 8), 256), none negative.

    Example:
        >>> network(keras.Input((32, 32, 3))).shape
        (None, 4, 4, 256)
    """
    x = _conv(x, _WIDTHS[0], f"{name}stem", strides=2)
    for number, width in enumerate(_WIDTHS, start=1):
        x = _residual(x, width, f"{name}block{number}", strides=1 if number == 1 else 2)
    return _conv(x, 256, f"{name}block4_1", size=1)


def _conv(
    x: keras.KerasTensor,
    width: int,
    name: str,
    *,
    size: int = 3,
    strides: int = 1,
    active: bool = True,
) -> keras.KerasTensor:
    x = keras.layers.Conv2D(
        width, size, strides=strides, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = keras.layers.BatchNormalization(momentum=0.95, epsilon=1e-3, name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x) if active else x


def _residual(x: keras.KerasTensor, width: int, name: str, *, strides: int) -> keras.KerasTensor:
    y = _conv(x, width, f"{name}_1", strides=strides)
    y = _conv(y, width, f"{name}_2", active=False)
    if strides > 1:
        x = _conv(x, width, f"{name}_skip", size=1, strides=strides, active=False)
    x = keras.layers.Add(name=f"{name}_add")([x, y])
    return keras.layers.ReLU(name=f"{name}_relu")(x)
