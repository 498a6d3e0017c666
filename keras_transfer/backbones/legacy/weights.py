"""Assigns the arrays of an old Keras file to the variables of a model's layers.

Keras 1 and 2 wrote the trainable weights of a layer, then its others; a nested model counts as one layer. Arrays are
matched by name if each name in the file means exactly one variable, else by order. Nothing is assigned before all
shapes have been checked.
"""

from collections.abc import Sequence
from typing import NamedTuple

import h5py
import keras
import numpy as np

from keras_transfer.backbones.legacy import hdf5
from keras_transfer.core import checks

__all__ = ["Leaf", "Pair", "Part", "align", "assign", "fill", "list_shapes"]

_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose",
                 "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D")  # fmt: skip

_ENDS_OF_KERAS_1 = {"_W": "kernel", "_b": "bias", "_gamma": "gamma", "_beta": "beta", "_running_mean": "moving_mean",
                    "_running_std": "moving_variance"}  # fmt: skip # it holds the variance, whatever its name says


class Leaf(NamedTuple):
    """An innermost layer, with its name in the file."""

    name: str
    layer: keras.layers.Layer


class Part(NamedTuple):
    """One layer for the file: a layer, or all layers of a nested model."""

    name: str
    leaves: list[Leaf]

    @property
    def has_weights(self) -> bool:
        """Whether any of its layers has weights."""
        return any(leaf.layer.weights for leaf in self.leaves)


class Pair(NamedTuple):
    """An array of a file and its variable."""

    saved: hdf5.Saved
    leaf: Leaf
    variable: keras.Variable
    axes: tuple[int, ...] | None = None
    """The order in which the variable has the array's axes, None for the same."""

    @property
    def fits(self) -> bool:
        """Whether the shapes agree."""
        shape = self.saved.shape
        if self.axes is not None:
            shape = tuple(shape[axis] for axis in self.axes)
        return shape == tuple(self.variable.shape)

    def transpose(self) -> "Pair":
        """Returns the pair for an array of Theano, whose kernels are (filters, channels, rows, columns)."""
        rank = len(self.variable.shape)
        is_kernel = self.variable.name == "kernel"
        if not is_kernel or type(self.leaf.layer).__name__ not in ("Conv2D", "Conv3D"):
            return self._replace(axes=None)
        return self._replace(axes=(*range(2, rank), 1, 0))


def list_shapes(names: Sequence[str], shapes: Sequence[Sequence[int]]) -> str:
    """Lists names with shapes, for errors and reports.

    Example:
        >>> list_shapes(["kernel", "bias"], [(3, 3, 8, 4), (4,)])
        'kernel (3, 3, 8, 4), bias (4,)'
    """
    return ", ".join(f"{name} {tuple(shape)}" for name, shape in zip(names, shapes, strict=True))


def align(saved: Sequence[hdf5.Saved], leaves: Sequence[Leaf]) -> list[Pair] | None:
    """Pairs the arrays of one layer of the file with variables; None if their numbers differ."""
    order = [(leaf, variable) for leaf in leaves for variable in leaf.layer.trainable_weights]
    order += [(leaf, variable) for leaf in leaves for variable in leaf.layer.non_trainable_weights]
    if len(order) != len(saved):
        return None
    by_key = {(leaf.name, variable.name): (leaf, variable) for leaf, variable in order}
    keys = [_parse_name(one.name, leaves) for one in saved]
    if len(by_key) == len(order) and set(keys) == set(by_key):
        order = [by_key[key] for key in keys]
    return [Pair(one, leaf, variable) for one, (leaf, variable) in zip(saved, order, strict=True)]


