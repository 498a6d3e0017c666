"""Which part of a model is frozen in a stage, and whether its outputs can be kept."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras

from keras_transfer import layers
from keras_transfer.graphs import nodes

__all__ = ["Candidates", "Frozen", "candidates", "find"]


class Candidates(NamedTuple):
    """The calls of a model that may be frozen, as positions in `nodes.nodes(model)`.

    Attributes:
        positions: The calls that do not train and depend on none that does.
        changed: The calls whose weights or statistics the stage changes.
    """

    positions: frozenset[int]
    changed: frozenset[int]


class Frozen(NamedTuple):
    """The part of a model whose outputs for an image are the same in every epoch.

    Attributes:
        lower: The positions of its calls in `nodes.nodes(model)`.
        crossing: The tensors that it hands to the rest of the model.
        reason: Why they cannot be kept; "" if they can, or if there is nothing worth keeping.
    """

    lower: frozenset[int]
    crossing: tuple[keras.KerasTensor, ...]
    reason: str = ""


def candidates(model: keras.Model) -> Candidates:
    """Returns the calls of `model` that its `trainable` flags leave unchanged.

    Whether such a call also gives the same result every time is for `tracing.trace` to say.

    Example:
        >>> dense = [keras.layers.Dense(2, name=name) for name in ("a", "b", "c")]
        >>> dense[0].trainable = False
        >>> found = candidates(keras.Sequential([keras.Input((4,)), *dense]))
        >>> sorted(found.positions), sorted(found.changed)
        ([0, 1], [2, 3])
    """
    # A model's output cannot be the input of its upper part as well, so it is always computed.
    moving = {id(tensor) for tensor in model.outputs}
    positions, changed = set(), set()
    for position, node in enumerate(nodes.nodes(model)):
        outputs = {id(tensor) for tensor in node.outputs}
        if _trains(node.operation):
            changed.add(position)
        elif not moving & outputs and not any(id(tensor) in moving for tensor in node.inputs):
            positions.add(position)
            continue
        moving |= outputs
    return Candidates(frozenset(positions), frozenset(changed))


def find(
    model: keras.Model, stage: Candidates, unstable: Mapping[int, str] | None = None
) -> Frozen:
    """Returns the frozen part of `model`; it may end within a block, so several tensors may cross.

    Args:
        model: A functional model.
        stage: What `candidates` found.
        unstable: The calls that may give another result every time, each with the reason.

    Example:
        >>> dense = [keras.layers.Dense(2, name=name) for name in ("a", "b")]
        >>> dense[0].trainable = False
        >>> model = keras.Sequential([keras.Input((4,)), *dense])
        >>> find(model, candidates(model)).crossing[0] is dense[0].output
        True
    """
    order = nodes.nodes(model)
    causes: dict[int, str] = {}  # tensor id: why the tensor differs between epochs
    lower, lost = set(), ""
    for position in sorted(stage.positions):
        node = order[position]
        below = [causes[id(tensor)] for tensor in node.inputs if id(tensor) in causes]
        cause = below[0] if below else (unstable or {}).get(position, "")
        if not cause:
            lower.add(position)
            continue
        causes.update((id(tensor), cause) for tensor in node.outputs)
        if getattr(node.operation, "weights", None):
            lost = lost or cause

    if not any(_has_kernel(order[position].operation) for position in lower):
        return Frozen(frozenset(lower), (), lost or _partly_frozen_model(order, stage.changed))
    crossing = nodes.crossing(order, lower, model.outputs)
    return Frozen(frozenset(lower), tuple(crossing), lost or _unusable(order, lower, crossing))


def _trains(operation: keras.Operation) -> bool:
    if not isinstance(operation, keras.layers.Layer):
        return False
    if operation.trainable_weights:
        return True
    with_statistics = keras.layers.BatchNormalization | layers.SavedModelLayer
    inside = operation._flatten_layers()
    return any(isinstance(layer, with_statistics) and layer.trainable for layer in inside)


def _has_kernel(operation: keras.Operation) -> bool:
    """Whether an operation is worth keeping: one that only shifts and scales is not."""
    return any(len(weight.shape) > 1 for weight in getattr(operation, "weights", ()))


def _partly_frozen_model(order: Sequence[nodes.Node], changed: frozenset[int]) -> str:
    """Says that a nested model has frozen layers below others that train: only flat ones are cut."""
    for position in sorted(changed):
        inner = order[position].operation
        if not nodes.is_functional(inner):
            continue
        frozen = [each for each in inner._flatten_layers() if not each.trainable_weights]
        if any(_has_kernel(layer) for layer in frozen):
            return f"{inner.name!r} is a model within the model; kt.build_model makes flat ones"
    return ""


def _unusable(
    order: Sequence[nodes.Node], lower: set[int], crossing: Sequence[keras.KerasTensor]
) -> str:
    """Says why a crossing tensor has no name or shape of its own."""
    calls = [node.operation for node in order]
    wanted = {id(tensor) for tensor in crossing}
    for position in sorted(lower):
        node = order[position]
        if not wanted & {id(tensor) for tensor in node.outputs}:
            continue
        if calls.count(node.operation) > 1:
            return f"{node.operation.name!r} is called several times"
        if len(node.outputs) > 1:
            return f"{node.operation.name!r} has several outputs"
        if any(size is None for size in node.outputs[0].shape[1:]):
            return f"the output size of {node.operation.name!r} is not known"
    return ""
