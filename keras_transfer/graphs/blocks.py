"""Finds the blocks and levels of a trunk in its graph.

A block is a stretch of layers between two narrow places, where a single tensor carries all that the layers above
need; so a boundary between blocks never cuts a residual connection. A level is the last narrow place of a resolution:
`P3` has stride 2**3. Strides are multiplied along the graph, so they do not depend on the image size.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import keras

from keras_transfer.graphs import boundaries, nodes, paths

__all__ = ["Block", "blocks", "ends", "levels"]

# Layers that prepare pixels or belong to the convolution before them, so that no block begins with them.
_NORMALISING = (
    keras.layers.Normalization, keras.layers.BatchNormalization, keras.layers.LayerNormalization,
    keras.layers.GroupNormalization, keras.layers.UnitNormalization, keras.layers.PReLU,
)  # fmt: skip
_POOLING = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)


class Block(NamedTuple):
    """A stretch of a trunk that is frozen or trained as a whole."""

    name: str
    layers: tuple[str, ...]
    """Paths of its layers, bottom to top."""


class _Stretch(NamedTuple):
    name: str | None
    positions: list[int]
    """Of its calls in the order of nodes."""


def blocks(
    model: keras.Model,
    *,
    pattern: str | None = None,
    until: keras.KerasTensor | None = None,
    prefix: str = "",
) -> list[Block]:
    r"""Returns the blocks of a functional model, bottom to top; each layer is in exactly one.

    Args:
        model: A functional model.
        pattern: Regular expression that finds the block's name in the name of an operation, as
            `block_\\d+` does in "block_13_expand". Neighbouring stretches of one name are one block.
            With None every stretch with weights is a block, and normalising layers go with the stretch below.
        until: The tensor where the trunk ends; by default the model's output.
        prefix: Prefix of all names in a copy of the trunk, left out of the names of blocks.

    Example:
        >>> dense = [keras.layers.Dense(2, name=name) for name in ("a_1", "a_2")]
        >>> model = keras.Sequential([keras.Input((4,)), *dense])
        >>> blocks(model, pattern="a")
        [Block(name='a', layers=('a_1', 'a_2'))]
    """
    order = nodes.lanes(nodes.nodes(model))
    inside = _layer_paths(model)
    found = []
    for stretch in _stretches(order, pattern, _end(model, until), prefix):
        layers: list[str] = []
        for position in stretch.positions:
            # Taken out: a layer that is called twice belongs to the block of its first call.
            layers += inside.pop(id(order[position].operation), ())
        if layers:
            found.append(Block(str(stretch.name), tuple(layers)))
    return found


def ends(
    model: keras.Model, *, pattern: str | None = None, until: keras.KerasTensor | None = None
) -> dict[str, keras.KerasTensor]:
    """Returns the tensor in which each block ends, by the block's name, bottom to top. See `blocks` for arguments.

    Example:
        >>> dense = [keras.layers.Dense(width, name=f"dense{width}") for width in (3, 2)]
        >>> {name: end.shape for name, end in ends(keras.Sequential([keras.Input((4,)), *dense])).items()}
        {'dense3': (None, 3), 'dense2': (None, 2)}
    """
    order = nodes.lanes(nodes.nodes(model))
    stretches = _stretches(order, pattern, _end(model, until))
    return {str(stretch.name): order[stretch.positions[-1]].outputs[0] for stretch in stretches}


def levels(
    model: keras.Model, *, pattern: str | None = None, until: keras.KerasTensor | None = None
) -> dict[str, str]:
    """Returns the last operation at stride 4, 8, 16 and 32, by its level P2 to P5. See `blocks` for arguments.

    It ends a block, or stands below the pooling that closes a block. A level that the model does not have is left out.
    A network with a feature pyramid or a decoder has the levels that one of its layers names: its attribute
    `level_names` is of its inputs.

    Example:
        >>> layers = [keras.layers.Conv2D(2, 3, strides=2, name=f"conv{i}") for i in (1, 2)]
        >>> levels(keras.Sequential([keras.Input((32, 32, 3)), *layers]))
        {'P2': 'conv2'}
    """
    order = nodes.lanes(nodes.nodes(model))
    named = _named_levels(order, _end(model, until))
    if named:
        return named
    strides = _strides(order)
    found = {}
    for node in _level_ends(order, pattern, _end(model, until)):
        stride = strides.get(id(node.outputs[0]))
        if node.inputs and stride in (4, 8, 16, 32):
            found[f"P{stride.bit_length() - 1}"] = node.operation.name
    return dict(sorted(found.items()))


def _named_levels(order: Sequence[nodes.Node], end: list[keras.KerasTensor]) -> dict[str, str]:
    """Returns the operations that make the levels which a layer of the trunk names; none without such a layer."""
    made_by = {id(tensor): node.operation.name for node in order for tensor in node.outputs}
    for position in nodes.ancestors(order, end):
        names = getattr(order[position].operation, "level_names", None)
        if names is not None:
            tensors = order[position].inputs
            return {name: made_by[id(tensor)] for name, tensor in zip(names, tensors, strict=True)}
    return {}


def _begins_block(operation: keras.Operation) -> bool:
    """Whether an operation begins a block in a network without a pattern of names."""
    is_other = isinstance(operation, _NORMALISING) or nodes.mixes_lanes(operation)
    return boundaries.learns(operation) and not is_other


def _end(model: keras.Model, until: keras.KerasTensor | None) -> list[keras.KerasTensor]:
    return model.outputs if until is None else [until]


def _layer_paths(model: keras.Model) -> dict[int, list[str]]:
    """Returns the paths of the layers that each operation of the model's own graph holds, by the operation's id."""
    operations = {node.operation.name: node.operation for node in nodes.nodes(model)}
    inside: dict[int, list[str]] = {}
    for path in paths.leaves(model):
        operation = operations[path.partition("/")[0]]
        if not nodes.mixes_lanes(operation):
            inside.setdefault(id(operation), []).append(path)
    return inside


def _stretches(
    order: Sequence[nodes.Node], pattern: str | None, end: list[keras.KerasTensor], prefix: str = ""
) -> list[_Stretch]:
    """Cuts the trunk at its narrow places, and merges neighbouring pieces of one block.

    A piece holds the calls that a narrow place needs and the places below it do not.
    """
    taken: set[int] = set()
    pieces = []
    for place in _narrow_places(order, pattern, end, prefix):
        new = sorted(nodes.ancestors(order, [place]) - taken)
        operations = [order[position].operation for position in new]
        if all(isinstance(operation, keras.layers.ZeroPadding2D) for operation in operations):
            continue  # padding belongs to the convolution that follows
        taken.update(new)
        pieces.append(_Stretch(_name_piece(operations, pattern, prefix), new))
    merge = _merge_by_weights if pattern is None else _merge_by_name
    return merge(order, pieces)


def _merge_by_name(order: Sequence[nodes.Node], pieces: list[_Stretch]) -> list[_Stretch]:
    """Merges pieces of one name. A nameless one belongs to the block below, to the "stem" or to the "top"."""
    named = [index for index, piece in enumerate(pieces) if piece.name]
    first, last = (named[0], named[-1]) if named else (len(pieces), len(pieces))
    stretches: list[_Stretch] = []
    for index, (name, positions) in enumerate(pieces):
        if index < first:
            name = "stem"
        elif not name:
            name = stretches[-1].name if index < last else "top"
        if stretches and name == stretches[-1].name:
            stretches[-1].positions.extend(positions)
        else:
            stretches.append(_Stretch(name, positions))
    return stretches


def _merge_by_weights(order: Sequence[nodes.Node], pieces: list[_Stretch]) -> list[_Stretch]:
    """Merges pieces so that each stretch but the first begins with weights to learn."""
    stretches: list[_Stretch] = []
    waiting: list[int] = []  # calls below all weights
    for name, positions in pieces:
        if any(_begins_block(order[position].operation) for position in positions):
            stretches.append(_Stretch(name, waiting + positions))
            waiting = []
        elif stretches:
            stretches[-1].positions.extend(positions)
        else:
            waiting += positions
    return stretches or [_Stretch(piece.name, waiting) for piece in pieces[-1:]]


def _narrow_places(
    order: Sequence[nodes.Node], pattern: str | None, end: list[keras.KerasTensor], prefix: str = ""
) -> list[keras.KerasTensor]:
    """Returns the tensors that alone carry all that the trunk's end needs from below, and the ends of named cells."""
    trunk = sorted(nodes.ancestors(order, end))
    last_use = {id(tensor): position for position in trunk for tensor in order[position].inputs}
    last_use.update((id(tensor), len(order)) for tensor in end)
    open_tensors: dict[int, int] = {}  # the tensors that calls further up need, with their last use
    places = []
    for position in trunk:
        node = order[position]
        for tensor in node.outputs:
            if id(tensor) in last_use:
                open_tensors[id(tensor)] = last_use[id(tensor)]
        open_tensors = {key: last for key, last in open_tensors.items() if last > position}
        # Each cell of NASNet reads the two cells below it, so its graph is never narrow; a cell's end has its name.
        name = node.operation.name.removeprefix(prefix)
        is_cell_end = pattern and re.fullmatch(pattern, name) and len(node.inputs) > 1
        if node.inputs and (list(open_tensors) == [id(node.outputs[0])] or is_cell_end):
            places.append(node.outputs[0])
    return places


