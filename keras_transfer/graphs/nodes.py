"""Verbs on the graph of a functional model: tap it at layers, cut it in two, join it again.

Everything walks operations, not layers: the `+` of a residual may be a plain operation. A cut may
be crossed by several tensors (within a residual block, or with a tap below it); all of them are
handed over, so that `upper(lower(x))` equals `model(x)` wherever the cut lies. Layers are shared,
never copied: what is trained in a part is trained in the whole.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import keras

from keras_transfer.core import checks
from keras_transfer.graphs import paths

__all__ = [
    "Node", "above", "ancestors", "call", "check_functional", "crossing", "cut", "flatten", "is_functional", "join",
    "lanes", "mixes_lanes", "nodes", "replay", "tap",
]  # fmt: skip

Tensor = keras.KerasTensor


class Node(NamedTuple):
    """One call of an operation within a model."""

    operation: keras.Operation
    inputs: list[Tensor]
    outputs: list[Tensor]
    call: object  # Keras's own node; `call.arguments.fill_in` puts other tensors in the place of `inputs`


def check_functional(model: keras.Model, *, argument: str = "model") -> None:
    """Raises an error unless `model` has a graph to walk."""
    if not isinstance(model, keras.Model) or not hasattr(_functional(model), "operations"):
        raise checks.error(
            f"`{argument}` must be a functional or built sequential keras.Model",
            given=f"{type(model).__name__} {getattr(model, 'name', '')!r}",
            fix="A subclassed model has no graph; build it with keras.Model(inputs, outputs).",
        )


def _functional(model: keras.Model) -> keras.Model:
    return getattr(model, "_functional", None) or model


def is_functional(model: object) -> bool:
    """Returns whether `model` is a model whose graph is all that it computes.

    A functional model of a class with a `call` of its own has a graph, but may do something else.

    Example:
        >>> is_functional(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
        True
    """
    if not isinstance(model, keras.Model) or not hasattr(_functional(model), "operations"):
        return False
    definer = next(cls for cls in type(model).__mro__ if "call" in vars(cls))
    return definer.__module__.partition(".")[0] == "keras"


def nodes(model: keras.Model) -> list[Node]:
    """Returns the calls that make up `model`, each after those it depends on; inputs come first."""
    check_functional(model)
    by_depth = _functional(model)._nodes_by_depth
    calls = [call for depth in sorted(by_depth, reverse=True) for call in by_depth[depth]]
    return [
        Node(call.operation, list(call.input_tensors), list(call.output_tensors), call)
        for call in calls
    ]


def mixes_lanes(operation: keras.Operation) -> bool:
    """Returns whether `operation` mixes several trunks: as many tensors out as in, each beside its own.

    A layer says so with a class attribute `mixes_lanes = True`. It belongs to none of the trunks.

    Example:
        >>> mixes_lanes(keras.layers.Add())
        False
    """
    return bool(getattr(operation, "mixes_lanes", False))


def lanes(order: Sequence[Node]) -> list[Node]:
    """Returns `order` with each call that mixes several trunks taken apart, as if it let each of them pass alone.

    In such an order a trunk depends on its own layers only, so it can be found beside its neighbours.

    Args:
        order: Of `nodes`.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> len(lanes(nodes(model)))
        2
    """
    found = []
    for node in order:
        if mixes_lanes(node.operation):
            pairs = zip(node.inputs, node.outputs, strict=True)
            found += [node._replace(inputs=[given], outputs=[made]) for given, made in pairs]
        else:
            found.append(node)
    return found


def ancestors(order: Sequence[Node], tensors: Iterable[Tensor]) -> set[int]:
    """Returns the positions in `order` of all the calls that `tensors` depend on, their own included."""
    needed = {id(tensor) for tensor in tensors}
    found = set()
    for position in range(len(order) - 1, -1, -1):
        if any(id(tensor) in needed for tensor in order[position].outputs):
            found.add(position)
            needed.update(id(tensor) for tensor in order[position].inputs)
    return found


def crossing(order: Sequence[Node], lower: set[int], outputs: Iterable[Tensor]) -> list[Tensor]:
    """Returns the tensors made by the calls `lower` that the other calls, or `outputs`, use."""
    used = {
        id(tensor)
        for position, node in enumerate(order)
        if position not in lower
        for tensor in node.inputs
    }
    used |= {id(tensor) for tensor in outputs}
    return [
        tensor
        for position in sorted(lower)
        for tensor in order[position].outputs
        if id(tensor) in used
    ]


def tap(model: keras.Model, layers: str | Iterable[str]) -> keras.Model:
    """Returns a model with the same inputs whose outputs are the outputs of inner layers, by path.

    Args:
        model: A functional model; layers inside nested models are reached as well.
        layers: Patterns of layers or operations.

    Returns:
        A model with a dict of outputs, which shares its layers with `model`.

    Raises:
        InputError: If a pattern matches no layer.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="a"), keras.layers.Dense(1)])
        >>> tap(model, "a").output["a"].shape
        (None, 2)
    """
    named = {node.operation.name: node.outputs[0] for node in nodes(model)}
    wanted = [layers] if isinstance(layers, str) else list(layers)
    if not all(_any_match(named, pattern) for pattern in wanted):
        names = _paths_by_name(model)
        model = flatten(model)
        named = {
            names.get(node.operation.name, node.operation.name): node.outputs[0]
            for node in nodes(model)
        }
    return keras.Model(
        _functional(model)._inputs_struct,
        {path: named[path] for path in paths.match(named, wanted, argument="layers")},
    )


def _any_match(names: Iterable[str], pattern: str) -> bool:
    try:
        return bool(paths.match(names, pattern, argument="layers"))
    except checks.InputError:
        return False


def _paths_by_name(model: keras.Model) -> dict[str, str]:
    return {layer.name: path for path, layer in paths.leaves(model).items()}


def cut(model: keras.Model, at: str | Iterable[str] | set[int]) -> tuple[keras.Model, keras.Model]:
    """Cuts `model` beneath a layer into a lower and an upper model that share its layers.

    Args:
        model: A functional model.
        at: Pattern of layers: the first match and every later call go to the upper model. Or the
            positions in `nodes(model)` of the lower part, which must contain all they depend on.

    Returns:
        `(lower, upper)`: `lower` maps the inputs to the crossing tensor, or to the list of them where
        there are several; `upper` maps that to the outputs.

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
    calls = {position for position in lower if order[position].inputs}
    if not calls or len(lower) == len(order):
        raise checks.error("`at` must leave layers on both sides of the cut", given=repr(at))
    lower = lower | {position for position, node in enumerate(order) if not node.inputs}
    tensors = crossing(order, lower, model.outputs)
    boundary = tensors if len(tensors) > 1 else tensors[0]
    return keras.Model(
        _functional(model)._inputs_struct, boundary, name=f"{model.name}_lower"
    ), above(model, tensors)


