"""The part of a model that gives the same for an image in every epoch of a stage, and why it may end early."""

import inspect
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras

from keras_transfer import layers
from keras_transfer.core import code, graph

__all__ = ["Prefix", "find"]

TRAINS = "trains"
# How Keras's layers name what they draw by.
RATES = ("rate", "dropout", "recurrent_dropout", "stddev", "drop_path_rate")
# What takes `training` as all layers of its kind do, and makes nothing of it.
STILL = (keras.layers.Resizing, keras.layers.CenterCrop, keras.layers.Rescaling)
# In the names that code uses, they tell of something that may be another one in the next epoch.
TELLTALE = ("random", "shuffle", "assign", "add_loss")


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
    ends = {id(tensor) for tensor in model.outputs}  # an output cannot be an input, too: it is computed again
    for position, node in enumerate(order):
        own = _restless(node.operation)
        if own == TRAINS:
            changed.add(position)
        found = [causes[id(tensor)] for tensor in node.inputs if id(tensor) in causes] + [own] * bool(own)
        if not found and not ends & {id(tensor) for tensor in node.outputs}:
            lower.add(position)
            continue
        cause = found[0] if found and TRAINS not in found else TRAINS
        if cause != TRAINS and getattr(node.operation, "weights", None):
            lost.append(cause)
        causes.update((id(tensor), cause) for tensor in node.outputs)
    if not any(_computes(order[position].operation) for position in lower):
        return Prefix(frozenset(lower), (), frozenset(changed), lost[0] if lost else _nested(order, changed))
    crossing = graph.crossing(order, lower, model.outputs)
    reason = lost[0] if lost else _ambiguous(order, lower, crossing)
    return Prefix(frozenset(lower), tuple(crossing), frozenset(changed), reason)


def _computes(operation: keras.Operation) -> bool:
    """Whether an operation has a kernel: what only shifts and scales is not worth keeping."""
    return any(len(weight.shape) > 1 for weight in getattr(operation, "weights", ()))


def _nested(order: Sequence[graph.Node], changed: set[int]) -> str:
    """Says where frozen layers are in a model within the model, of which other layers train."""
    for position in sorted(changed):
        inner = order[position].operation
        if graph.is_functional(inner) and any(
            _computes(layer) and not layer.trainable_weights for layer in inner._flatten_layers(include_self=False)
        ):
            return f"{inner.name!r} is a model within the model (kt.build_model makes one of layers only)"
    return ""


def _restless(operation: keras.Operation) -> str:
    """Why an operation may give something else in the next epoch: "" if it does not, `TRAINS`, or the reason."""
    if not isinstance(operation, keras.layers.Layer):
        return ""
    if operation.trainable_weights:
        return TRAINS
    reasons = [_noise(layer) for layer in operation._flatten_layers()]  # also those within layers of one's own
    return TRAINS if TRAINS in reasons else next(filter(None, reasons), "")


def _noise(layer: keras.layers.Layer) -> str:
    """What makes one layer, apart from those within it, give something else in training than in inference."""
    reason = f"{layer.name!r} does something else in training than in inference"
    if isinstance(layer, keras.layers.BatchNormalization | layers.SavedModelLayer):
        return TRAINS if layer.trainable else ""
    if layer.activity_regularizer is not None:
        return f"{layer.name!r} has an activity regulariser, which counts in the loss"
    if told := _telltale(layer):
        more = "adds a loss of its own" if told == "add_loss" else f"uses `{told}`, so it may be another one every time"
        return f"{layer.name!r} {more}"
    if type(layer) in (keras.layers.Dense, keras.layers.EinsumDense):
        return reason if layer.lora_enabled else ""
    if type(layer) is keras.layers.Lambda and _takes_training(layer.function):
        return reason
    if type(layer) in (keras.layers.Lambda, *STILL) or graph.is_functional(layer):
        return ""
    config = _config(layer)
    rates = {name: config[name] for name in RATES if name in config}
    active = next((name for name, value in rates.items() if value), None)
    if active is not None:
        return f"{layer.name!r} draws at random in training (with its `{active}` set to 0 they could be kept)"
    asks = _takes_training(layer.call)
    own = not type(layer).__module__.startswith("keras.")
    draws = own and bool(getattr(layer, "_seed_generators", ()))
    return reason if draws or (asks and (own or not rates)) else ""


def _telltale(layer: keras.layers.Layer) -> str:
    """The first name, in the code of somebody's own that a call runs, of what gives other values or counts."""
    own = [type(layer), *(value for value in vars(layer).values() if inspect.isfunction(value))]
    left = [part.code for each in own for part in code.parts(each) if inspect.isfunction(part.code)]
    used = {"call", "__call__"}
    while runs := [each for each in left if each.__name__ in used or not code.is_method(each)]:
        used |= {name for each in runs for name in code.names(each)}
        left = [each for each in left if each not in runs]
    return next((name for name in sorted(used) if any(word in name for word in TELLTALE)), "")


def _takes_training(function: Callable) -> bool:
    try:
        return "training" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some of those that are not written in Python
        return False


def _config(layer: keras.layers.Layer) -> dict:
    try:
        return layer.get_config()
    except Exception:  # of somebody else: in training nobody asks for it
        return {}


def _ambiguous(order: Sequence[graph.Node], lower: set[int], crossing: Sequence[keras.KerasTensor]) -> str:
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
