"""The convolutions of a detector: a feature pyramid, and towers that all of its levels share."""

from collections.abc import Mapping, Sequence

import keras

from keras_transfer.tasks import decoders

__all__ = ["join_levels", "put"]


def join_levels(
    features: Mapping[str, keras.KerasTensor],
    *,
    width: int,
    is_own: bool,
    levels: Sequence[str],
    name: str,
) -> dict[str, keras.KerasTensor]:
    """Returns the maps of a feature pyramid, also those of levels that the backbone lacks.

    Args:
        features: The backbone's maps by level, from the lowest up.
        width: Channels of the results.
        is_own: Whether these are already the maps of a pyramid.
        levels: Those that are wanted; above the backbone's highest each is made by a convolution of stride 2.
        name: What the names of layers begin with.
    """
    if is_own:
        pyramid = {}
        for level, level_map in features.items():
            side = f"{name}_{level}_lateral"
            pyramid[level] = decoders.convolve(level_map, width, size=1, name=side)
    else:
        pyramid = decoders.pyramid(features, width=width, name=name)
    for level in levels:
        if level not in pyramid:
            below = pyramid[list(pyramid)[-1]]
            made = f"{name}_{level}_made"
            pyramid[level] = decoders.convolve(below, width, stride=2, name=made)
    return pyramid


def put(
    pyramid: Mapping[str, keras.KerasTensor],
    last: keras.layers.Layer,
    *,
    width: int,
    depth: int,
    name: str,
) -> dict[str, keras.KerasTensor]:
    """Applies the same convolutions to all levels; each level has statistics of its own.

    Args:
        pyramid: Maps by level.
        last: The layer at the top of the tower.
        width: Channels of the tower.
        depth: Its convolutions below `last`.
        name: What the names of layers begin with.
    """
    maps = dict(pyramid)
    for number in range(1, depth + 1):
        convolution = keras.layers.Conv2D(
            width, 3, padding="same", use_bias=False, name=f"{name}_conv_{number}"
        )
        for level, x in maps.items():
            norm = keras.layers.BatchNormalization(
                momentum=decoders.MOMENTUM, name=f"{name}_{level}_norm_{number}"
            )
            relu = keras.layers.ReLU(name=f"{name}_{level}_relu_{number}")
            maps[level] = relu(norm(convolution(x)))
    return {level: last(x) for level, x in maps.items()}
