"""The mark in a model where the shared trunk ends and the heads begin."""

import keras

from keras_transfer.core import blocks as core_blocks
from keras_transfer.core import graph

__all__ = ["Representation", "blocks", "representation"]


@keras.saving.register_keras_serializable("keras_transfer")
class Representation(keras.layers.Layer):
    """Passes its input through; everything it depends on is the trunk, all else is head.

    Being a layer, the mark survives saving, loading and any surgery that keeps the trunk's end.

    Args:
        source: Where the trunk comes from: name, weights, arguments, and under "blocks" the pattern
            of its block names. Plain values only.

    Example:
        >>> Representation({"name": "tiny"}).source["name"]
        'tiny'
    """

    def __init__(self, source: dict | None = None, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.source = dict(source or {})

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Returns `inputs`."""
        return inputs

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The shape stays."""
        return input_shape

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {**super().get_config(), "source": self.source}


def representation(model: keras.Model) -> Representation | None:
    """Returns the mark of `model`'s own graph, or None where there is none.

    Example:
        >>> representation(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])) is None
        True
    """
    return next((layer for layer in model.layers if isinstance(layer, Representation)), None)


def blocks(model: keras.Model) -> list[core_blocks.Block]:
    """Returns the blocks of the model's trunk, bottom to top; without a mark, of the whole model.

    Example:
        >>> dense = [keras.layers.Dense(2, name=name) for name in ("a", "b")]
        >>> model = keras.Sequential([keras.Input((4,)), *dense])
        >>> [block.name for block in blocks(model)]
        ['a', 'b']
    """
    graph.check_functional(model)
    mark = representation(model)
    if mark is None:
        return core_blocks.blocks(model)
    return core_blocks.blocks(model, pattern=mark.source.get("blocks"), until=mark.input)
