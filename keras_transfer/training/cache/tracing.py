"""The frozen part of a model, traced: it says what can be cached, has a key, and runs over the images."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol  # tensors of the engine

import keras
import tensorflow as tf

from keras_transfer.machine import engine

__all__ = ["Trace", "trace"]


class Trace(Protocol):
    """Calls of a model, traced once as training runs them.

    Attributes:
        unstable: The calls that may give another result in every epoch, each with the reason.
    """

    unstable: dict[int, str]

    def gives(self, tensors: Iterable[keras.KerasTensor], *, inference: bool = False) -> bool:
        """Whether all of the tensors are the same in every epoch, or, if `inference`, in inference only."""

    def key(self, tensors: Sequence[keras.KerasTensor]) -> str:
        """Returns a hash of all that the tensors depend on, but for the images.

        Raises:
            NotImplementedError: If they depend on something that has no key.
        """

    def function(
        self, tensors: Mapping[str, keras.KerasTensor]
    ) -> Callable[[Any], Mapping[str, Any]]:
        """Returns a function from images to the values of the tensors, in float32."""


def trace(
    model: keras.Model,
    positions: Iterable[int],
    images: tf.TensorSpec,
    *,
    changing: Iterable[keras.Variable] = (),
    inference: bool = False,
) -> Trace:
    """Traces calls of a model.

    Args:
        model: A functional model with one input; its `trainable` flags are those of the stage.
        positions: The calls to trace, in `nodes.nodes(model)`, with all that they depend on.
        images: Shape and type of a batch.
        changing: The variables that the stage changes: a call that reads one is not the same in every epoch.
        inference: Whether to trace what depends on unstable calls as well, as it is in inference.

    Example:
        >>> layers = [keras.layers.Dense(2, name="dense"), keras.layers.Dropout(0.5, name="drop")]
        >>> model = keras.Sequential([keras.Input((4,)), *layers])
        >>> trace(model, [0, 1, 2], tf.TensorSpec((None, 4))).unstable
        {2: "'drop' draws at random in training; with its `rate` set to 0 its output could be cached"}
    """
    make: Callable[..., Trace]
    if engine.is_jax():
        from keras_transfer.training.cache import jax_tracing

        make = jax_tracing.Trace
    else:
        from keras_transfer.training.cache import graph_tracing

        make = graph_tracing.Trace
    return make(model, positions, images, changing=changing, inference=inference)
