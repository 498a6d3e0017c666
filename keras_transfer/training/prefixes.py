"""The part of a model that gives the same for an image in every epoch of a stage, and why it may end early."""

import inspect
from collections.abc import Sequence
from typing import NamedTuple

import keras

from keras_transfer import layers
from keras_transfer.core import graph

__all__ = ["Prefix", "find"]

TRAINS = "trains"
# How Keras's layers name what they draw by.
RATES = ("rate", "dropout", "recurrent_dropout", "stddev", "drop_path_rate")


class Prefix(NamedTuple):
    """What need not be computed twice.

    Attributes:
        lower: The positions in `graph.nodes(model)` of the operations that stay as they are.
        crossing: The tensors that they hand over to the others.
        changed: The positions of the operations whose weights or statistics the stage changes.
        reason: Why nothing of it should be kept, "" where there is nothing to say.
    """

    lower: frozenset[int]
    crossing: tuple[keras.KerasTensor, ...]
    changed: frozenset[int]
    reason: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether it is worth keeping."""
        return bool(self.crossing) and not self.reason


def find(model: keras.Model) -> Prefix:
    """Returns the prefix of a model whose flags are set.

    An operation belongs to it if it does not train, draws nothing at random and counts nothing, and if the same holds
    for all that it depends on. The prefix may end within a block: several tensors cross then.

    Example:
        >>> dense = [keras.layers.Dense(2, name=name) for name in ("a", "b")]
        >>> dense[0].trainable = False
        >>> model = keras.Sequential([keras.Input((4,)), *dense])
        >>> found = find(model)
        >>> [graph.nodes(model)[position].operation.name for position in sorted(found.changed)]
        ['b']
        >>> found.crossing[0].shape
        (None, 2)
    """
    order = graph.nodes(model)
    causes: dict[int, str] = {}  # by tensor: what makes it another one in every epoch
    lower, changed, lost = set(), set(), []
    for position, node in enumerate(order):
        own = _restless(node.operation)
        if own == TRAINS:
            changed.add(position)
        found = [causes[id(tensor)] for tensor in node.inputs if id(tensor) in causes] + [own] * bool(own)
        if not found:
            lower.add(position)
            continue
        cause = TRAINS if TRAINS in found else found[0]
        if cause != TRAINS and getattr(node.operation, "weights", None):
            lost.append(cause)
        causes.update((id(tensor), cause) for tensor in node.outputs)
    if not any(getattr(order[position].operation, "weights", None) for position in lower):
        return Prefix(frozenset(lower), (), frozenset(changed), lost[0] if lost else "")
    crossing = graph.crossing(order, lower, model.outputs)
    reason = lost[0] if lost else _unclear(order, lower, crossing)
    return Prefix(frozenset(lower), tuple(crossing), frozenset(changed), reason)


def _restless(operation: keras.Operation) -> str:
    """Why an operation may give something else in the next epoch: "" if it does not, `TRAINS`, or the reason."""
    for path, leaf in _leaves(operation):
        if not isinstance(leaf, keras.layers.Layer):
            continue
        if leaf.trainable_weights:
            return TRAINS
        if isinstance(leaf, keras.layers.BatchNormalization | layers.SavedModelLayer):
            if leaf.trainable:
                return TRAINS
        elif "training" in inspect.signature(leaf.call).parameters and (reason := _noise(path, leaf)):
            return reason
    return ""


def _leaves(operation: keras.Operation) -> list[tuple[str, keras.Operation]]:
    if graph.is_functional(operation):
        inner = [node.operation for node in graph.nodes(operation) if node.inputs]
        return [(f"{operation.name}/{path}", leaf) for each in inner for path, leaf in _leaves(each)]
    return [(operation.name, operation)]


def _noise(path: str, layer: keras.layers.Layer) -> str:
    """Why a layer that asks whether it trains gives something else then; "" where nothing of that is switched on."""
    reason = f"{path!r} does something else in training than in inference"
    if type(layer) in (keras.layers.Dense, keras.layers.EinsumDense):
        return reason if layer.lora_enabled else ""
    if not type(layer).__module__.startswith("keras."):
        return reason  # of somebody else: it may do anything
    config = layer.get_config()
    rates = {name: config[name] for name in RATES if name in config}
    active = next((name for name, value in rates.items() if value), None)
    if active is not None:
        return f"{path!r} draws at random in training (with its `{active}` set to 0 they could be kept)"
    return "" if rates else reason


def _unclear(order: Sequence[graph.Node], lower: set[int], crossing: Sequence[keras.KerasTensor]) -> str:
    """Why what crosses cannot be named or kept."""
    calls = [node.operation for node in order]
    wanted = {id(tensor) for tensor in crossing}
    for position in lower:
        node = order[position]
        if not wanted & {id(tensor) for tensor in node.outputs}:
            continue
        if calls.count(node.operation) > 1:
            return f"{node.operation.name!r} is called several times"
        if len(node.outputs) > 1:
            return f"{node.operation.name!r} has several outputs"
        if any(size is None for size in node.outputs[0].shape[1:]):
            return f"the size of what {node.operation.name!r} gives is not known"
    return ""
