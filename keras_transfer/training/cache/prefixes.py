"""The part of a model that gives the same for an image in every epoch of a stage, and why it may end early."""

import inspect
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_transfer import layers
from keras_transfer.core import code
from keras_transfer.graphs import nodes

__all__ = ["Prefix", "find"]

TRAINS = "trains"
# How Keras's layers name what they draw by.
RATES = ("rate", "dropout", "recurrent_dropout", "stddev", "drop_path_rate")
# What takes `training` as all layers of its kind do, and makes nothing of it.
STILL = (keras.layers.Resizing, keras.layers.CenterCrop, keras.layers.Rescaling)
# In the names that code uses, they tell of something that may be another one in the next epoch.
TELLTALE = ("shuffle", "dropout", "assign", "assign_add", "assign_sub", "add_loss")
SETTINGS = (
    "_initializer",
    "_regularizer",
    "_constraint",
)  # functions that a layer holds and no call runs


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
    order = nodes.nodes(model)
    causes: dict[int, str] = {}  # by tensor: what makes it another one in every epoch
    lower, changed, lost = set(), set(), []
    ends = {
        id(tensor) for tensor in model.outputs
    }  # an output cannot be an input, too: it is computed again
    for position, node in enumerate(order):
        own = _restless(node.operation)
        if own == TRAINS:
            changed.add(position)
        found = [causes[id(tensor)] for tensor in node.inputs if id(tensor) in causes] + [
            own
        ] * bool(own)
        if not found and not ends & {id(tensor) for tensor in node.outputs}:
            lower.add(position)
            continue
        cause = found[0] if found and TRAINS not in found else TRAINS
        if cause != TRAINS and getattr(node.operation, "weights", None):
            lost.append(cause)
        causes.update((id(tensor), cause) for tensor in node.outputs)
    if not any(_computes(order[position].operation) for position in lower):
        return Prefix(
            frozenset(lower), (), frozenset(changed), lost[0] if lost else _nested(order, changed)
        )
    crossing = nodes.crossing(order, lower, model.outputs)
    reason = lost[0] if lost else _ambiguous(order, lower, crossing)
    return Prefix(frozenset(lower), tuple(crossing), frozenset(changed), reason)


def _computes(operation: keras.Operation) -> bool:
    """Whether an operation has a kernel: what only shifts and scales is not worth keeping."""
    return any(len(weight.shape) > 1 for weight in getattr(operation, "weights", ()))


def _nested(order: Sequence[nodes.Node], changed: set[int]) -> str:
    """Says where frozen layers are in a model within the model, of which other layers train."""
    for position in sorted(changed):
        inner = order[position].operation
        if nodes.is_functional(inner) and any(
            _computes(layer) and not layer.trainable_weights
            for layer in inner._flatten_layers(include_self=False)
        ):
            return f"{inner.name!r} is a model within the model (kt.build_model makes one of layers only)"
    return ""


def _restless(operation: keras.Operation) -> str:
    """Why an operation may give something else in the next epoch: "" if it does not, `TRAINS`, or the reason."""
    if not isinstance(operation, keras.layers.Layer):
        return ""
    if operation.trainable_weights:
        return TRAINS
    reasons = [
        _noise(layer) for layer in operation._flatten_layers()
    ]  # also those within layers of one's own
    return TRAINS if TRAINS in reasons else next(filter(None, reasons), "")


def _noise(layer: keras.layers.Layer) -> str:
    """What makes one layer, apart from those within it, give something else in training than in inference."""
    reason = f"{layer.name!r} does something else in training than in inference"
    if isinstance(layer, keras.layers.BatchNormalization | layers.SavedModelLayer):
        return TRAINS if layer.trainable else ""
    if layer.activity_regularizer is not None:
        return f"{layer.name!r} has an activity regulariser, which counts in the loss"
    try:
        told = _telltale(layer)
    except Exception as unknown:  # whatever somebody's own values do when they are looked at
        return f"{layer.name!r} has code that cannot be followed ({type(unknown).__name__})"
    if told:
        more = (
            "adds a loss of its own"
            if told == "add_loss"
            else f"uses `{told}`, so it may be another one every time"
        )
        return f"{layer.name!r} {more}"
    if type(layer) in (keras.layers.Dense, keras.layers.EinsumDense):
        return reason if layer.lora_enabled else ""
    if type(layer) is keras.layers.Lambda and _takes_training(layer.function):
        return reason
    if type(layer) in (keras.layers.Lambda, *STILL) or nodes.is_functional(layer):
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
    """What in the code of somebody's own that a call runs gives other values, counts, or adds a loss, by its name."""
    inside = {
        name: code.unwrapped(each)
        for name, each in vars(layer).items()
        if not name.endswith(SETTINGS)
    }
    if any(isinstance(each, tf.random.Generator) for each in inside.values()):
        return "tf.random.Generator"
    functions = [  # Keras wraps methods, too
        each
        for name, each in inside.items()
        if inspect.isfunction(each) and not hasattr(type(layer), name)
    ]
    parts = {id(part.code): part for each in (type(layer), *functions) for part in code.parts(each)}
    methods = [part.uses for kind in type(layer).__mro__ if (part := parts.get(id(kind)))]
    runs = [parts[id(each)] for each in functions if id(each) in parts]
    runs += [parts[id(each["call"])] for each in methods if id(each.get("call")) in parts]
    if methods and not runs:  # what Keras's own `call` runs
        runs = [parts[id(each)] for own in methods for each in own.values() if id(each) in parts]
    seen: set[int] = set()
    while runs:
        part = runs.pop(0)
        if id(part.code) in seen or not inspect.isfunction(part.code):
            continue
        seen.add(id(part.code))
        used = code.names(part.code) | {part.code.__name__}
        if found := sorted(
            name for name in used if "random" in name or (name in TELLTALE and name not in inside)
        ):
            return found[0]
        for name, value in sorted(part.values.items()):
            if isinstance(value, str) and "random" in value:
                return value
            if isinstance(value, keras.layers.Layer) and _restless(value):
                return name
        called = [each for name, each in part.uses.items() if inspect.isfunction(each)]
        called += [each for own in methods for name, each in own.items() if name in used]
        runs += [parts[id(each)] for each in called if id(each) in parts]
    return ""


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


def _ambiguous(
    order: Sequence[nodes.Node], lower: set[int], crossing: Sequence[keras.KerasTensor]
) -> str:
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
