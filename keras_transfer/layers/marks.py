"""Reads a model by the layers that mark it: where the trunk ends, where tasks part, where answers come out.

So no other room has to know a task, a backbone or a way of sharing by name.
"""

import collections
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_transfer.core import checks, labelled
from keras_transfer.graphs import blocks as graph_blocks
from keras_transfer.graphs import boundaries, nodes
from keras_transfer.layers.level_ends import LevelEnds
from keras_transfer.layers.task_balance import Balance
from keras_transfer.layers.task_output import TaskOutput
from keras_transfer.layers.trunk_end import Representation

__all__ = [
    "balance",
    "blocks",
    "check_labelled",
    "end_of_trunk",
    "model_classes",
    "named_levels",
    "outputs",
    "representation",
    "representations",
    "settled_losses",
    "shared",
    "shared_weights",
    "targets_by_task",
]


def representations(model: keras.Model) -> list[Representation]:
    """Returns the ends of `model`'s trunk: first the trunk's own from top to bottom, then those of branches.

    Only layers of the model's own graph count, not those of models inside.

    Example:
        >>> representations(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
        []
    """
    ends = [layer for layer in model.layers if isinstance(layer, Representation)]
    if len(ends) < 2:
        return ends

    order = nodes.nodes(model)
    depth = {end.name: len(nodes.ancestors(order, [end.output])) for end in ends}
    return sorted(ends, key=lambda end: (bool(end.branch), -depth[end.name]))


def representation(
    model: keras.Model, *, below: keras.KerasTensor | None = None
) -> Representation | None:
    """Returns the end of `model`'s trunk, or None where the model has no mark.

    Of several it is the topmost of the trunk; where each task has its own branch, the end of the first branch.

    Args:
        model: A model.
        below: A tensor of the model's graph; asks for the topmost end that this tensor depends on.

    Example:
        >>> representation(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])) is None
        True
    """
    ends = representations(model)
    if below is not None and len(ends) > 1:
        order = nodes.lanes(nodes.nodes(model))
        top_down = sorted(nodes.ancestors(order, [below]), reverse=True)
        operations = [order[position].operation for position in top_down]
        ends = [each for each in operations if isinstance(each, Representation)] or ends
    return ends[0] if ends else None


def end_of_trunk(model: keras.Model) -> Representation:
    """Returns the mark that `representation` finds.

    Raises:
        InputError: If the model has no mark.

    Example:
        >>> trunk = keras.Sequential([keras.Input((4,)), Representation(name="end")])
        >>> end_of_trunk(trunk).name
        'end'
    """
    mark = representation(model)
    if mark is None:
        given, fix = f"{model.name!r}, which has no mark", "Use kt.build_model."
        raise checks.error("`model` must have a trunk whose end is marked", given=given, fix=fix)
    return mark


def named_levels(model: keras.Model) -> LevelEnds | None:
    """Returns the layer that names the levels of a trunk with a pyramid or a decoder of its own; None without one.

    Example:
        >>> named_levels(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])) is None
        True
    """
    return next((layer for layer in model.layers if isinstance(layer, LevelEnds)), None)


def blocks(model: keras.Model) -> list[graph_blocks.Block]:
    """Returns the blocks of the model's trunk, bottom to top; without a mark, the blocks of the whole model.

    A block also holds its copies in branches of the trunk: they are frozen and trained together.

    Example:
        >>> dense = [keras.layers.Dense(2, name=name) for name in ("a", "b")]
        >>> model = keras.Sequential([keras.Input((4,)), *dense])
        >>> [block.name for block in blocks(model)]
        ['a', 'b']
    """
    nodes.check_functional(model)
    ends = representations(model)
    if not ends:
        return graph_blocks.blocks(model)

    # Blocks of one name are told apart by how many of that name lie below.
    order: list[tuple[str, int]] = []
    layers_in: dict[tuple[str, int], list[str]] = {}
    listed: set[str] = set()
    for end in ends:
        position = 0
        seen: collections.Counter = collections.Counter()
        prefix = f"{end.branch}_" if end.branch else ""
        pattern = end.source.get("blocks")
        for block in graph_blocks.blocks(model, pattern=pattern, until=end.input, prefix=prefix):
            key = (block.name, seen[block.name])
            seen[block.name] += 1
            if key not in layers_in:
                order.insert(position, key)
                layers_in[key] = []
            position = order.index(key) + 1
            layers_in[key] += [path for path in block.layers if path not in listed]
            listed.update(block.layers)
    return [graph_blocks.Block(key[0], tuple(layers_in[key])) for key in order if layers_in[key]]


def balance(model: keras.Model) -> Balance | None:
    """Returns the layer of `model`'s own graph that balances its tasks, or None where there is none.

    Example:
        >>> balance(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])) is None
        True
    """
    return next((layer for layer in model.layers if isinstance(layer, Balance)), None)


