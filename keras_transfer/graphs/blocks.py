"""Blocks and levels of a trunk, found in its graph.

A block is a stretch of layers between two places where the graph is narrow, so a block is never
cut through a residual. A level is the last narrow place of a resolution: `P3` has stride 2**3.
Strides are summed along the graph, so they do not depend on the image size.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import keras

from keras_transfer.graphs import nodes, paths

__all__ = ["Block", "blocks", "ends", "last_map", "learns", "levels", "trunk_end"]

# Layers that prepare pixels, or belong to the convolution before them: they begin no block.
_NORMALISING = (
    keras.layers.Normalization, keras.layers.BatchNormalization, keras.layers.LayerNormalization,
    keras.layers.GroupNormalization, keras.layers.UnitNormalization, keras.layers.PReLU,
)  # fmt: skip
_GLOBAL_POOLING = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)


class Block(NamedTuple):
    """A stretch of a trunk that is frozen or trained as a whole."""

    name: str
    layers: tuple[str, ...]
    """Paths of its layers, bottom to top."""


class _Stretch(NamedTuple):
    label: str
    positions: list[int]  # in graph.nodes(model)


def blocks(
    model: keras.Model,
    *,
    pattern: str | None = None,
    until: keras.KerasTensor | None = None,
    prefix: str = "",
) -> list[Block]:
    r"""Returns the blocks of a functional model, bottom to top; together they hold each layer once.

    Args:
        model: A functional model.
        pattern: Regular expression that finds the block's name in the name of an operation, as
            `block_\\d+` does in "block_13_expand". Neighbouring stretches of one name are one block.
            None takes every stretch with weights as a block of its own; what merely normalises goes
            with the stretch below.
        until: The tensor where the trunk ends; by default the model's output.
        prefix: What the names of a copy of the trunk begin with; no part of the names of blocks.

    Example:
        >>> dense = [keras.layers.Dense(2, name=name) for name in ("a_1", "a_2")]
        >>> model = keras.Sequential([keras.Input((4,)), *dense])
        >>> blocks(model, pattern="a")
        [Block(name='a', layers=('a_1', 'a_2'))]
    """
    order = nodes.lanes(nodes.nodes(model))
    below = _layer_paths(model)
    found = []
    for stretch in _stretches(order, pattern, _end(model, until), prefix):
        # A layer that is called twice belongs where it is called first.
        inside = tuple(
            path for p in stretch.positions for path in below.pop(id(order[p].operation), ())
        )
        if inside:
            found.append(Block(stretch.label, inside))
    return found


def ends(
    model: keras.Model, *, pattern: str | None = None, until: keras.KerasTensor | None = None
) -> dict[str, keras.KerasTensor]:
    """Returns the tensor in which each block ends, by the block's name, bottom to top.

    Args:
        model: A functional model.
        pattern: As for `blocks`.
        until: As for `blocks`.

    Example:
        >>> dense = [keras.layers.Dense(width, name=f"dense{width}") for width in (3, 2)]
        >>> {name: end.shape for name, end in ends(keras.Sequential([keras.Input((4,)), *dense])).items()}
        {'dense3': (None, 3), 'dense2': (None, 2)}
    """
    order = nodes.lanes(nodes.nodes(model))
    found = _stretches(order, pattern, _end(model, until))
    return {stretch.label: order[stretch.positions[-1]].outputs[0] for stretch in found}


def levels(
    model: keras.Model, *, pattern: str | None = None, until: keras.KerasTensor | None = None
) -> dict[str, str]:
    """Returns the operation whose output is the model's last word at stride 4, 8, 16 and 32, as P2 to P5.

    The place is the end of a block, or what enters the pooling that closes a block. A stride that
    the model does not have is absent.

    Args:
        model: A functional model of images.
        pattern: As for `blocks`.
        until: As for `blocks`.

    Example:
        >>> layers = [keras.layers.Conv2D(2, 3, strides=2, name=f"conv{i}") for i in (1, 2)]
        >>> levels(keras.Sequential([keras.Input((32, 32, 3)), *layers]))
        {'P2': 'conv2'}
    """
    order = nodes.lanes(nodes.nodes(model))
    strides = _strides(order)
    found = {}
    for node in _level_ends(order, pattern, _end(model, until)):
        stride = strides.get(id(node.outputs[0]))
        if node.inputs and stride and stride & (stride - 1) == 0 and 4 <= stride <= 32:
            found[f"P{stride.bit_length() - 1}"] = node.operation.name
    return dict(sorted(found.items()))


def last_map(order: Sequence[nodes.Node]) -> keras.KerasTensor | None:
    """Returns the last feature map of a graph: made with weights, with places in the image.

    Places are lost where a map is pooled as a whole or flattened. A transformer above its patches has none
    either, unless it lays its tokens out as a map again.

    Args:
        order: Of `graph.nodes`.

    Example:
        >>> layers = [keras.layers.Conv2D(2, 3, name="conv"), keras.layers.Flatten(), keras.layers.Dense(4)]
        >>> last_map(graph.nodes(keras.Sequential([keras.Input((8, 8, 3)), *layers]))).shape
        (None, 6, 6, 2)
    """
    made: set[int] = set()
    placed: set[int] = set()
    found = None
    for node in order:
        inputs, outputs = {id(tensor) for tensor in node.inputs}, node.outputs
        has_weights = learns(node.operation)
        if has_weights or inputs & made:
            made.update(map(id, outputs))
        if not inputs or (inputs & placed and not _pools_all(node)):
            placed.update(id(tensor) for tensor in outputs if len(tensor.shape) in (3, 4))
        if id(outputs[0]) in made & placed and len(outputs[0].shape) == 4:
            found = outputs[0]
        elif has_weights and id(outputs[0]) in placed:
            found = None
    return found


def trunk_end(order: Sequence[nodes.Node]) -> list[keras.KerasTensor]:
    """Returns where the trunk of a graph without a mark ends, in a list that is empty where nothing has weights.

    It is the end of a nested model (of the last that gives a map, else of the largest); else the last feature
    map; else what enters the last layer with weights.

    Args:
        order: Of `graph.nodes`.

    Example:
        >>> dense = [keras.layers.Dense(width, name=f"dense{width}") for width in (3, 2)]
        >>> [tensor.shape for tensor in trunk_end(graph.nodes(keras.Sequential([keras.Input((4,)), *dense])))]
        [(None, 3)]
    """
    weighted = [node for node in order if learns(node.operation)]
    nested = [node for node in weighted if isinstance(node.operation, keras.Model)]
    if nested:
        maps = [node for node in nested if len(node.outputs[0].shape) == 4]
        chosen = maps[-1] if maps else max(nested, key=lambda node: node.operation.count_params())
        return [chosen.outputs[0]]
    found = last_map(order)
    return (
        [found]
        if found is not None
        else [tensor for node in weighted[-1:] for tensor in node.inputs]
    )


def learns(operation: keras.Operation) -> bool:
    """Returns whether an operation has weights that are not statistics of the pixels.

    Example:
        >>> learns(keras.layers.ReLU())
        False
    """
    return bool(getattr(operation, "weights", None)) and not isinstance(
        operation, keras.layers.Normalization
    )


def _begins_block(operation: keras.Operation) -> bool:
    """Whether a block of a network without a pattern of names begins with an operation."""
    is_other = isinstance(operation, _NORMALISING) or nodes.mixes_lanes(operation)
    return learns(operation) and not is_other


def _pools_all(node: nodes.Node) -> bool:
    """Whether a call makes one place of a whole map."""
    if isinstance(node.operation, _GLOBAL_POOLING):
        return True
    before, after = node.inputs[0].shape, node.outputs[0].shape
    if (
        len(before) != 4
        or len(after) != 4
        or tuple(after[1:3]) != (1, 1)
        or tuple(before[1:3]) == (1, 1)
    ):
        return False
    # ops.mean(x, axis=(1, 2), keepdims=True), or a window as large as the map, as the first ResNets had.
    window = getattr(node.operation, "pool_size", None)
    return not isinstance(node.operation, keras.layers.Layer) or (
        window is not None and min(window) > 3
    )


def _end(model: keras.Model, until: keras.KerasTensor | None) -> list[keras.KerasTensor]:
    return model.outputs if until is None else [until]


def _layer_paths(model: keras.Model) -> dict[int, list[str]]:
    """For each operation of the model's own graph, the paths of the layers it holds."""
    below = {}
    by_name = {node.operation.name: id(node.operation) for node in nodes.nodes(model)}
    mixing = {
        node.operation.name for node in nodes.nodes(model) if nodes.mixes_lanes(node.operation)
    }
    for path in paths.leaves(model):
        name = path.partition("/")[0]
        if name not in mixing:
            below.setdefault(by_name[name], []).append(path)
    return below


