"""From the arrays of an old Keras file to the variables of a model's layers.

Keras 1 and 2 wrote, layer by layer, the trainable weights and then the others; a nested model counts as
one layer. Names decide where each name in the file stands for exactly one variable; otherwise the
order does. Nothing is assigned before every shape was found right.
"""

from collections.abc import Sequence
from typing import NamedTuple

import h5py
import keras
import numpy as np

from keras_transfer.backbones.legacy import hdf5
from keras_transfer.core import checks

__all__ = ["Leaf", "Pair", "Part", "align", "assign", "fill", "shown", "theano_axes"]

_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose",
                 "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D")  # fmt: skip

_ENDS_OF_KERAS_1 = {"_W": "kernel", "_b": "bias", "_gamma": "gamma", "_beta": "beta", "_running_mean": "moving_mean",
                    "_running_std": "moving_variance"}  # fmt: skip # it holds the variance, whatever its name says


class Leaf(NamedTuple):
    """An innermost layer, with the name that the file has for it."""

    name: str
    layer: keras.layers.Layer


class Part(NamedTuple):
    """What the file keeps as one layer: a layer, or all the layers of a nested model."""

    name: str
    leaves: list[Leaf]


class Pair(NamedTuple):
    """An array of a file and the variable it is meant for."""

    saved: hdf5.Saved
    leaf: Leaf
    variable: keras.Variable
    axes: tuple[int, ...] | None = None
    """How the array's axes must be put in order, None for as they are."""

    @property
    def fits(self) -> bool:
        """Whether the shapes agree."""
        shape = (
            self.saved.shape
            if self.axes is None
            else tuple(self.saved.shape[axis] for axis in self.axes)
        )
        return shape == tuple(self.variable.shape)


def theano_axes(layer: keras.layers.Layer, variable: keras.Variable) -> tuple[int, ...] | None:
    """Returns what turns a kernel of Theano, (filters, channels, rows, columns), into one of Keras 2 and 3."""
    if type(layer).__name__ in ("Conv2D", "Conv3D") and variable.name == "kernel":
        rank = len(variable.shape)
        return (*range(2, rank), 1, 0)
    return None


def shown(names: Sequence[str], shapes: Sequence[Sequence[int]]) -> str:
    """Returns names with shapes, for errors and reports.

    Example:
        >>> shown(["kernel", "bias"], [(3, 3, 8, 4), (4,)])
        'kernel (3, 3, 8, 4), bias (4,)'
    """
    return ", ".join(f"{name} {tuple(shape)}" for name, shape in zip(names, shapes, strict=True))


def align(saved: Sequence[hdf5.Saved], leaves: Sequence[Leaf]) -> list[Pair] | None:
    """Pairs the arrays of one entry of the file with the variables of its layers; None if their numbers differ."""
    order = [(leaf, variable) for leaf in leaves for variable in leaf.layer.trainable_weights]
    order += [(leaf, variable) for leaf in leaves for variable in leaf.layer.non_trainable_weights]
    if len(order) != len(saved):
        return None
    by_key = {(leaf.name, variable.name): (leaf, variable) for leaf, variable in order}
    keys = [_key(one.name, leaves) for one in saved]
    if len(by_key) == len(order) and set(keys) == set(by_key):
        order = [by_key[key] for key in keys]
    return [Pair(one, leaf, variable) for one, (leaf, variable) in zip(saved, order, strict=True)]


def _key(name: str, leaves: Sequence[Leaf]) -> tuple[str, str]:
    """The layer and the variable that "model/conv1/kernel:0" names."""
    path, _, role = name.partition(":")[0].rpartition("/")
    if len(leaves) == 1:
        return leaves[0].name, next(
            (new for end, new in _ENDS_OF_KERAS_1.items() if role.endswith(end)), role
        )
    known, steps = {leaf.name for leaf in leaves}, path.split("/")
    ends = ["/".join(steps[at:]) for at in range(len(steps))]
    return next((end for end in ends if end in known), path), role


