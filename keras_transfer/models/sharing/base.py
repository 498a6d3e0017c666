"""The protocol of a sharing scheme, and what schemes have in common: levels, copies, free names."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import keras

from keras_transfer import layers, tasks
from keras_transfer.backbones import rebuilding
from keras_transfer.core import checks, lookup
from keras_transfer.graphs import blocks, boundaries, nodes, paths
from keras_transfer.layers import marks

__all__ = [
    "Copies",
    "Features",
    "Names",
    "Sharing",
    "gather",
    "mark_end",
    "level_end",
    "level_names",
    "tap_points",
    "refuse_levels",
    "stop_if_asked",
]

IMAGE = "P0"  # the level of the image itself
# What a head calls its layers, after the task's name; see `tasks.Task.head`.
HEAD = re.compile(r"(pool|dropout|hidden|logits|stop_gradient)(_.*)?")


class Features(NamedTuple):
    """Where the heads of several tasks start."""

    starts: dict[str, Any]
    """For each task the tensor that its head starts from, or a dict of tensors by level; all depend on the backbone's
    input."""
    shared: list[keras.KerasTensor]
    """The deepest tensors through which the gradients of all tasks pass, see `kt.models.shared`."""


class Sharing:
    """How tasks share a trunk; subclass it for a scheme of your own.

    Its constructor checks and stores. What it makes is part of one flat functional model, so nothing of the
    scheme itself is saved. The end of each trunk that it makes is marked with a `layers.Representation`.

    Example:
        >>> class Pooled(Sharing):
        ...     def features(self, backbone, named):
        ...         pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(backbone.outputs[0])
        ...         return gather(backbone, dict.fromkeys(named, pooled), named)
        >>> import keras_transfer as kt
        >>> two = {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}
        >>> kt.build_model(kt.backbone("tiny", weights=None), two, sharing=Pooled()).get_layer("pooled").output.shape
        (None, 256)
    """

    def features(self, backbone: keras.Model, named: Mapping[str, tasks.Task]) -> Features:
        """Builds what lies between the image and the heads.

        Args:
            backbone: With one input and one output, and a mark of the representation.
            named: The tasks by name.
        """
        raise NotImplementedError


def mark_end(backbone: keras.Model) -> keras.Model:
    """Returns `backbone`, with a mark at its end; unchanged if it has one.

    Example:
        >>> images = keras.Input((8, 8, 3))
        >>> model = keras.Model(images, keras.layers.Conv2D(4, 3)(images), name="mine")
        >>> marks.representation(mark_end(model)).source
        {'name': 'mine'}
    """
    if marks.representation(backbone) is not None:
        return backbone
    end = layers.Representation({"name": backbone.name}, name="representation")(backbone.outputs[0])
    return keras.Model(backbone.inputs[0], end, name=backbone.name)


def gather(
    backbone: keras.Model, starts: Mapping[str, Any], named: Mapping[str, tasks.Task]
) -> Features:
    """Returns the result of a scheme: where heads start, and what the tasks share.

    Example:
        >>> images = keras.Input((8, 8, 3))
        >>> model = mark_end(keras.Model(images, keras.layers.Conv2D(4, 3)(images)))
        >>> starts = dict.fromkeys(("kind", "age"), model.output)
        >>> features = gather(model, starts, {"kind": tasks.Classification(2), "age": tasks.Regression()})
        >>> features.shared[0] is model.output
        True
    """
    tensors = {name: keras.tree.flatten(start) for name, start in starts.items()}
    learning = [tensors[name] for name in starts if not named[name].stop_gradient]
    if len(learning) < 2:
        return Features(dict(starts), [])
    order = nodes.nodes(keras.Model(backbone.inputs[0], keras.tree.flatten(tensors)))
    return Features(dict(starts), boundaries.deepest_shared(order, learning))


class Names:
    """Finds names for new layers of a model, so that none comes twice.

    Args:
        backbone: Its layers' names are taken.
        tasks: Names of the tasks, which are taken, too.

    Example:
        >>> names = Names(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="age_conv")]), ["age"])
        >>> names.free("age_norm"), names.free("age_conv"), names.copy("age", "pool")
        ('age_norm', 'age_conv_1', 'age_trunk_pool')
    """

    def __init__(self, backbone: keras.Model, tasks: Iterable[str]) -> None:
        self._taken = {node.operation.name for node in nodes.nodes(backbone)} | set(tasks)

    def free(self, name: str) -> str:
        """Returns `name`, with a number if it is taken, and takes it."""
        number, candidate = 0, name
        while candidate in self._taken:
            number += 1
            candidate = f"{name}_{number}"
        self._taken.add(candidate)
        return candidate

    def copy(self, task: str, name: str) -> str:
        """Returns the name for a task's copy of a layer, which must not be one that the task's head will use."""
        between = "trunk_" if HEAD.fullmatch(name) else ""
        return self.free(f"{task}_{between}{name}")


class Copies:
    """A task's own copies of operations; a copy is made on its first use.

    Args:
        task: The name of the task, which goes before the names of the copies.
        names: The names of the model.
    """

    def __init__(self, task: str, names: Names) -> None:
        self._task = task
        self._names = names
        self._pairs: rebuilding.Pairs = {}
        self._made = rebuilding.make_copier(self._pairs, rename=lambda name: names.copy(task, name))
        self._marks: dict[int, layers.Representation] = {}

    def __call__(self, operation: keras.Operation) -> Callable:
        """Returns the copy of an operation; the copy of a mark names the task."""
        if not isinstance(operation, layers.Representation):
            return self._made(operation)
        if id(operation) not in self._marks:
            name = self._names.copy(self._task, operation.name)
            config = {**operation.get_config(), "name": name, "branch": self._task}
            self._marks[id(operation)] = layers.Representation.from_config(config)
        return self._marks[id(operation)]

    def fill(self) -> None:
        """Gives the copies the weights and statistics of the originals."""
        rebuilding.hand_over(self._pairs, sizes="the same images")


def stop_if_asked(tensor: keras.KerasTensor, name: str, task: tasks.Task) -> keras.KerasTensor:
    """Returns `tensor`, behind a stop for gradients if the task asks for one.

    Example:
        >>> features = keras.Input((4,))
        >>> stop_if_asked(features, "age", tasks.Regression()) is features
        True
    """
    if not task.stop_gradient:
        return tensor
    return layers.StopGradient(name=f"{name}_stop_gradient")(tensor)


def refuse_levels(named: Mapping[str, tasks.Task], scheme: str) -> None:
    """Raises an error if a task starts at a level, for a scheme that cannot do that.

    Example:
        >>> refuse_levels({"age": tasks.Regression()}, "experts")
    """
    for name, task in named.items():
        if task.levels:
            raise checks.error(
                f"{scheme} sharing must be of tasks that answer for the whole image",
                given=f"task {name!r}, a {task.kind}",
                fix="Leave `sharing` out: one trunk for all tasks.",
            )
        if task.level is not None:
            raise checks.error(
                f"`level` must be left out with {scheme} sharing",
                given=f"{task.level!r} of task {name!r}",
                fix="Hard sharing and branches know levels.",
            )


def level_end(backbone: keras.Model, level: str | None) -> keras.KerasTensor:
    """Returns the tensor of the backbone's graph where a level ends; its output for None, the image for P0.

    Raises:
        InputError: If the backbone has no such level.

    Example:
        >>> import keras_transfer as kt
        >>> level_end(kt.backbone("tiny", weights=None), "P2").shape
        (None, 8, 8, 64)
    """
    end = backbone.outputs[0]
    if level is None:
        return end
    layer_names = _known_levels(backbone)
    if level == IMAGE and level not in layer_names:
        return backbone.inputs[0]
    name = lookup.find(level, layer_names, argument="level")
    mark = marks.end_of_trunk(backbone)
    tensor = next(node.outputs[0] for node in nodes.nodes(backbone) if node.operation.name == name)
    return end if tensor is mark.input else tensor


def level_names(backbone: keras.Model, task: tasks.Task) -> list[str]:
    """Returns those of a task's levels that the backbone has, from the lowest up; P0 is the image.

    Raises:
        InputError: If it has none of them but the image.

    Example:
        >>> import keras_transfer as kt
        >>> level_names(kt.backbone("tiny", weights=None), tasks.Task())
        []
    """
    known = _known_levels(backbone)
    for level in task.needed_levels:
        if level not in known:
            given, fix = repr(level), f"{backbone.name} has {', '.join(known) or 'no maps'}."
            raise checks.error("`levels` must be of the backbone", given=given, fix=fix)
    levels = [level for level in task.levels if level in known or level == IMAGE]
    if task.levels and not set(levels) & set(known):
        wanted = ", ".join(level for level in task.levels if level != IMAGE)
        expected = f"a {task.kind} needs one of the levels {wanted} of the backbone"
        raise checks.error(expected, given=", ".join(known) or "a backbone without maps")
    return levels


def _known_levels(backbone: keras.Model) -> dict[str, str]:
    """Returns the layer at the end of each level."""
    mark = marks.end_of_trunk(backbone)
    return blocks.levels(backbone, pattern=mark.source.get("blocks"), until=mark.input)


def tap_points(
    backbone: keras.Model, at: str | Iterable[str] | None
) -> dict[str, keras.KerasTensor]:
    """Returns the tensors at which a scheme joins in, by the name of what ends there, bottom to top.

    Args:
        backbone: A model with a mark.
        at: Patterns of blocks, or of layers where no block fits; by default the last block of each resolution, or
            every block of a network without maps.

    Raises:
        InputError: If a pattern matches nothing.

    Example:
        >>> import keras_transfer as kt
        >>> network = kt.backbone("tiny", weights=None)
        >>> list(tap_points(network, None)), list(tap_points(network, "block*"))
        (['block2_relu', 'block4_1_relu'], ['block1', 'block2', 'block3', 'block4'])
    """
    mark = marks.end_of_trunk(backbone)
    options = {"pattern": mark.source.get("blocks"), "until": mark.input}
    order = nodes.nodes(backbone)
    below = [order[position] for position in sorted(nodes.ancestors(order, [mark.input]))]
    trunk = [node for node in below if node.inputs]
    by_layer = {node.operation.name: node.outputs[0] for node in trunk}
    by_block = blocks.ends(backbone, **options)
    if at is None:
        names = blocks.levels(backbone, **options).values()
        return {name: by_layer[name] for name in names} or by_block

    tensors = {**by_layer, **by_block}
    names_by_tensor: dict[int, str] = {}
    for pattern in [at] if isinstance(at, str) else list(at):
        hits = paths.match(tensors, pattern, argument="at", what="a block or layer")
        block_hits = [hit for hit in hits if hit in by_block]
        for name in block_hits or hits:
            names_by_tensor.setdefault(id(tensors[name]), name)
    bottom_up = [tensor for node in trunk for tensor in node.outputs]
    return {
        names_by_tensor[id(tensor)]: tensor for tensor in bottom_up if id(tensor) in names_by_tensor
    }
