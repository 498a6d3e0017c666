"""Loads weight files into models with other layer names, by the order of layers.

Files of Keras 1 and 2, and files converted from other frameworks, list their layers in the order of calls. A model
that calls the same layers in the same order can take such a file, whatever the names. Everything is checked before
anything is assigned.
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import keras

from keras_transfer.backbones.legacy import hdf5, weights
from keras_transfer.backbones.legacy.weights import Leaf, Pair
from keras_transfer.core import checks
from keras_transfer.graphs import paths

__all__ = ["Match", "Report", "load_by_order"]


@dataclasses.dataclass(frozen=True)
class Match:
    """A layer of the model, and the layer of the file that its weights come from."""

    layer: str
    """Path in the model."""
    source: str
    """Name in the file."""
    names: tuple[str, ...]
    """The weights' names in the model."""
    shapes: tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of `load_by_order`: `str()` of it is one line, `lines` the whole table."""

    matched: tuple[Match, ...]
    left_over: tuple[str, ...]
    """Names of the layers of the file above the model's last one."""
    missing: tuple[str, ...]
    """Paths of the layers of the model above the file's last one, which keep their weights."""
    kernels: str
    """What was done to the kernels of convolutions: "as they are", "transposed", "turned round", or both."""

    @property
    def lines(self) -> list[str]:
        """One line for each layer: the file's name, the model's path, the weights."""
        rows = []
        for match in self.matched:
            shapes = weights.list_shapes(match.names, match.shapes)
            rows.append((match.source, match.layer, shapes))
        rows += [(name, "-", "left over") for name in self.left_over]
        rows += [("-", path, "keeps its weights") for path in self.missing]
        first = max((len(name) for name, _, _ in rows), default=0)
        second = max((len(path) for _, path, _ in rows), default=0)
        return [f"{name:{first}}  {path:{second}}  {what}" for name, path, what in rows]

    def __str__(self) -> str:
        """A summary."""
        count = sum(len(match.names) for match in self.matched)
        text = f"{_count(count, 'weight')} of {_count(len(self.matched), 'layer')} loaded in order"
        text += f", kernels {self.kernels}"
        if self.left_over:
            text += f"; {_count(len(self.left_over), 'layer')} of the file left over"
        if self.missing:
            text += f"; {_count(len(self.missing), 'layer')} of the model not loaded"
        return text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def load_by_order(model: keras.Model, path: str | os.PathLike, *, head: str = "same") -> Report:
    """Loads the weights of an `.h5` file of Keras 1 or 2 into the layers of `model`, in order.

    The layers of the file that have weights are matched with those of the model and its nested models, in the order of
    calls. The weights of a layer are matched by name if the names are known ("kernel"), else by order. All numbers and
    shapes must agree before anything is assigned.

    Kernels in a file of Keras 1 may have Theano's layout, (filters, channels, rows, columns); they are transposed if
    the shapes say so. Kernels in a file that names Theano as its backend convolve instead of correlating; they are
    turned round.

    Args:
        model: A built model; changed in place.
        path: A weights file, or a complete model, in the `.h5` format.
        head: "same": the file and the model must have equally many layers. "any": one of them may have more layers
            at its end, such as a file with a classifier for a model without.

    Raises:
        InputError: If the file is damaged, or does not match; the error shows the first mismatch.

    Example:
        >>> import tempfile
        >>> file = f"{tempfile.mkdtemp()}/weights.h5"
        >>> layers = [keras.layers.Conv2D(4, 3, name="theirs"), keras.layers.Flatten(), keras.layers.Dense(2)]
        >>> keras.Sequential([keras.Input((8, 8, 3)), *layers]).save(file)
        >>> mine = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="mine")])
        >>> report = load_by_order(mine, file, head="any")
        >>> print(report)
        2 weights of 1 layer loaded in order, kernels as they are; 1 layer of the file left over
        >>> report.lines[0]
        'theirs  mine  kernel (3, 3, 3, 4), bias (4,)'
    """
    checks.choice(head, ("same", "any"), name="head")
    leaves = [Leaf(name, layer) for name, layer in paths.leaves(model).items() if layer.weights]
    if not leaves:
        raise checks.error(
            "`model` must be built", given=f"{model.name!r} without weights", fix="Call it once."
        )
    with hdf5.open_file(path, argument="path") as file:
        group = hdf5.part(file, "model_weights") or file
        saved = hdf5.layers(group)
        if not saved:
            raise checks.error(
                "`path` must be an .h5 file of weights with a list of its layers",
                given=repr(str(path)),
                fix="A .weights.h5 file of Keras 3 is loaded with model.load_weights.",
            )
        _check_names(leaves, saved)
        origin = hdf5.origin(group)
        pairs, is_transposed = _pair(leaves, saved, origin)
        if head == "same":
            _check_count(leaves, saved)
        if is_transposed:
            _check_flatten(model, leaves[: len(pairs)])
        is_turned = origin.backend == "theano"
        weights.fill([pair for aligned in pairs for pair in aligned], flip=is_turned)

    matched = []
    for leaf, layer, aligned in zip(leaves, saved, pairs, strict=False):
        names = tuple(pair.variable.name for pair in aligned)
        shapes = tuple(tuple(pair.variable.shape) for pair in aligned)
        matched.append(Match(leaf.name, layer.name, names, shapes))
    kernels = ["transposed"] * is_transposed + ["turned round"] * is_turned
    return Report(
        matched=tuple(matched),
        left_over=tuple(layer.name for layer in saved[len(matched) :]),
        missing=tuple(leaf.name for leaf in leaves[len(matched) :]),
        kernels=" and ".join(kernels) or "as they are",
    )


