"""From the maps of several levels to one map at the lowest of them.

A decoder is a function of the maps by level, from the lowest up; one more is a function and a row of `DECODERS`. All
layers are Keras's own. Batch normalisations have a momentum of 0.9: with Keras's 0.99 their statistics would still be
those of the first steps when a small data set is trained on.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any  # Keras has no types

import keras

__all__ = ["DECODERS", "convolve", "cover", "enlarge", "factor", "pyramid", "unet"]

MOMENTUM = 0.9
RATES = (6, 12, 18)  # of DeepLab's convolutions with holes, at stride 16
SKIP = 48  # channels of the low level that DeepLab's decoder takes (Chen et al. 2018)


def convolve(
    x: keras.KerasTensor,
    width: int,
    *,
    size: int = 3,
    rate: int = 1,
    stride: int = 1,
    name: str,
) -> keras.KerasTensor:
    """Puts a convolution, a batch normalisation and a ReLU on a map.

    Example:
        >>> convolve(keras.Input((8, 8, 4)), 2, name="merge").shape
        (None, 8, 8, 2)
    """
    x = keras.layers.Conv2D(
        width,
        size,
        strides=stride,
        padding="same",
        dilation_rate=rate,
        use_bias=False,
        name=f"{name}_conv",
    )(x)
    x = keras.layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def factor(level: str, target: str = "P0") -> int:
    """Returns how many places of one level lie in a place of a level above it, by side.

    Example:
        >>> factor("P5", "P3"), factor("P2")
        (4, 4)
    """
    return int(2 ** (int(level[1:]) - int(target[1:])))


def cover(x: keras.KerasTensor, size: Sequence[int], *, times: int, name: str) -> keras.KerasTensor:
    """Puts zeros around a map that is too small for `size`, `times` as large: its network has borders without padding.

    Example:
        >>> cover(keras.Input((31, 31, 4)), (139, 139), times=4, name="up").shape
        (None, 35, 35, 4)
    """
    pads = []
    for after, before in zip(size, x.shape[1:3], strict=True):
        missing = max(0, math.ceil(after / times) - before)
        pads.append((missing // 2, missing - missing // 2))
    if pads != [(0, 0), (0, 0)]:
        x = keras.layers.ZeroPadding2D(pads, name=f"{name}_cover")(x)
    return x


def enlarge(
    x: keras.KerasTensor,
    size: Sequence[int],
    *,
    times: int,
    name: str,
    interpolation: str = "bilinear",
) -> keras.KerasTensor:
    """Makes a map `times` as high and wide, and cuts off what is beyond `size` at the bottom and on the right.

    A level of an image whose sides are no multiples of the stride is as large as that of the padded image; one of a
    network without padding is smaller, see `cover`. Either way a place stays where it is in the image.

    Example:
        >>> enlarge(keras.Input((5, 5, 4)), (9, 10), times=2, name="up").shape
        (None, 9, 10, 4)
    """
    x = cover(x, size, times=times, name=name)
    if times > 1:
        x = keras.layers.UpSampling2D(times, interpolation=interpolation, name=f"{name}_up")(x)
    beyond = [before - after for before, after in zip(x.shape[1:3], size, strict=True)]
    if any(beyond):
        x = keras.layers.Cropping2D([(0, rows) for rows in beyond], name=f"{name}_crop")(x)
    return x


def pyramid(
    maps: Mapping[str, keras.KerasTensor], *, width: int, name: str
) -> dict[str, keras.KerasTensor]:
    """Returns a map of `width` channels for each level, which knows what the levels above it know (Lin et al. 2017).

    Args:
        maps: By level, from the lowest up.
        width: Channels of the results.
        name: Begins the names of the layers.

    Example:
        >>> maps = {"P3": keras.Input((8, 8, 16)), "P4": keras.Input((4, 4, 32))}
        >>> {level: level_map.shape for level, level_map in pyramid(maps, width=4, name="boxes").items()}
        {'P3': (None, 8, 8, 4), 'P4': (None, 4, 4, 4)}
    """
    merged: dict[str, keras.KerasTensor] = {}
    above = ""
    for level in reversed(list(maps)):
        x = convolve(maps[level], width, size=1, name=f"{name}_{level}_lateral")
        if above:
            enlarged = enlarge(
                merged[above],
                x.shape[1:3],
                times=factor(above, level),
                name=f"{name}_{level}_top",
                interpolation="nearest",
            )
            x = keras.layers.Add(name=f"{name}_{level}_add")([x, enlarged])
        merged[level], above = x, level
    return {level: convolve(merged[level], width, name=f"{name}_{level}_smooth") for level in maps}


def unet(
    maps: Mapping[str, keras.KerasTensor],
    *,
    width: int,
    name: str,
    widths: Mapping[str, int] | None = None,
) -> keras.KerasTensor:
    """Goes down from the top, joining each level's map (Ronneberger, Fischer and Brox 2015); `widths` are of levels."""
    levels = list(maps)
    x = convolve(maps[levels[-1]], width, size=1, name=f"{name}_{levels[-1]}_lateral")
    for above, level in zip(levels[:0:-1], levels[-2::-1], strict=True):
        own_width = (widths or {}).get(level, width)
        times = factor(above, level)
        x = enlarge(x, maps[level].shape[1:3], times=times, name=f"{name}_{level}_top")
        x = keras.layers.Concatenate(name=f"{name}_{level}_join")([x, maps[level]])
        x = convolve(x, own_width, name=f"{name}_{level}_merge")
    return convolve(x, (widths or {}).get(levels[0], width), name=f"{name}_last")