def assign(parts: Sequence[Part], group: h5py.Group, origin: hdf5.Origin) -> None:
    """Fills the layers of a model with the weights in `group`.

    Raises:
        InputError: If a weight is missing, left over or of another shape; nothing is assigned then.
    """
    parts = [part for part in parts if any(leaf.layer.weights for leaf in part.leaves)]
    found = hdf5.layers(group)
    if found is None:
        raise _mismatch(group, "no list of layers")
    own = hdf5.part(group, "top_level_model_weights") and hdf5.layers_named(
        group, ["top_level_model_weights"]
    )
    if own:
        raise _mismatch(group, f"weights of the model itself: {own[0].weights[0].name!r}")
    pairs = []
    for part, layer in _matched(parts, found, group):
        aligned = align(layer.weights, part.leaves)
        if aligned is None:
            wanted = sum(len(leaf.layer.weights) for leaf in part.leaves)
            raise _mismatch(
                group, f"{len(layer.weights)} weights of {layer.name!r}, which has {wanted}"
            )
        pairs += [pair._replace(axes=_axes_of_keras_1(pair, origin)) for pair in aligned]
    for pair in pairs:
        if not pair.fits:
            expected = (
                f"{pair.variable.name} of {pair.leaf.name!r} has {tuple(pair.variable.shape)}"
            )
            raise _mismatch(
                group, f"{pair.saved.name!r} of shape {pair.saved.shape}, but {expected}"
            )
    fill(pairs, flip=origin.backend == "theano")


def _matched(
    parts: Sequence[Part], found: Sequence[hdf5.Layer], group: h5py.Group
) -> list[tuple[Part, hdf5.Layer]]:
    """Layers of the model with those of the file: by name, or in order where not all the names agree."""
    by_name = {layer.name: layer for layer in found}
    if {part.name for part in parts} == set(by_name) and len(parts) == len(found):
        return [(part, by_name[part.name]) for part in parts]
    if len(parts) != len(found):
        missing = [part.name for part in parts if part.name not in by_name][:1]
        left_over = [
            layer.name for layer in found if layer.name not in {part.name for part in parts}
        ][:1]
        what = (
            f"none of {missing[0]!r}"
            if missing
            else f"{left_over[0]!r}, which it has not"
            if left_over
            else "twice"
        )
        raise _mismatch(group, f"weights of {len(found)} layers for {len(parts)}, {what}")
    return list(zip(parts, found, strict=True))


def _axes_of_keras_1(pair: Pair, origin: hdf5.Origin) -> tuple[int, ...] | None:
    """Keras 1 wrote the kernels of channels-first layers as Theano has them."""
    channels_first = getattr(pair.leaf.layer, "data_format", None) == "channels_first"
    return (
        theano_axes(pair.leaf.layer, pair.variable)
        if origin.keras == 1 and channels_first
        else None
    )


def fill(pairs: Sequence[Pair], *, flip: bool) -> None:
    """Reads all the arrays, then assigns all the variables.

    Args:
        pairs: What goes where; the shapes agree.
        flip: Whether to turn kernels round: Theano convolves, TensorFlow correlates.
    """
    arrays = [_laid_out(pair, flip=flip) for pair in pairs]
    for pair, array in zip(pairs, arrays, strict=True):
        pair.variable.assign(array)
    for layer in {id(pair.leaf.layer): pair.leaf.layer for pair in pairs}.values():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with copies of its weights


def _laid_out(pair: Pair, *, flip: bool) -> np.ndarray:
    array = pair.saved.read()
    if pair.axes is not None:
        array = array.transpose(pair.axes)
    if (
        flip
        and type(pair.leaf.layer).__name__ in _CONVOLUTIONS
        and pair.variable.name.endswith("kernel")
    ):
        array = np.flip(array, tuple(range(array.ndim - 2)))
    return array


def _mismatch(group: h5py.Group, what: str) -> checks.InputError:
    return checks.error(
        "a model file must hold one weight for each of its network",
        given=f"{group.file.filename!r} has {what}",
    )