def _stretches(
    order: Sequence[nodes.Node], pattern: str | None, end: list[keras.KerasTensor], prefix: str = ""
) -> list[_Stretch]:
    """The trunk in stretches: all that each narrow place needs beyond the places below it, merged by label."""
    taken: set[int] = set()
    pieces = []
    for place in _narrow_places(order, pattern, end, prefix):
        new = sorted(nodes.ancestors(order, [place]) - taken)
        if all(isinstance(order[p].operation, keras.layers.ZeroPadding2D) for p in new):
            continue  # padding belongs to the convolution that follows
        taken.update(new)
        pieces.append((_label(order, new, pattern, prefix), new))
    if pattern is None:
        return _weighted_stretches(order, pieces)
    named = [index for index, (label, _) in enumerate(pieces) if label]
    stretches: list[_Stretch] = []
    for index, (found, positions) in enumerate(pieces):
        label = found or _label_between(stretches, index, named)
        if stretches and label == stretches[-1].label:
            stretches[-1].positions.extend(positions)
        else:
            stretches.append(_Stretch(label, positions))
    return stretches


def _weighted_stretches(
    order: Sequence[nodes.Node], pieces: list[tuple[str, list[int]]]
) -> list[_Stretch]:
    """Pieces merged so that each stretch begins with the first that has weights to learn."""
    stretches: list[_Stretch] = []
    waiting: list[int] = []  # what comes before any weights
    for label, positions in pieces:
        if any(_begins_block(order[p].operation) for p in positions):
            stretches.append(_Stretch(label, waiting + positions))
            waiting = []
        elif stretches:
            stretches[-1].positions.extend(positions)
        else:
            waiting += positions
    return stretches or [_Stretch(label, waiting) for label, _ in pieces[-1:]]


