"""Finds boundaries in a graph: where an unmarked model's trunk ends, and where the ways to several outputs part."""

from collections.abc import Iterable, Sequence

import keras

from keras_transfer.graphs import nodes

__all__ = ["deepest_shared", "last_map", "learns", "trunk_end"]

_GLOBAL_POOLING = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)


def learns(operation: keras.Operation) -> bool:
    """Returns whether an operation has weights other than statistics of the pixels.

    Example:
        >>> learns(keras.layers.ReLU())
        False
    """
    has_weights = bool(getattr(operation, "weights", None))
    return has_weights and not isinstance(operation, keras.layers.Normalization)


def trunk_end(order: Sequence[nodes.Node]) -> list[keras.KerasTensor]:
    """Returns the tensors in which the trunk of an unmarked graph ends; none if the graph has no weights.

    The trunk ends with a nested model (the last that gives a map, else the largest); else with the last feature map;
    else below the last layer with weights.

    Args:
        order: From `nodes.nodes`.

    Example:
        >>> dense = [keras.layers.Dense(width, name=f"dense{width}") for width in (3, 2)]
        >>> [tensor.shape for tensor in trunk_end(nodes.nodes(keras.Sequential([keras.Input((4,)), *dense])))]
        [(None, 3)]
    """
    weighted = [node for node in order if learns(node.operation)]
    nested = [node for node in weighted if isinstance(node.operation, keras.Model)]
    if nested:
        with_map = [node for node in nested if len(node.outputs[0].shape) == 4]
        largest = max(nested, key=lambda node: node.operation.count_params())
        return [(with_map or [largest])[-1].outputs[0]]

    feature_map = last_map(order)
    if feature_map is not None:
        return [feature_map]
    return weighted[-1].inputs if weighted else []


def last_map(order: Sequence[nodes.Node]) -> keras.KerasTensor | None:
    """Returns the last feature map of a graph: computed with weights, and with places in the image.

    Global pooling and flattening lose the places. So does a transformer above its patches, unless it lays its tokens
    out as a map again.

    Args:
        order: From `nodes.nodes`.

    Example:
        >>> layers = [keras.layers.Conv2D(2, 3, name="conv"), keras.layers.Flatten(), keras.layers.Dense(4)]
        >>> last_map(nodes.nodes(keras.Sequential([keras.Input((8, 8, 3)), *layers]))).shape
        (None, 6, 6, 2)
    """
    learned: set[int] = set()  # tensors computed with weights
    placed: set[int] = set()  # tensors with places in the image
    feature_map = None
    for node in order:
        inputs, output = {id(tensor) for tensor in node.inputs}, node.outputs[0]
        has_weights = learns(node.operation)
        if has_weights or inputs & learned:
            learned.update(map(id, node.outputs))
        if not inputs or (inputs & placed and not _pools_all(node)):
            placed.update(id(tensor) for tensor in node.outputs if len(tensor.shape) in (3, 4))
        if id(output) in learned & placed and len(output.shape) == 4:
            feature_map = output
        elif has_weights and id(output) in placed:  # tokens
            feature_map = None
    return feature_map


def _pools_all(node: nodes.Node) -> bool:
    """Whether a call pools a whole map into one place."""
    operation = node.operation
    if isinstance(operation, _GLOBAL_POOLING):
        return True
    before, after = node.inputs[0].shape, node.outputs[0].shape
    if not len(before) == len(after) == 4:
        return False
    if tuple(after[1:3]) != (1, 1) or tuple(before[1:3]) == (1, 1):
        return False
    # ops.mean(x, axis=(1, 2), keepdims=True), or a window as large as the map, as the first ResNets had.
    return not isinstance(operation, keras.layers.Layer) or (
        min(getattr(operation, "pool_size", None) or [0]) > 3
    )


def deepest_shared(
    order: Sequence[nodes.Node], ends: Iterable[keras.KerasTensor | Sequence[keras.KerasTensor]]
) -> list[keras.KerasTensor]:
    """Returns the deepest tensors that all of `ends` depend on, bottom to top, if they depend on weights.

    On its way to the weights that the ends share, the gradient of each end passes through these tensors only.

    Args:
        order: From `nodes.nodes`.
        ends: Tensors of that graph, or lists of tensors that count as one end.

    Returns:
        The tensors; none where the ends share no weights.

    Example:
        >>> image = keras.Input((4,))
        >>> stem = keras.layers.Dense(3, name="stem")(image)
        >>> ends = [keras.layers.Dense(2, name=name)(stem) for name in "ab"]
        >>> [tensor.shape for tensor in deepest_shared(nodes.nodes(keras.Model(image, ends)), ends)]
        [(None, 3)]
    """
    groups = [keras.tree.flatten(end) for end in ends]
    if not groups:
        return []
    needed = [_needed_tensors(order, group) for group in groups]
    by_all, by_any = set.intersection(*needed), set.union(*needed)

    leaving = {
        id(end) for group in groups for end in group
    }  # tensors from which a way goes on to some ends only
    for node in order:
        if any(id(tensor) in by_any - by_all for tensor in node.outputs):
            leaving |= {id(tensor) for tensor in node.inputs}

    tensors = [tensor for node in order for tensor in node.outputs]
    deepest = [tensor for tensor in tensors if id(tensor) in leaving & by_all]
    return [tensor for tensor in deepest if any(map(learns, nodes.below(order, [tensor])))]


def _needed_tensors(order: Sequence[nodes.Node], ends: Sequence[keras.KerasTensor]) -> set[int]:
    """Returns the ids of `ends` and the tensors they depend on, without unneeded outputs of the calls they need."""
    needed = {id(end) for end in ends}
    for node in reversed(order):
        if any(id(tensor) in needed for tensor in node.outputs):
            needed.update(id(tensor) for tensor in node.inputs)
    return needed