def _parse_name(name: str, leaves: Sequence[Leaf]) -> tuple[str, str]:
    """Returns the layer and the variable that a name such as "model/conv1/kernel:0" means."""
    path, _, role = name.partition(":")[0].rpartition("/")
    if len(leaves) == 1:
        roles = [new for end, new in _ENDS_OF_KERAS_1.items() if role.endswith(end)]
        return leaves[0].name, (roles or [role])[0]
    known = {leaf.name for leaf in leaves}
    layer = path
    while layer and layer not in known:  # drop the names of models around the layer
        layer = layer.partition("/")[2]
    return layer or path, role


def assign(parts: Sequence[Part], group: h5py.Group, origin: hdf5.Origin) -> None:
    """Fills the layers of a model with the weights in `group`.

    Raises:
        InputError: If a weight is missing, left over or of another shape; then nothing is assigned.
    """
    weighted = [part for part in parts if part.has_weights]
    saved = hdf5.layers(group)
    if saved is None:
        raise _mismatch(group, "no list of layers")
    if hdf5.part(group, "top_level_model_weights"):
        for own in hdf5.layers_named(group, ["top_level_model_weights"]):
            raise _mismatch(group, f"weights of the model itself: {own.weights[0].name!r}")

    pairs = []
    for part, layer in _match(weighted, saved, group):
        aligned = align(layer.weights, part.leaves)
        if aligned is None:
            count = sum(len(leaf.layer.weights) for leaf in part.leaves)
            what = f"{len(layer.weights)} weights of {layer.name!r}, which has {count}"
            raise _mismatch(group, what)
        pairs += aligned
    for number, pair in enumerate(pairs):
        data_format = getattr(pair.leaf.layer, "data_format", None)
        if origin.keras == 1 and data_format == "channels_first":
            pairs[number] = pair = pair.transpose()
        if not pair.fits:
            wanted = f"{pair.variable.name} of {pair.leaf.name!r} has {tuple(pair.variable.shape)}"
            what = f"{pair.saved.name!r} of shape {pair.saved.shape}, but {wanted}"
            raise _mismatch(group, what)
    fill(pairs, flip=origin.backend == "theano")


def _match(
    parts: Sequence[Part], saved: Sequence[hdf5.Layer], group: h5py.Group
) -> list[tuple[Part, hdf5.Layer]]:
    """Matches layers of the model with those of the file: by name if all names agree, else by order."""
    by_name = {layer.name: layer for layer in saved}
    names = [part.name for part in parts]
    if len(names) == len(saved):
        if set(names) == set(by_name):
            saved = [by_name[name] for name in names]
        return list(zip(parts, saved, strict=True))

    missing = [name for name in names if name not in by_name]
    left_over = [name for name in by_name if name not in names]
    what = "twice"
    if missing:
        what = f"none of {missing[0]!r}"
    elif left_over:
        what = f"{left_over[0]!r}, which it has not"
    raise _mismatch(group, f"weights of {len(saved)} layers for {len(names)}, {what}")


def fill(pairs: Sequence[Pair], *, flip: bool) -> None:
    """Reads all arrays, then assigns all variables.

    Args:
        pairs: Arrays and variables whose shapes agree.
        flip: Whether to turn kernels round: Theano convolves, TensorFlow correlates.
    """
    arrays = [_read(pair, flip=flip) for pair in pairs]
    for pair, array in zip(pairs, arrays, strict=True):
        pair.variable.assign(array)
    for layer in {id(pair.leaf.layer): pair.leaf.layer for pair in pairs}.values():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with copies of its weights


def _read(pair: Pair, *, flip: bool) -> np.ndarray:
    """Reads an array and lays it out as its variable."""
    array = pair.saved.read()
    if pair.axes is not None:
        array = array.transpose(pair.axes)
    is_convolution = type(pair.leaf.layer).__name__ in _CONVOLUTIONS
    if flip and is_convolution and pair.variable.name.endswith("kernel"):
        array = np.flip(array, tuple(range(array.ndim - 2)))
    return array


def _mismatch(group: h5py.Group, what: str) -> checks.InputError:
    return checks.error(
        "a model file must hold one weight for each of its network",
        given=f"{group.file.filename!r} has {what}",
    )