def _label_between(stretches: list[_Stretch], index: int, named: list[int]) -> str:
    """The label of a piece that carries no block name: what it follows, or where it stands."""
    if not named or index < named[0]:
        return "stem"
    return stretches[-1].label if index < named[-1] else "top"


def _narrow_places(
    order: Sequence[nodes.Node], pattern: str | None, end: list[keras.KerasTensor], prefix: str = ""
) -> list[keras.KerasTensor]:
    """The tensors that alone carry all that the trunk's end needs from below, and the ends of named cells."""
    trunk = nodes.ancestors(order, end)
    last_use = {
        id(tensor): position for position in sorted(trunk) for tensor in order[position].inputs
    }
    last_use.update((id(tensor), len(order)) for tensor in end)
    open_tensors: dict[int, int] = {}
    places = []
    for position in sorted(trunk):
        for tensor in order[position].outputs:
            if id(tensor) in last_use:
                open_tensors[id(tensor)] = last_use[id(tensor)]
        open_tensors = {key: last for key, last in open_tensors.items() if last > position}
        made = order[position].outputs[0]
        # NASNet's cells each read the two cells before, so the graph is never narrow; the cell's end is named instead.
        name = order[position].operation.name.removeprefix(prefix)
        cell_end = pattern and re.fullmatch(pattern, name) and len(order[position].inputs) > 1
        if order[position].inputs and (list(open_tensors) == [id(made)] or cell_end):
            places.append(made)
    return places


def _label(
    order: Sequence[nodes.Node], positions: list[int], pattern: str | None, prefix: str
) -> str | None:
    """The block name that most operations of a piece carry (later ones win ties)."""
    names = [order[p].operation.name.removeprefix(prefix) for p in positions]
    if pattern is None:
        weighted = [
            name
            for name, p in zip(names, positions, strict=True)
            if _begins_block(order[p].operation)
        ]
        return (weighted or names)[-1]
    found = [hit.group() for hit in (re.search(pattern, name) for name in names) if hit]
    return max(reversed(found), key=found.count) if found else None


def _level_ends(
    order: Sequence[nodes.Node], pattern: str | None, end: list[keras.KerasTensor]
) -> list[nodes.Node]:
    """The calls that may end a level: narrow places, or with a pattern only those that end a block."""
    made_by = {id(tensor): node for node in order for tensor in node.outputs}
    if pattern is None:
        places = [made_by[id(tensor)] for tensor in _narrow_places(order, pattern, end)]
        return [
            node for node in places if not isinstance(node.operation, keras.layers.ZeroPadding2D)
        ]
    ends = []
    for stretch in _stretches(order, pattern, end):
        last = order[stretch.positions[-1]]
        ends += [made_by[id(last.inputs[0])], last] if _is_pooling(last.operation) else [last]
    return ends


def _is_pooling(operation: keras.Operation) -> bool:
    return isinstance(operation, keras.layers.MaxPooling2D | keras.layers.AveragePooling2D)


def _strides(order: Sequence[nodes.Node]) -> dict[int, int]:
    """The stride of each feature map by tensor id; tensors without a place in the image are left out."""
    found: dict[int, int] = {}
    for node in order:
        below = [found[id(tensor)] for tensor in node.inputs if id(tensor) in found]
        for tensor in node.outputs:
            if len(tensor.shape) == 4 and (below or not node.inputs):
                found[id(tensor)] = (max(below) if below else 1) * _own_stride(node, tensor)
    return found


def _own_stride(node: nodes.Node, output: keras.KerasTensor) -> int:
    operation = node.operation
    if nodes.is_functional(operation):
        inside = nodes.nodes(operation)
        return max((_strides(inside).get(id(tensor), 1) for tensor in operation.outputs), default=1)
    if isinstance(operation, keras.layers.Conv2DTranspose | keras.layers.UpSampling2D):
        return 1  # a trunk does not enlarge; decoders lie beyond its end
    stride = getattr(operation, "strides", None)
    if stride is None and getattr(operation, "weights", None):
        return _stride_by_size(node.inputs[0].shape, output.shape)
    stride = 1 if stride is None else stride
    return stride[0] if isinstance(stride, list | tuple) else stride


def _stride_by_size(before: tuple, after: tuple) -> int:
    """The stride of a layer that is made of others: what its sides tell, rounded because of valid padding."""
    if len(before) != 4 or not before[1] or not after[1]:
        return 1
    return 2 ** max(0, round(math.log2(before[1] / after[1])))
