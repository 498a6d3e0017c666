"""A common trunk below, and above it branches that tasks have for themselves."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras

from keras_transfer import layers, tasks
from keras_transfer.core import checks, lookup
from keras_transfer.graphs import nodes, paths
from keras_transfer.layers import marks
from keras_transfer.models.sharing import base, hard

__all__ = ["Branched"]


class Branched(base.Sharing):
    """Some tasks have a copy of the trunk's upper part of their own; the others share it.

    A copy begins with the weights and statistics of what it is a copy of, and is named after the task:
    "age_block_13_expand". What lies below a branch stays common. Two tasks with the same pattern have two copies.

    Args:
        at: For each task that branches the pattern of the lowest block or layer that it has for itself, as for
            `unfreeze`: the first that matches, and everything above it. It may lie within a residual block.

    Example:
        >>> import keras_transfer as kt
        >>> two = {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), two, sharing={"age": "block4*"})
        >>> [layer.name for layer in model.layers if layer.name.startswith("age_block")]
        ['age_block4_1_conv', 'age_block4_1_bn', 'age_block4_1_relu']
    """

    def __init__(self, at: Mapping[str, str | Iterable[str]] | None = None) -> None:
        if not isinstance(at, Mapping) or not at:
            raise checks.error(
                "branched sharing must be given as a dict of tasks and the blocks where they branch off",
                given=repr(at),
                fix='Write sharing={"age": "block_13*"}.',
            )
        for name, pattern in at.items():
            patterns = [pattern] if isinstance(pattern, str) else pattern
            is_list = isinstance(patterns, list | tuple) and len(patterns) > 0
            if not is_list or not all(isinstance(one, str) for one in patterns):
                raise checks.error(
                    "`sharing` must have a pattern for each task", given=f"{pattern!r} for {name!r}"
                )
        self.at = dict(at)

    def features(self, backbone: keras.Model, named: Mapping[str, tasks.Task]) -> base.Features:
        """See `Sharing`."""
        for name in self.at:
            if lookup.find(name, named, argument="sharing").stop_gradient:
                raise checks.error(
                    "`stop_gradient` must be left out for a task with a branch, which would never learn",
                    given=f"task {name!r}",
                )
        names = base.Names(backbone, named)
        on_trunk = {name: task for name, task in named.items() if name not in self.at}
        starts = hard.starts(backbone, on_trunk)
        for name, pattern in self.at.items():
            starts[name] = _branch(backbone, name, pattern, task=named[name], names=names)
        return base.gather(backbone, {name: starts[name] for name in named}, named)


def _branch(
    backbone: keras.Model,
    name: str,
    pattern: str | Iterable[str],
    *,
    task: tasks.Task,
    names: base.Names,
) -> Any:
    """Copies what lies above the first match of `pattern`; returns the marked end of the copy, or its ends by level.

    A level below the branch is the trunk's.
    """
    order = nodes.nodes(backbone)
    own = _positions_above(backbone, order, pattern)
    levels = base.level_names(backbone, task) if task.levels else [task.level]
    ends = {level: base.level_end(backbone, level) for level in levels}
    if not nodes.ancestors(order, list(ends.values())) & own:
        raise checks.error(
            "a branch must begin below the level where the task's head starts",
            given=f"{pattern!r} and level {levels[-1]!r} of task {name!r}",
            fix="Leave `level` out, or branch lower.",
        )
    copies = base.Copies(name, names)
    kept = [
        tensor
        for position, node in enumerate(order)
        if position not in own
        for tensor in node.outputs
    ]
    copied = nodes.replay(backbone, backbone.inputs, list(ends.values()), swap=copies, kept=kept)
    copies.fill()

    mark = marks.end_of_trunk(backbone)
    starts = {}
    for (level, end), start in zip(ends.items(), copied, strict=True):
        starts[level] = start
        if (
            end is backbone.inputs[0] or end is backbone.outputs[0]
        ):  # that has a mark, or a copy of it
            continue
        branch = "" if start is end else name
        label = names.free(f"{name}_{mark.name}_{level}")
        starts[level] = layers.Representation(mark.source, branch=branch, name=label)(start)
    return starts if task.levels else starts[task.level]


def _positions_above(
    backbone: keras.Model, order: list[nodes.Node], pattern: str | Iterable[str]
) -> set[int]:
    """Returns the positions of the first block or layer that matches, and of everything above it."""
    blocks = {block.name: block.layers for block in marks.blocks(backbone)}
    paths_in_trunk = [path for inside in blocks.values() for path in inside]
    trunk = list(dict.fromkeys(path.partition("/")[0] for path in paths_in_trunk))
    hits = paths.match([*blocks, *trunk], pattern, argument="sharing", what="a block or layer")
    tops = [blocks[hit][0].partition("/")[0] if hit in blocks else hit for hit in hits]
    upper = set(trunk[min(map(trunk.index, tops)) :])

    positions: set[int] = set()
    made: set[int] = set()  # ids of the tensors that come out there
    for position, node in enumerate(order):
        depends = any(id(tensor) in made for tensor in node.inputs)
        if node.inputs and (node.operation.name in upper or depends):
            positions.add(position)
            made.update(id(tensor) for tensor in node.outputs)
    return positions