def above(model: keras.Model, tensors: Sequence[Tensor]) -> keras.Model:
    """Returns the part of `model` that makes its outputs of inner tensors; layers are shared.

    It takes the tensor, or a tuple of them where there are several. A model that trains in a way of its own says by
    `part(inputs, outputs, name=...)` what a part of it is.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="a"), keras.layers.Dense(1)])
        >>> above(model, [model.get_layer("a").output]).input_shape
        (None, 2)
    """
    boundary = tuple(tensors) if len(tensors) > 1 else tensors[0]
    make = getattr(model, "part", keras.Model)
    return make(boundary, _functional(model)._outputs_struct, name=f"{model.name}_upper")


def join(lower: keras.Model, upper: keras.Model, *, name: str | None = None) -> keras.Model:
    """Returns the flat model `upper(lower(x))`; the inverse of `cut`.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), keras.layers.Dense(1, name="b")])
        >>> join(*cut(model, "b")).output_shape
        (None, 1)
    """
    if [tuple(t.shape) for t in lower.outputs] != [tuple(t.shape) for t in upper.inputs]:
        raise checks.error(
            "`upper` must take what `lower` gives",
            given=f"{[t.shape for t in lower.outputs]} for {[t.shape for t in upper.inputs]}",
        )
    values = _values(upper, lower.outputs, enter=True)
    outputs = keras.tree.map_structure(
        lambda tensor: values[id(tensor)], _functional(upper)._outputs_struct
    )
    return keras.Model(_functional(lower)._inputs_struct, outputs, name=name)


