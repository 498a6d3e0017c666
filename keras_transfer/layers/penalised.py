"""A place in a training model where a penalty joins the loss."""

from collections.abc import Callable

import keras

__all__ = ["Penalised"]


@keras.saving.register_keras_serializable("keras_transfer")
class Penalised(keras.layers.Layer):
    """Passes a model's outputs through and adds a penalty to the loss while training.

    Validation and evaluation see no penalty, so their losses can be compared between runs and epochs. A
    layer that was saved and loaded again only passes through.

    Args:
        value: From the values of some tensors to a float32 scalar, or to None; None adds nothing.

    Example:
        >>> import numpy as np
        >>> layer = Penalised(lambda taps: keras.ops.sum(taps[0]))
        >>> outputs = layer([np.zeros(2, "float32"), [np.ones(3, "float32")]], training=True)
        >>> outputs.shape, float(layer.losses[0])
        (TensorShape([2]), 3.0)
    """

    def __init__(self, value: Callable[[list], object] | None = None, **kwargs: object) -> None:
        # No casts: outputs must come out as they went in, and weights are read in full precision.
        super().__init__(**{**kwargs, "dtype": "float32", "autocast": False})
        self.value = value

    def call(self, inputs: list, training: bool = False) -> object:
        """Returns the outputs of `[outputs, taps]`."""
        outputs, taps = inputs
        if training and self.value is not None and (penalty := self.value(taps)) is not None:
            self.add_loss(penalty)
        return outputs

    def get_config(self) -> dict:
        """Returns what makes a layer that passes through: the penalty is not saved."""
        return {"name": super().get_config()["name"]}
