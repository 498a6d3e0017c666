"""The layer that marks where a model's trunk ends and its heads begin."""

import keras

__all__ = ["Representation"]


@keras.saving.register_keras_serializable("keras_transfer")
class Representation(keras.layers.Layer):
    """Passes its input through and marks the end of the trunk: what it depends on is trunk, all else is head.

    A model has several where its tasks start at different levels, or where each has its own branch of the trunk.
    Being a layer, the mark survives saving, loading and any surgery that keeps the trunk's end.

    Args:
        source: Where the trunk comes from: name, weights, arguments, and under "blocks" the pattern
            of its block names. Only values that JSON can hold.
        branch: The task whose own copy of the trunk ends here; "" for the trunk itself. Copied layers are named
            as in the trunk, with `<branch>_` before the name.

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

    def to_keras(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Computes the same with Keras's own layers, as `kt.to_keras` does."""
        return keras.layers.Identity(dtype=self.dtype_policy.name, name=self.name)(inputs)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Returns the shape unchanged."""
        return input_shape

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "source": self.source, "branch": self.branch}
