"""What several ends of a graph have in common."""

from collections.abc import Iterable, Sequence

import keras

from keras_transfer.graphs import blocks, nodes

__all__ = ["deepest"]


def deepest(
    order: Sequence[nodes.Node], ends: Iterable[keras.KerasTensor]
) -> list[keras.KerasTensor]:
    """Returns the deepest tensors that each of `ends` depends on; tensors with nothing to learn below are left out.

    The gradient of each end passes through them on its way to the weights that all ends have in common, and
    on no other way.

    Args:
        order: Of `graph.nodes`.
        ends: Tensors of that graph.

    Returns:
        The tensors, bottom to top; none where the ends have no weights in common.

    Example:
        >>> image = keras.Input((4,))
        >>> stem = keras.layers.Dense(3, name="stem")(image)
        >>> ends = [keras.layers.Dense(2, name=name)(stem) for name in "ab"]
        >>> [tensor.shape for tensor in deepest(graph.nodes(keras.Model(image, ends)), ends)]
        [(None, 3)]
    """
    ends = list(ends)
    needed = [_needed(order, end) for end in ends]
    if not needed:
        return []
    by_all, by_any = set.intersection(*needed), set.union(*needed)
    leaving = {id(end) for end in ends}
    for node in order:
        if any(id(tensor) in by_any - by_all for tensor in node.outputs):
            leaving |= {id(tensor) for tensor in node.inputs}
    found = [tensor for node in order for tensor in node.outputs if id(tensor) in leaving & by_all]
    return [tensor for tensor in found if _has_something_to_learn(order, tensor)]


def _needed(order: Sequence[nodes.Node], end: keras.KerasTensor) -> set[int]:
    """The ids of the tensors that `end` depends on, itself among them; not all outputs of a call must be needed."""
    needed = {id(end)}
    for node in reversed(order):
        if any(id(tensor) in needed for tensor in node.outputs):
            needed.update(id(tensor) for tensor in node.inputs)
    return needed


def _has_something_to_learn(order: Sequence[nodes.Node], tensor: keras.KerasTensor) -> bool:
    return any(
        blocks.learns(order[position].operation) for position in nodes.ancestors(order, [tensor])
    )