def flatten(model: keras.Model) -> keras.Model:
    """Returns an equal model whose nested functional and sequential models are dissolved into their layers.

    Layers are shared. A model without nested models is returned as it is.

    Raises:
        InputError: If two layers at different places carry one name.

    Example:
        >>> inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")], name="inner")
        >>> [layer.name for layer in flatten(keras.Sequential([inner, keras.layers.Dense(1, name="head")])).layers][1:]
        ['dense', 'head']
    """
    if not any(is_functional(node.operation) for node in nodes(model)):
        return model
    names = [operation.name for operation in {id(each): each for each in _inner(model)}.values()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise checks.error(
            "layers must have different names to be taken out of their nested models",
            given=f"{twice[0]!r} twice in {model.name!r}",
            fix="Rename one of them.",
        )
    functional = _functional(model)
    values = _values(model, model.inputs, enter=True)
    outputs = keras.tree.map_structure(
        lambda tensor: values[id(tensor)], functional._outputs_struct
    )
    return keras.Model(functional._inputs_struct, outputs, name=model.name)


def _inner(model: keras.Model, depth: int = 0) -> Iterator[keras.Operation]:
    """The operations that remain when nested models are dissolved; the inputs of nested models do not."""
    for node in nodes(model):
        if is_functional(node.operation):
            yield from _inner(node.operation, depth + 1)
        elif node.inputs or not depth:
            yield node.operation


def replay(
    model: keras.Model,
    inputs: Sequence[Tensor],
    ends: Sequence[Tensor],
    *,
    swap: Callable[[keras.Operation], Callable] | None = None,
    kept: Iterable[Tensor] = (),
) -> list[Tensor]:
    """Calls the operations of `model` once more, on other inputs, as far as `ends` need them.

    Args:
        model: A functional model; nested models are called as they are.
        inputs: One tensor in the place of each input of `model`.
        ends: Tensors of the graph of `model`.
        swap: Gives what is called in the place of an operation; by default the operation, shared.
        kept: Tensors of the graph of `model` that stay as they are: what makes them is not called again.

    Returns:
        What takes the place of `ends`.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="a"), keras.layers.Dense(1)])
        >>> replay(model, [keras.Input((4,))], [nodes(model)[1].outputs[0]])[0].shape
        (None, 2)
    """
    values = _values(model, inputs, ends=ends, swap=swap, kept=kept)
    return [values[id(tensor)] for tensor in ends]


def _values(
    model: keras.Model,
    inputs: Sequence[Tensor],
    *,
    enter: bool = False,
    ends: Sequence[Tensor] | None = None,
    swap: Callable[[keras.Operation], Callable] | None = None,
    kept: Iterable[Tensor] = (),
) -> dict[int, Tensor]:
    """Calls the operations of `model` on `inputs`; returns the new tensors by the ids of the old ones."""
    values = {id(old): new for old, new in zip(_functional(model).inputs, inputs, strict=True)}
    values.update((id(tensor), tensor) for tensor in kept)
    order = nodes(model)
    for position in sorted(ancestors(order, model.outputs if ends is None else ends)):
        node = order[position]
        if not node.inputs or all(id(tensor) in values for tensor in node.outputs):
            continue
        if enter and is_functional(node.operation):
            inside = _values(
                node.operation, [values[id(tensor)] for tensor in node.inputs], enter=True
            )
            results = [inside[id(tensor)] for tensor in _functional(node.operation).outputs]
            values.update(zip(map(id, node.outputs), results, strict=True))
        else:
            values.update(call(node, values, swap(node.operation) if swap else node.operation))
    return values


def call(node: Node, values: Mapping[int, Tensor], operation: Callable) -> dict[int, Tensor]:
    """Calls `operation` as `node` was called, on other tensors.

    Args:
        node: A call within a model.
        values: By the id of a tensor that the node takes, what is given in its place.
        operation: What is called: the node's own operation, or one that takes its place.

    Returns:
        By the id of each of the node's outputs, what was made in its place.

    Example:
        >>> last = nodes(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))[-1]
        >>> made = call(last, {id(last.inputs[0]): keras.Input((4,))}, last.operation)
        >>> made[id(last.outputs[0])].shape
        (None, 2)
    """
    arguments, keywords = node.call.arguments.fill_in(values)
    results = operation(*arguments, **keywords)
    return dict(zip(map(id, node.outputs), keras.tree.flatten(results), strict=True))