def outputs(model: keras.Model) -> dict[str, TaskOutput]:
    """Returns the task outputs of `model` by name, in the order of its outputs; empty for a plain Keras model.

    Example:
        >>> outputs(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
        {}
    """
    by_name = {layer.name: layer for layer in model.layers if isinstance(layer, TaskOutput)}
    if not isinstance(getattr(model, "output", None), dict):
        return by_name
    return {name: by_name[name] for name in model.output if name in by_name}


def model_classes(model: keras.Model) -> Any:
    """Returns the names of a model's classes in the order of their ids: a list, or a dict of lists for several tasks.

    Tags are classes, too. It is None where the model has no names, as a plain Keras model.

    Example:
        >>> import keras_transfer as kt
        >>> model_classes(kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(["cat", "dog"])))
        ['cat', 'dog']
    """
    names = {
        name: getattr(layer.task, "class_names", None) for name, layer in outputs(model).items()
    }
    known = {name: list(own) for name, own in names.items() if own is not None}
    if len(names) > 1:
        return known or None
    return next(iter(known.values()), None)


def shared(model: keras.Model) -> list[keras.KerasTensor]:
    """Returns the deepest tensors that the gradients of all tasks pass, bottom to top.

    With hard sharing it is the end of the trunk. Tasks that stop their gradient do not count. The list is empty
    where fewer than two tasks are left, or where these have no weights in common.

    Args:
        model: A model of `kt.build_model`, also one that was loaded.

    Example:
        >>> import keras_transfer as kt
        >>> tasks = {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), tasks)
        >>> shared(model)[0] is kt.models.representation(model).output
        True
    """
    learning = [
        layer.output
        for layer in outputs(model).values()
        if not getattr(layer.task, "stop_gradient", False)
    ]
    return boundaries.deepest_shared(nodes.nodes(model), learning) if len(learning) > 1 else []


def shared_weights(model: keras.Model) -> list[keras.Variable]:
    """Returns the weights, frozen ones included, that the gradients of several tasks reach.

    Tasks that stop their gradient do not count.

    Args:
        model: A model of `kt.build_model`, or a part of one.

    Example:
        >>> import keras_transfer as kt
        >>> tasks = {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), tasks)
        >>> [weight.name for weight in shared_weights(model)][0]
        'kernel'
    """
    order = nodes.nodes(model)
    tasks: collections.Counter = collections.Counter()
    weights: dict[int, keras.Variable] = {}
    for layer in outputs(model).values():
        if getattr(layer.task, "stop_gradient", False):
            continue
        reached: dict[int, keras.Variable] = {}
        for operation in nodes.below(order, [layer.output]):
            reached |= {id(weight): weight for weight in getattr(operation, "weights", ())}
        tasks.update(reached.keys())
        weights |= reached
    return [weight for name, weight in weights.items() if tasks[name] > 1]


def targets_by_task(model: keras.Model, targets: Any) -> dict[str, Any]:
    """Returns the targets of each task of `model`, without targets that belong to no task.

    Args:
        model: A model with task outputs.
        targets: As the model is trained on: an array for one task, a dict by name for several.

    Raises:
        InputError: If a task has no targets, or there is one unnamed target too few or too many.
    """
    names = list(outputs(model))
    named = isinstance(targets, Mapping)
    if not isinstance(model.output, Mapping):
        if named:
            raise checks.error(
                "`data` must have one target for a model with one task",
                given=f"targets {', '.join(targets)}",
            )
        return {names[0]: targets}

    if not named or not set(names) <= set(targets):
        given = ", ".join(map(str, targets)) if named else "one unnamed target"
        raise checks.error(
            f"`data` must have a target for each task: {', '.join(names)}", given=given
        )
    return {name: targets[name] for name in names}


def check_labelled(name: str, targets: Any) -> None:
    """Raises an error where a task has no label at all.

    Args:
        name: Name of the task.
        targets: Those training targets that have a label.

    Example:
        >>> check_labelled("age", [])
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `data` must have a label of some training image for 'age'. Given: none.
    """
    if not len(targets):
        raise checks.error(
            f"`data` must have a label of some training image for {name!r}",
            given="none",
            fix="Leave the task out, or look for what is taken as a missing label.",
        )


def settled_losses(
    model: keras.Model, targets: object, weights: object = None
) -> dict[str, object]:
    """Returns each task's loss after reading what it needs (class counts, for example) from the training targets.

    Also sets the units of the task outputs, except in a model that was trained: it keeps its answers.

    Args:
        model: A model with task outputs.
        targets: As for `targets_by_task`.
        weights: 0 for a missing label, which is not read: for all tasks, or a dict by task.
    """
    optimizer = getattr(model, "optimizer", None)
    is_trained = optimizer is not None and int(ops.convert_to_numpy(optimizer.iterations))
    losses = {}
    for name, of_task in targets_by_task(model, targets).items():
        output = outputs(model)[name]
        labels = labelled.known(of_task, labelled.of_task(weights, name))
        check_labelled(name, labels)
        some = labelled.sample(labels)
        output.task.encode(some)  # raises errors now, not while training
        if not is_trained:
            output.take_unit(some)
        losses[name] = output.task.loss(labels)
    return losses
