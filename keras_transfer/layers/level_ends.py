"""The layer that marks the maps in which a network with a pyramid or a decoder of its own ends."""

from collections.abc import Sequence

import keras

__all__ = ["LevelEnds"]


@keras.saving.register_keras_serializable("keras_transfer")
class LevelEnds(keras.layers.Layer):
    """Takes the maps of several levels, says which is which, and passes the last one on.

    The levels of a network that has this layer are those that it names; `graphs.blocks.levels` asks it. A head may
    start at any of them.

    Args:
        level_names: Of its inputs, from the lowest up: "P3" is the map of stride 8.
        is_decoded: Whether the one map holds what all levels know: of a network that ends in a decoder.

    Example:
        >>> maps = [keras.Input((8, 8, 4)), keras.Input((4, 4, 4))]
        >>> LevelEnds(["P3", "P4"])(maps).shape
        (None, 4, 4, 4)
    """

    def __init__(
        self, level_names: Sequence[str], *, is_decoded: bool = False, **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        self.level_names = list(level_names)
        self.is_decoded = is_decoded

    def call(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        """Returns the last map."""
        return inputs[-1]

    def to_keras(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        """Computes the same with Keras's own layers, as `kt.to_keras` does."""
        return keras.layers.Identity(dtype=self.dtype_policy.name, name=self.name)(inputs[-1])

    def compute_output_shape(self, input_shape: list[tuple]) -> tuple:
        """Returns the shape of the last map."""
        return tuple(input_shape[-1])

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        own = {"level_names": self.level_names, "is_decoded": self.is_decoded}
        return {**super().get_config(), **own}
