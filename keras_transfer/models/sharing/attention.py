"""A common trunk, and masks with which each task picks what it needs of it."""

from collections.abc import Iterable, Mapping, Sequence

import keras

from keras_transfer import tasks
from keras_transfer.core import checks
from keras_transfer.layers import marks
from keras_transfer.models.sharing import base

__all__ = ["Attention", "pooling"]


class Attention(base.Sharing):
    """Each task multiplies the trunk's activations by soft masks, and carries them up (after Liu et al. 2019).

    At the end of each chosen block a mask is made of the trunk's map, and of what the task carries from the place
    below: 1x1 convolution, batch normalisation, ReLU, 1x1 convolution, sigmoid. The map times its mask goes through
    a 3x3 convolution with ReLU and average pooling to the next place; at the last, the end of the trunk, the head
    starts. Unlike the paper's network this one has masks where a resolution ends, not at every pair of convolutions,
    and the trunk is as it is. The masks belong to the head: they are new, and train from its first stage on.

    A task with `stop_gradient` trains its masks and its head; the trunk learns nothing from it.

    Args:
        at: Patterns of blocks (or layers) whose ends are masked, beside the end of the trunk. By default the last
            block of each resolution from stride 4 on.
        width: Of the masks' inner layer, and of what is carried up.

    Example:
        >>> import keras_transfer as kt
        >>> two = {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), two, sharing=Attention("block2", width=8))
        >>> [layer.output.shape for layer in model.layers if layer.name.startswith("age_mask")][-1]
        (None, 4, 4, 256)
    """

    def __init__(self, at: str | Iterable[str] | None = None, *, width: int = 64) -> None:
        self.at = at
        self.width = checks.integer(width, name="width")

    def features(self, backbone: keras.Model, named: Mapping[str, tasks.Task]) -> base.Features:
        """See `Sharing`."""
        base.refuse_levels(named, "attention")
        taps = self._taps(backbone)
        names = base.Names(backbone, named)
        starts = {}
        for name, task in named.items():
            carried = None
            for number, tap in enumerate(taps, 1):
                prefix = f"{name}_mask_{number}"
                seen = base.stop_if_asked(tap, prefix, task)
                masked = self._mask(seen, carried, prefix, names)
                if number < len(taps):
                    carried = self._carry(masked, taps[number], prefix, names)
            starts[name] = masked
        return base.gather(backbone, starts, named)

    def _taps(self, backbone: keras.Model) -> list[keras.KerasTensor]:
        """Returns the maps to mask, bottom to top."""
        end = backbone.outputs[0]
        if len(end.shape) != 4 or None in end.shape[1:]:
            raise checks.error(
                "attention needs a backbone that ends in a map of known size",
                given=f"{backbone.name!r}, which gives {tuple(end.shape)}",
                fix="Build it with `image_size=`, or share in another way.",
            )
        points = base.tap_points(backbone, self.at)
        last = marks.end_of_trunk(backbone).input
        below = {name: tensor for name, tensor in points.items() if tensor is not last}
        for name, tensor in below.items():
            if len(tensor.shape) != 4:
                given = f"{name!r}, which gives {tuple(tensor.shape)}"
                raise checks.error("`at` must match blocks that end in maps", given=given)
        if self.at is None:
            checks.note(
                f"each task has attention masks after {', '.join([*below, 'the end of the trunk'])}"
            )
        return [*below.values(), end]

    def _mask(
        self,
        features: keras.KerasTensor,
        carried: keras.KerasTensor | None,
        prefix: str,
        names: base.Names,
    ) -> keras.KerasTensor:
        """Returns the map times the task's mask."""
        x = features
        if carried is not None:
            x = keras.layers.Concatenate(name=names.free(f"{prefix}_concat"))([features, carried])
        x = keras.layers.Conv2D(self.width, 1, use_bias=False, name=names.free(f"{prefix}_conv_1"))(
            x
        )
        x = keras.layers.BatchNormalization(name=names.free(f"{prefix}_bn"))(x)
        x = keras.layers.ReLU(name=names.free(f"{prefix}_relu"))(x)
        channels = features.shape[-1]
        x = keras.layers.Conv2D(
            channels, 1, activation="sigmoid", name=names.free(f"{prefix}_conv_2")
        )(x)
        return keras.layers.Multiply(name=names.free(f"{prefix}_masked"))([features, x])

    def _carry(
        self, masked: keras.KerasTensor, above: keras.KerasTensor, prefix: str, names: base.Names
    ) -> keras.KerasTensor:
        """Returns what is handed from one map to the next, in the resolution of the next."""
        x = keras.layers.Conv2D(
            self.width, 3, padding="same", activation="relu", name=names.free(f"{prefix}_carry")
        )(masked)
        size, strides, padding = pooling(masked.shape[1:3], above.shape[1:3])
        if size == (1, 1):
            return x
        return keras.layers.AveragePooling2D(
            size, strides, padding=padding, name=names.free(f"{prefix}_pool")
        )(x)


def pooling(
    below: Sequence[int], above: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...], str]:
    """Returns window, strides and padding of the pooling that makes a map of size `above` of one of size `below`.

    Example:
        >>> pooling((8, 8), (4, 4)), pooling((37, 37), (19, 19)), pooling((35, 35), (17, 17))
        (((2, 2), (2, 2), 'same'), ((2, 2), (2, 2), 'same'), ((3, 3), (2, 2), 'valid'))
    """
    pairs = list(zip(below, above, strict=True))
    strides = tuple(max(1, round(large / small)) for large, small in pairs)
    if all(-(-large // step) == small for (large, small), step in zip(pairs, strides, strict=True)):
        return strides, strides, "same"
    strides = tuple(max(1, large // small) for large, small in pairs)
    window = tuple(
        large - (small - 1) * step for (large, small), step in zip(pairs, strides, strict=True)
    )
    return window, strides, "valid"
