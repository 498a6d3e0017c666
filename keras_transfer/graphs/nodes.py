"""Walks the graph of a functional model: taps it at layers, cuts it in two, calls it again on other inputs.

Nodes are calls of operations, not of layers only: the `+` of a residual connection may be an operation. Several
tensors may cross a cut (within a residual block, or with a tap below it). All of them are handed over, so that
`upper(lower(x))` equals `model(x)` wherever the cut lies. Layers are shared, never copied: training a part trains the
whole.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras

from keras_transfer.core import checks
from keras_transfer.graphs import paths

__all__ = [
    "Node", "above", "ancestors", "below", "call", "check_functional", "crossing", "cut", "flatten", "is_functional",
    "lanes", "mixes_lanes", "nodes", "part", "replay", "tap",
]  # fmt: skip

Tensor: TypeAlias = keras.KerasTensor


class Node(NamedTuple):
    """One call of an operation within a model."""

    operation: keras.Operation
    inputs: list[Tensor]
    outputs: list[Tensor]
    call: Any  # Keras's own node; `call.arguments.fill_in` puts other tensors in the place of `inputs`


def check_functional(model: keras.Model, *, argument: str = "model") -> None:
    """Raises an error unless `model` has a graph."""
    if not isinstance(model, keras.Model) or not hasattr(_functional(model), "operations"):
        raise checks.error(
            f"`{argument}` must be a functional or built sequential keras.Model",
            given=f"{type(model).__name__} {getattr(model, 'name', '')!r}",
            fix="A subclassed model has no graph; build it with keras.Model(inputs, outputs).",
        )


def _functional(model: keras.Model) -> keras.Model:
    return getattr(model, "_functional", None) or model


def is_functional(model: object) -> bool:
    """Returns whether `model` is a model that computes its graph and nothing else.

    A class with a `call` of its own may have a graph and compute something else.

    Example:
        >>> is_functional(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
        True
    """
    if not isinstance(model, keras.Model) or not hasattr(_functional(model), "operations"):
        return False
    definer = next(cls for cls in type(model).__mro__ if "call" in vars(cls))
    return definer.__module__.partition(".")[0] == "keras"


def nodes(model: keras.Model) -> list[Node]:
    """Returns the calls in a model's graph, each after those it depends on, inputs first."""
    check_functional(model)
    by_depth = _functional(model)._nodes_by_depth
    calls = [call for depth in sorted(by_depth, reverse=True) for call in by_depth[depth]]
    return [
        Node(call.operation, list(call.input_tensors), list(call.output_tensors), call)
        for call in calls
    ]


def mixes_lanes(operation: keras.Operation) -> bool:
    """Returns whether `operation` mixes several trunks: it takes one tensor of each, and gives one for each.

    Such a layer has a class attribute `mixes_lanes = True`, and belongs to none of the trunks.

    Example:
        >>> mixes_lanes(keras.layers.Add())
        False
    """
    return bool(getattr(operation, "mixes_lanes", False))


def lanes(order: Sequence[Node]) -> list[Node]:
    """Returns `order` with each call that mixes trunks split into one call for each trunk.

    In that order a trunk depends on its own layers only, and can be found beside its neighbours.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> len(lanes(nodes(model)))
        2
    """
    split = []
    for node in order:
        if mixes_lanes(node.operation):
            pairs = zip(node.inputs, node.outputs, strict=True)
            split += [node._replace(inputs=[before], outputs=[after]) for before, after in pairs]
        else:
            split.append(node)
    return split


def ancestors(order: Sequence[Node], tensors: Iterable[Tensor]) -> set[int]:
    """Returns the positions in `order` of all calls that `tensors` depend on, those that make them included."""
    needed = {id(tensor) for tensor in tensors}
    positions = set()
    for position, node in reversed(list(enumerate(order))):
        if any(id(tensor) in needed for tensor in node.outputs):
            positions.add(position)
            needed.update(id(tensor) for tensor in node.inputs)
    return positions


def below(order: Sequence[Node], tensors: Iterable[Tensor]) -> list[keras.Operation]:
    """Returns the operations of all calls that `tensors` depend on, bottom to top."""
    return [order[position].operation for position in sorted(ancestors(order, tensors))]


def crossing(order: Sequence[Node], lower: set[int], outputs: Iterable[Tensor]) -> list[Tensor]:
    """Returns the tensors made at the positions `lower` that other calls use, or that are among `outputs`."""
    used = {id(tensor) for tensor in outputs}
    for position, node in enumerate(order):
        if position not in lower:
            used.update(id(tensor) for tensor in node.inputs)
    made = [tensor for position in sorted(lower) for tensor in order[position].outputs]
    return [tensor for tensor in made if id(tensor) in used]


def tap(model: keras.Model, layers: str | Iterable[str]) -> keras.Model:
    """Returns a model with the same inputs and a dict of the outputs of inner layers, by path.

    It shares its layers with `model`.

    Args:
        model: A functional model, perhaps with nested models.
        layers: Patterns of layers or operations.

    Raises:
        InputError: If a pattern matches no layer.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="a"), keras.layers.Dense(1)])
        >>> tap(model, "a").output["a"].shape
        (None, 2)
    """
    patterns = [layers] if isinstance(layers, str) else list(layers)
    outputs = {node.operation.name: node.outputs[0] for node in nodes(model)}
    try:
        matches = paths.match(outputs, patterns, argument="layers")
    except checks.InputError:  # then the layers are in nested models
        path_of = {layer.name: path for path, layer in paths.leaves(model).items()}
        model = flatten(model)
        calls = [(node.operation.name, node.outputs[0]) for node in nodes(model)]
        outputs = {path_of.get(name, name): output for name, output in calls}
        matches = paths.match(outputs, patterns, argument="layers")
    return keras.Model(_functional(model)._inputs_struct, {path: outputs[path] for path in matches})


def cut(model: keras.Model, at: str | Iterable[str] | set[int]) -> tuple[keras.Model, keras.Model]:
    """Cuts `model` beneath a layer into a lower and an upper model that share its layers.

    Args:
        model: A functional model.
        at: Pattern of layers: the first match and every later call go to the upper model. Or the
            positions of the lower part in `nodes(model)`, with all they depend on.

    Returns:
        `(lower, upper)`: `lower` gives the tensor that crosses the cut, or the list of them if there are several;
        `upper` takes it and gives the outputs.

    Raises:
        InputError: If nothing matches, or nothing remains below or above the cut.

    Example:
        >>> dense = [keras.layers.Dense(2, name=name) for name in ("a", "b")]
        >>> model = keras.Sequential([keras.Input((4,)), *dense])
        >>> [layer.name for layer in cut(model, "b")[0].layers][-1]
        'a'
    """
    order = nodes(model)
    if isinstance(at, set):
        lower = at
    else:
        names = [node.operation.name for node in order]
        lower = set(range(names.index(paths.match(names, at, argument="at")[0])))
    inputs = {position for position, node in enumerate(order) if not node.inputs}
    if lower <= inputs or len(lower) == len(order):
        raise checks.error("`at` must leave layers on both sides of the cut", given=repr(at))

    tensors = crossing(order, lower | inputs, model.outputs)
    boundary = tensors if len(tensors) > 1 else tensors[0]
    name = f"{model.name}_lower"
    return keras.Model(_functional(model)._inputs_struct, boundary, name=name), above(
        model, tensors
    )


def above(model: keras.Model, tensors: Sequence[Tensor]) -> keras.Model:
    """Returns the part of `model` that computes its outputs from inner tensors; layers are shared.

    It takes the tensor, or a tuple of them if there are several. A model that trains in a way of its own has a method
    `part(inputs, outputs, name=...)`, which makes a part that trains in that way too.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="a"), keras.layers.Dense(1)])
        >>> above(model, [model.get_layer("a").output]).input_shape
        (None, 2)
    """
    boundary = tuple(tensors) if len(tensors) > 1 else tensors[0]
    return part(model, boundary, _functional(model)._outputs_struct)


def part(model: keras.Model, inputs: Any, outputs: Any) -> keras.Model:
    """Returns a model of other tensors that trains as `model` does; see `above`."""
    make = getattr(model, "part", keras.Model)
    return make(inputs, outputs, name=f"{model.name}_upper")


def flatten(model: keras.Model) -> keras.Model:
    """Returns an equal model that holds the layers of its nested models itself.

    Layers are shared. A model without nested models is returned as it is.

    Raises:
        InputError: If two layers have one name.

    Example:
        >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")], name="inner")
        >>> [layer.name for layer in flatten(keras.Sequential([inner, keras.layers.Dense(1, name="head")])).layers][1:]
        ['dense', 'head']
    """
    if not any(is_functional(node.operation) for node in nodes(model)):
        return model
    operations = {id(operation): operation for operation in _inner_operations(model)}
    names = [operation.name for operation in operations.values()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise checks.error(
            "layers must have different names to be taken out of their nested models",
            given=f"{twice[0]!r} twice in {model.name!r}",
            fix="Rename one of them.",
        )

    def dissolve(operation: keras.Operation) -> Callable:
        return functools.partial(call_inside, operation) if is_functional(operation) else operation

    def call_inside(nested: keras.Model, *args: object, **kwargs: object) -> list[Tensor]:
        values = keras.tree.flatten((args, kwargs))
        inputs = [value for value in values if isinstance(value, keras.KerasTensor)]
        return replay(nested, inputs, nested.outputs, swap=dissolve)

    outputs = replay(model, model.inputs, model.outputs, swap=dissolve)
    functional = _functional(model)
    outputs = keras.tree.pack_sequence_as(functional._outputs_struct, outputs)
    return keras.Model(functional._inputs_struct, outputs, name=model.name)


def _inner_operations(model: keras.Model, *, is_nested: bool = False) -> Iterator[keras.Operation]:
    """Yields the operations of `model` and of its nested models, without the inputs of nested models."""
    for node in nodes(model):
        if is_functional(node.operation):
            yield from _inner_operations(node.operation, is_nested=True)
        elif node.inputs or not is_nested:
            yield node.operation


def replay(
    model: keras.Model,
    inputs: Sequence[Tensor],
    ends: Sequence[Tensor],
    *,
    swap: Callable[[keras.Operation], Callable] | None = None,
    kept: Iterable[Tensor] = (),
) -> list[Tensor]:
    """Calls the operations that `ends` need once more, on other inputs; returns the new ends.

    Args:
        model: A functional model; nested models are called as they are.
        inputs: One tensor for each input of `model`.
        ends: Tensors of the graph of `model`.
        swap: Returns what to call instead of an operation; by default the operation itself.
        kept: Tensors of the graph of `model` that are used as they are, not computed again.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="a"), keras.layers.Dense(1)])
        >>> replay(model, [keras.Input((4,))], [nodes(model)[1].outputs[0]])[0].shape
        (None, 2)
    """
    values = {id(old): new for old, new in zip(model.inputs, inputs, strict=True)}
    values.update((id(tensor), tensor) for tensor in kept)
    order = nodes(model)
    for position in sorted(ancestors(order, ends)):
        node = order[position]
        if node.inputs and not all(id(tensor) in values for tensor in node.outputs):
            operation = swap(node.operation) if swap else node.operation
            values.update(call(node, values, operation))
    return [values[id(tensor)] for tensor in ends]


def call(node: Node, values: Mapping[int, Tensor], operation: Callable) -> dict[int, Tensor]:
    """Calls `operation` as `node` was called, on other tensors.

    Args:
        node: A call within a model.
        values: The new tensors, by the ids of those that the node takes.
        operation: The node's own operation, or one that takes its place.

    Returns:
        The results, by the ids of the node's outputs.

    Example:
        >>> last = nodes(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))[-1]
        >>> made = call(last, {id(last.inputs[0]): keras.Input((4,))}, last.operation)
        >>> made[id(last.outputs[0])].shape
        (None, 2)
    """
    arguments, keywords = node.call.arguments.fill_in(values)
    results = operation(*arguments, **keywords)
    return dict(zip(map(id, node.outputs), keras.tree.flatten(results), strict=True))
