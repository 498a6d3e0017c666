"""The mark in a model where the trunk ends and the heads begin.

A model has several where its tasks start at different levels, or have branches of the trunk of their own.
"""

import collections

import keras

from keras_transfer.graphs import blocks as core_blocks
from keras_transfer.graphs import nodes

__all__ = ["Representation", "blocks", "representation", "representations"]


@keras.saving.register_keras_serializable("keras_transfer")
class Representation(keras.layers.Layer):
    """Passes its input through; everything it depends on is the trunk, all else is head.

    Being a layer, the mark survives saving, loading and any surgery that keeps the trunk's end.

    Args:
        source: Where the trunk comes from: name, weights, arguments, and under "blocks" the pattern
            of its block names. Plain values only.
        branch: The task whose own copy of the trunk ends here; "" for the trunk itself. The names of the copied
            layers are those of the trunk with `<branch>_` before them.

    Example:
        >>> Representation({"name": "tiny"}).source["name"]
        'tiny'
    """

    def __init__(self, source: dict | None = None, *, branch: str = "", **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.source = dict(source or {})
        self.branch = branch

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Returns `inputs`."""
        return inputs

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The shape stays."""
        return input_shape

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {**super().get_config(), "source": self.source, "branch": self.branch}


def representations(model: keras.Model) -> list[Representation]:
    """Returns the marks of `model`'s own graph: those of the trunk first, the uppermost first, then the branches'.

    Example:
        >>> representations(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
        []
    """
    found = [layer for layer in model.layers if isinstance(layer, Representation)]
    if len(found) < 2:
        return found
    order = nodes.nodes(model)
    below = {mark.name: len(nodes.ancestors(order, [mark.output])) for mark in found}
    return sorted(found, key=lambda mark: (bool(mark.branch), -below[mark.name]))


def representation(
    model: keras.Model, *, below: keras.KerasTensor | None = None
) -> Representation | None:
    """Returns the mark of `model`'s own graph, or None where there is none.

    Of several it is the trunk's uppermost; that of the first branch where each task has one.

    Args:
        model: A model.
        below: A tensor of the model's graph: its own mark is wanted, the uppermost that it depends on.

    Example:
        >>> representation(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])) is None
        True
    """
    found = representations(model)
    if below is not None and len(found) > 1:
        order = nodes.lanes(nodes.nodes(model))
        operations = [
            order[position].operation
            for position in sorted(nodes.ancestors(order, [below]), reverse=True)
        ]
        found = [each for each in operations if isinstance(each, Representation)] or found
    return found[0] if found else None


def blocks(model: keras.Model) -> list[core_blocks.Block]:
    """Returns the blocks of the model's trunk, bottom to top; without a mark, of the whole model.

    A block holds the copies that branches of the trunk have of it, too: they are frozen and trained together.

    Example:
        >>> dense = [keras.layers.Dense(2, name=name) for name in ("a", "b")]
        >>> model = keras.Sequential([keras.Input((4,)), *dense])
        >>> [block.name for block in blocks(model)]
        ['a', 'b']
    """
    nodes.check_functional(model)
    marks = representations(model)
    if not marks:
        return core_blocks.blocks(model)
    order: list[tuple[str, int]] = []  # a name, and how many blocks of that name lie below
    inside: dict[tuple[str, int], list[str]] = {}
    listed: set[str] = set()
    for mark in marks:
        above, seen = 0, collections.Counter()
        prefix = f"{mark.branch}_" if mark.branch else ""
        for block in core_blocks.blocks(
            model, pattern=mark.source.get("blocks"), until=mark.input, prefix=prefix
        ):
            key = (block.name, seen[block.name])
            seen[block.name] += 1
            if key not in inside:
                order.insert(above, key)
                inside[key] = []
            above = order.index(key) + 1
            inside[key] += [path for path in block.layers if path not in listed]
            listed.update(block.layers)
    return [core_blocks.Block(key[0], tuple(inside[key])) for key in order if inside[key]]