def _name_piece(
    operations: Sequence[keras.Operation], pattern: str | None, prefix: str
) -> str | None:
    """Returns the block name that most operations carry, the later one of a tie; None if they carry none."""
    if pattern is None:
        weighted = [operation for operation in operations if _begins_block(operation)]
        return (weighted or operations)[-1].name.removeprefix(prefix)
    hits = [re.search(pattern, operation.name.removeprefix(prefix)) for operation in operations]
    names = [hit.group() for hit in hits if hit]
    return max(reversed(names), key=names.count, default=None)


def _level_ends(
    order: Sequence[nodes.Node], pattern: str | None, end: list[keras.KerasTensor]
) -> list[nodes.Node]:
    """Returns the calls that may end a level: narrow places, and with a pattern only those that end a block."""
    made_by = {id(tensor): node for node in order for tensor in node.outputs}
    if pattern is None:
        places = [made_by[id(tensor)] for tensor in _narrow_places(order, pattern, end)]
        padding = keras.layers.ZeroPadding2D
        return [node for node in places if not isinstance(node.operation, padding)]

    ends = []
    for stretch in _stretches(order, pattern, end):
        last = order[stretch.positions[-1]]
        if isinstance(last.operation, _POOLING):
            ends.append(made_by[id(last.inputs[0])])
        ends.append(last)
    return ends


