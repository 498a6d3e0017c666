"""Weight files whose names say nothing to a model: matched layer by layer, in order.

Files of Keras 1 and 2, and those that were converted from other frameworks, list their layers in call
order. A model that calls the same layers in the same order can take such a file whatever its layers
are called. Everything is compared before anything is assigned.
"""

import dataclasses
import os
from collections.abc import Sequence

import keras

from keras_transfer.backbones.legacy import hdf5
from keras_transfer.backbones.legacy import weights as legacy_weights
from keras_transfer.backbones.legacy.weights import Leaf, Pair
from keras_transfer.core import checks
from keras_transfer.graphs import paths

__all__ = ["Match", "Report", "load_by_order"]

_HEADS = ("same", "any")


@dataclasses.dataclass(frozen=True)
class Match:
    """A layer of the model and the layer of the file that it got its weights from."""

    layer: str
    """Path in the model."""
    source: str
    """Name in the file."""
    names: tuple[str, ...]
    """The weights' names in the model."""
    shapes: tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class Report:
    """What `load_by_order` did. `str()` of it is a summary of one line, `lines` the whole table."""

    matched: tuple[Match, ...]
    left_over: tuple[str, ...]
    """Layers of the file above the model's last one, by the file's names."""
    missing: tuple[str, ...]
    """Layers of the model above the file's last one, by path: they keep their weights."""
    kernels: str
    """What was done to the kernels of convolutions: "as they are", "transposed", "turned round", or both."""

    @property
    def lines(self) -> list[str]:
        """One line for each layer: the file's name, the model's path, the weights."""
        rows = [
            (match.source, match.layer, legacy_weights.shown(match.names, match.shapes))
            for match in self.matched
        ]
        rows += [(name, "-", "left over") for name in self.left_over]
        rows += [("-", path, "keeps its weights") for path in self.missing]
        widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
        return [
            f"{first:{widths[0]}}  {second:{widths[1]}}  {what}" for first, second, what in rows
        ]

    def __str__(self) -> str:
        """A summary."""
        count = sum(len(match.names) for match in self.matched)
        text = (
            f"{_counted(count, 'weight')} of {_counted(len(self.matched), 'layer')} loaded in order"
        )
        text += f", kernels {self.kernels}"
        text += (
            f"; {_counted(len(self.left_over), 'layer')} of the file left over"
            if self.left_over
            else ""
        )
        return text + (
            f"; {_counted(len(self.missing), 'layer')} of the model not loaded"
            if self.missing
            else ""
        )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def load_by_order(model: keras.Model, path: str | os.PathLike, *, head: str = "same") -> Report:
    """Loads the weights of an `.h5` file of Keras 1 or 2 into the layers of `model`, in order.

    The layers of the file that have weights are matched with those of the model, nested models
    dissolved, in the order of their calls; the weights of a layer by name where the names are known
    ("kernel"), else in order. Numbers and shapes must agree everywhere before anything is assigned.

    A file of Keras 1 may have kernels as Theano wrote them, (filters, channels, rows, columns): they
    are transposed where the shapes say so. A file that names Theano as its backend has kernels that
    convolve instead of correlating: they are turned round.

    Args:
        model: A built model; changed in place.
        path: A weights file, or a complete model, in the `.h5` format.
        head: "same": the file and the model must have equally many layers. "any": the longer of them
            may have more layers at its end, as a file with a classifier for a model without.

    Raises:
        InputError: If the file is damaged, or does not match; the first mismatch is shown.

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
    checks.choice(head, _HEADS, name="head")
    leaves = [(at, layer) for at, layer in paths.leaves(model).items() if layer.weights]
    if not leaves:
        raise checks.error(
            "`model` must be built", given=f"{model.name!r} without weights", fix="Call it once."
        )
    with hdf5.opened(path, argument="path") as file:
        group = hdf5.part(file, "model_weights") or file
        found = hdf5.layers(group)
        if not found:
            raise checks.error(
                "`path` must be an .h5 file of weights with a list of its layers",
                given=repr(str(path)),
                fix="A .weights.h5 file of Keras 3 is loaded with model.load_weights.",
            )
        _check_names(leaves, found)
        origin = hdf5.origin(group)
        pairs, transposed = _paired(leaves, found, origin)
        _check_count(leaves, found, head)
        if transposed:
            _check_flatten(model, leaves[: len(pairs)])
        flip = origin.backend == "theano"
        legacy_weights.fill([pair for layer in pairs for pair in layer], flip=flip)
    done = " and ".join(["transposed"] * transposed + ["turned round"] * flip) or "as they are"
    matches = [
        _match(leaf[0], layer, pair)
        for leaf, layer, pair in zip(leaves, found, pairs, strict=False)
    ]
    return Report(
        tuple(matches),
        tuple(layer.name for layer in found[len(matches) :]),
        tuple(at for at, _ in leaves[len(matches) :]),
        done,
    )


def _match(path: str, layer: hdf5.Layer, pairs: Sequence[Pair]) -> Match:
    variables = [pair.variable for pair in pairs]
    names, shapes = (
        [variable.name for variable in variables],
        [tuple(variable.shape) for variable in variables],
    )
    return Match(path, layer.name, tuple(names), tuple(shapes))


def _check_names(
    leaves: Sequence[tuple[str, keras.layers.Layer]], found: Sequence[hdf5.Layer]
) -> None:
    """Equal names in another order: order would put weights into the wrong layers, perhaps of equal shapes."""
    mine, theirs = (
        [layer.name for _, layer in leaves],
        [layer.name.replace("/", "_") for layer in found],
    )
    if mine != theirs and sorted(mine) == sorted(theirs):
        at = next(
            at for at, (one, other) in enumerate(zip(mine, theirs, strict=True)) if one != other
        )
        raise checks.error(
            "`model` must call its layers in the order of the file",
            given=f"layer {at + 1} is {mine[at]!r} in the model, {theirs[at]!r} in the file",
            fix="The names are the same: model.load_weights(path, by_name=True) goes by them.",
        )


def _paired(
    leaves: Sequence[tuple[str, keras.layers.Layer]],
    found: Sequence[hdf5.Layer],
    origin: hdf5.Origin,
) -> tuple[list[list[Pair]], bool]:
    """Pairs the weights layer by layer, as far as both go; says whether the kernels must be transposed."""
    both = list(zip(leaves, found, strict=False))
    pairs = [
        legacy_weights.align(layer.weights, [Leaf(layer.name, mine)]) for (_, mine), layer in both
    ]
    wrong = _first_wrong(pairs)
    if wrong is not None and origin.keras == 1:
        turned = [
            None if layer is None else [_of_theano(pair) for pair in layer] for layer in pairs
        ]
        if _first_wrong(turned) is None:
            return turned, True
    if wrong is not None:
        raise _mismatch(wrong, *both[wrong])
    return pairs, False


def _of_theano(pair: Pair) -> Pair:
    return pair._replace(axes=legacy_weights.theano_axes(pair.leaf.layer, pair.variable))


def _first_wrong(pairs: Sequence[Sequence[Pair] | None]) -> int | None:
    return next(
        (
            at
            for at, layer in enumerate(pairs)
            if layer is None or not all(pair.fits for pair in layer)
        ),
        None,
    )


def _check_flatten(model: keras.Model, leaves: Sequence[tuple[str, keras.layers.Layer]]) -> None:
    """Channels-first features are flattened in another order, which a dense layer's weights depend on."""
    flattens = any(
        isinstance(layer, keras.layers.Flatten) for layer in paths.leaves(model).values()
    )
    dense = [at for at, layer in leaves if isinstance(layer, keras.layers.Dense)]
    if dense and flattens:
        raise checks.error(
            "weights in Theano's layout must end before the first dense layer",
            given=f"{dense[0]!r}, whose inputs that layout orders otherwise",
            fix='Leave the dense layers out of the model and pass head="any".',
        )


def _check_count(
    leaves: Sequence[tuple[str, keras.layers.Layer]], found: Sequence[hdf5.Layer], head: str
) -> None:
    if head == "any" or len(leaves) == len(found):
        return
    if len(found) > len(leaves):
        next_one, whose = found[len(leaves)].name, "file"
    else:
        next_one, whose = leaves[len(found)][0], "model"
    raise checks.error(
        "`path` must have as many layers with weights as the model",
        given=f"{len(found)} for {len(leaves)}; {next_one!r} is the first that only the {whose} has",
        fix='If what is too much is a head, pass head="any".',
    )


def _mismatch(
    at: int, mine: tuple[str, keras.layers.Layer], layer: hdf5.Layer
) -> checks.InputError:
    weights = mine[1].weights
    one = legacy_weights.shown(
        [weight.name for weight in weights], [weight.shape for weight in weights]
    )
    other = legacy_weights.shown(
        [saved.name for saved in layer.weights], [saved.shape for saved in layer.weights]
    )
    return checks.error(
        "the layers of `path` must have the shapes of the model's, in the same order",
        given=f"layer {at + 1} with weights is {mine[0]!r}: {one} | {layer.name!r}: {other} in the file",
        fix="Nothing was loaded.",
    )