def _check_names(leaves: Sequence[Leaf], saved: Sequence[hdf5.Layer]) -> None:
    """Raises an error for equal names in another order: weights would go into the wrong layers."""
    mine = [leaf.layer.name for leaf in leaves]
    theirs = [layer.name.replace("/", "_") for layer in saved]
    if mine == theirs or sorted(mine) != sorted(theirs):
        return
    number = next(number for number, name in enumerate(mine) if name != theirs[number])
    raise checks.error(
        "`model` must call its layers in the order of the file",
        given=f"layer {number + 1} is {mine[number]!r} in the model, {theirs[number]!r} in the file",
        fix="The names are the same: model.load_weights(path, by_name=True) goes by them.",
    )


def _pair(
    leaves: Sequence[Leaf], saved: Sequence[hdf5.Layer], origin: hdf5.Origin
) -> tuple[list[list[Pair]], bool]:
    """Pairs arrays and variables layer by layer, as far as both go; says whether kernels are transposed."""
    both = list(zip(leaves, saved, strict=False))
    by_layer = [
        weights.align(layer.weights, [Leaf(layer.name, leaf.layer)]) for leaf, layer in both
    ]
    pairs = [aligned for aligned in by_layer if aligned is not None]
    wrong = [number for number, aligned in enumerate(by_layer) if not _fits(aligned)]
    if not wrong:
        return pairs, False
    if origin.keras == 1 and len(pairs) == len(both):
        transposed = [list(map(Pair.transpose, aligned)) for aligned in pairs]
        if all(map(_fits, transposed)):
            return transposed, True

    leaf, layer = both[wrong[0]]
    mine, theirs = _list_shapes(leaf.layer.weights), _list_shapes(layer.weights)
    raise checks.error(
        "the layers of `path` must have the shapes of the model's, in the same order",
        given=f"layer {wrong[0] + 1} with weights is {leaf.name!r}: {mine} | {layer.name!r}: {theirs} in the file",
        fix="Nothing was loaded.",
    )


def _list_shapes(arrays: Sequence[Any]) -> str:
    """Lists arrays of the file, or variables, with their shapes."""
    names = [each.name for each in arrays]
    return weights.list_shapes(names, [each.shape for each in arrays])


def _fits(aligned: Sequence[Pair] | None) -> bool:
    return aligned is not None and all(pair.fits for pair in aligned)


def _check_count(leaves: Sequence[Leaf], saved: Sequence[hdf5.Layer]) -> None:
    if len(leaves) == len(saved):
        return
    longer, whose = (saved, "file") if len(saved) > len(leaves) else (leaves, "model")
    extra = longer[min(len(saved), len(leaves))].name
    raise checks.error(
        "`path` must have as many layers with weights as the model",
        given=f"{len(saved)} for {len(leaves)}; {extra!r} is the first that only the {whose} has",
        fix='If what is too much is a head, pass head="any".',
    )


def _check_flatten(model: keras.Model, leaves: Sequence[Leaf]) -> None:
    """Raises an error for a dense layer above a Flatten: with channels first its inputs have another order."""
    layers = paths.leaves(model).values()
    dense = [leaf.name for leaf in leaves if isinstance(leaf.layer, keras.layers.Dense)]
    if dense and any(isinstance(layer, keras.layers.Flatten) for layer in layers):
        raise checks.error(
            "weights in Theano's layout must end before the first dense layer",
            given=f"{dense[0]!r}, whose inputs that layout orders otherwise",
            fix='Leave the dense layers out of the model and pass head="any".',
        )