def _strides(order: Sequence[nodes.Node]) -> dict[int, int]:
    """Returns the stride of each feature map by tensor id, without tensors that have no places in the image."""
    strides: dict[int, int] = {}
    for node in order:
        below = [strides[id(tensor)] for tensor in node.inputs if id(tensor) in strides]
        for tensor in node.outputs:
            if len(tensor.shape) == 4 and (below or not node.inputs):
                strides[id(tensor)] = max(below, default=1) * _own_stride(node, tensor)
    return strides


def _own_stride(node: nodes.Node, output: keras.KerasTensor) -> int:
    operation = node.operation
    if nodes.is_functional(operation):
        strides = _strides(nodes.nodes(operation))
        return max((strides.get(id(tensor), 1) for tensor in operation.outputs), default=1)
    if isinstance(operation, keras.layers.Conv2DTranspose | keras.layers.UpSampling2D):
        return 1  # a trunk does not enlarge; decoders lie beyond its end
    stride = getattr(operation, "strides", None)
    if stride is not None:
        return stride[0] if isinstance(stride, list | tuple) else stride
    # A layer made of others: its stride follows from the sides, rounded because of valid padding.
    before: tuple = tuple(node.inputs[0].shape) if node.inputs else ()
    after: tuple = tuple(output.shape)
    if not getattr(operation, "weights", None) or len(before) != 4 or not (before[1] and after[1]):
        return 1
    return 2 ** max(0, round(math.log2(before[1] / after[1])))