def fpn(maps: Mapping[str, keras.KerasTensor], *, width: int, name: str) -> keras.KerasTensor:
    """Adds the maps of a feature pyramid, all enlarged to the lowest level (Kirillov et al. 2019)."""
    by_level = pyramid(maps, width=width, name=name)
    lowest = next(iter(by_level))
    size = by_level[lowest].shape[1:3]
    enlarged = []
    for level, level_map in by_level.items():
        times = factor(level, lowest)
        enlarged.append(enlarge(level_map, size, times=times, name=f"{name}_{level}_out"))
    x = enlarged[0]
    if len(enlarged) > 1:
        x = keras.layers.Add(name=f"{name}_sum")(enlarged)
    return convolve(x, width, name=f"{name}_last")


def deeplab(maps: Mapping[str, keras.KerasTensor], *, width: int, name: str) -> keras.KerasTensor:
    """Looks at the map of stride 16 at several scales, then joins the lowest level (DeepLabV3+, Chen et al. 2018)."""
    levels = list(maps)
    top = "P4" if "P4" in maps else levels[-1]
    x = maps[top]
    views = [convolve(x, width, size=1, name=f"{name}_view_1")]
    for rate in RATES:
        views.append(convolve(x, width, rate=rate, name=f"{name}_view_{rate}"))
    if levels[-1] != top:  # what the whole neighbourhood is
        context = convolve(maps[levels[-1]], width, size=1, name=f"{name}_context")
        times = factor(levels[-1], top)
        views.append(enlarge(context, x.shape[1:3], times=times, name=f"{name}_context"))
    x = keras.layers.Concatenate(name=f"{name}_views")(views)
    x = convolve(x, width, size=1, name=f"{name}_view")

    if levels[0] != top:
        low = convolve(maps[levels[0]], SKIP, size=1, name=f"{name}_{levels[0]}_lateral")
        times = factor(top, levels[0])
        x = enlarge(x, low.shape[1:3], times=times, name=f"{name}_{levels[0]}_top")
        x = keras.layers.Concatenate(name=f"{name}_join")([x, low])
    x = convolve(x, width, name=f"{name}_merge")
    return convolve(x, width, name=f"{name}_last")


def own(maps: Mapping[str, keras.KerasTensor], *, width: int, name: str) -> keras.KerasTensor:
    """Returns the map as it is: the decoder of the backbone has joined the levels already."""
    return next(iter(maps.values()))


DECODERS: dict[str, Callable[..., Any]] = {
    "unet": unet,
    "fpn": fpn,
    "deeplab": deeplab,
    "own": own,
}
