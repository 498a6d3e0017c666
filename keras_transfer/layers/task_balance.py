"""The place in a model where several tasks part, and where the state of what balances them is kept."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_transfer.core import checks
from keras_transfer.machine.replicas import sum_over_replicas

__all__ = ["Balance"]


@keras.saving.register_keras_serializable("keras_transfer")
class Balance(keras.layers.Layer):
    """Hands what it gets on to each of several tasks, and keeps the state of the balancer of their losses.

    Values pass unchanged. One that only keeps the state lies in the way of one of the tasks. Where the balancer looks
    at gradients, those that come back from the tasks leave the layer as the one that the balancer makes of them:
    layers below learn by that, each head by its own loss. The state is in weights that do not train, so it is saved
    with the model, resumed and equal on all replicas.

    Args:
        names: Of the tasks, in the order of the outputs.
        balancer: A `kt.balancing.Balancer`.
        on: "representation", or "weights" for gradients of the shared weights themselves, which the model's
            training step takes.

    Example:
        >>> import keras_transfer as kt
        >>> layer = Balance(["kind", "age"], kt.balancing.PCGrad())
        >>> [part.shape for part in layer(np.zeros((2, 4), "float32"))]
        [TensorShape([2, 4]), TensorShape([2, 4])]
    """

    PLACES = ("representation", "weights")

    def __init__(
        self,
        names: Sequence[str],
        balancer: object,
        *,
        on: str = "representation",
        **kwargs: object,
    ) -> None:
        # Values pass as they come; the state is in full precision.
        super().__init__(**{**kwargs, "dtype": "float32", "autocast": False})
        self.names = list(names)
        self.balancer = (
            keras.saving.deserialize_keras_object(balancer)
            if isinstance(balancer, Mapping)
            else balancer
        )
        self.on = checks.choice(on, self.PLACES, name="on")
        self.is_idle = False
        # The state is one however often the layer is called, so it is there from the beginning.
        count = len(self.names)
        self.state = {
            name: self._kept(name, value) for name, value in self.balancer.initial(count).items()
        }
        self.losses_seen = self._kept("losses_seen", np.zeros(count, "float32"))
        self.labels_seen = self._kept("labels_seen", np.zeros(count, "float32"))
        self.factors = self._kept("factors", np.ones(count, "float32"))

    def _kept(self, name: str, value: np.ndarray) -> keras.Variable:
        value = np.asarray(value)
        return self.add_weight(
            name=name,
            shape=value.shape,
            dtype=str(value.dtype),
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(value, dtype=dtype),
            trainable=False,
            aggregation="only_first_replica",  # all compute the same
        )

    def settle(self, *, learning: bool) -> None:
        """Says, before a training step is traced, whether anything below learns: otherwise no state is to move.

        TensorFlow takes gradients further down than to what trains, and keeps all of that that assigns.
        """
        self.is_idle = not learning

    @property
    def looks_at_gradients(self) -> bool:
        """Whether the balancer is one of gradients."""
        return self.balancer.kind == "gradients"

    def call(self, inputs: Any) -> list:
        """Returns its input once for each task; a list of tensors as it is."""
        if isinstance(inputs, list | tuple):
            return list(inputs)
        if self.looks_at_gradients and self.on == "representation" and not self.is_idle:
            return list(self._parted(inputs))
        return [
            ops.multiply(inputs, ops.ones((), inputs.dtype)) if at else inputs
            for at in range(len(self.names))
        ]

    def _parted(self, inputs: tf.Tensor) -> tuple:
        @tf.custom_gradient
        def part(tensor: tf.Tensor) -> tuple:
            return tuple(tf.identity(tensor) for _ in self.names), functools.partial(
                self._joined, tensor.dtype
            )

        return part(inputs)

    def _joined(self, dtype: tf.DType, *gradients: tf.Tensor) -> tf.Tensor:
        """The gradient below of those above."""
        rows = tf.stack([tf.reshape(tf.cast(each, tf.float32), (-1,)) for each in gradients])
        factors = self.combine(sum_over_replicas(tf.matmul(rows, rows, transpose_b=True)))
        joined = tf.linalg.matvec(rows, factors, transpose_a=True)
        return tf.cast(tf.reshape(joined, tf.shape(gradients[0])), dtype)

    def weigh(self, losses: Any, known: Any) -> object:
        """Returns the weights of the losses in a training step, and moves on the state of a balancer of losses.

        Args:
            losses: One a task, over all replicas.
            known: For each task whether the batch has labels.
        """
        losses, known = ops.stop_gradient(ops.stack(losses)), ops.stack(known)
        self.losses_seen.assign(ops.where(known, losses, self.losses_seen))
        self.labels_seen.assign(ops.cast(known, "float32"))
        if self.looks_at_gradients:
            return ops.ones_like(losses)
        found, state = self.balancer.weights(losses, known, self._state())
        return self._moved(found, state)

    def combine(self, gram: Any) -> object:
        """Returns the coefficients of the tasks' gradients, and moves on the state.

        Args:
            gram: Their inner products.
        """
        known = tf.convert_to_tensor(self.labels_seen) > 0
        found, state = self.balancer.coefficients(
            gram, tf.convert_to_tensor(self.losses_seen), known, self._state()
        )
        return self._moved(found, state)

    def fixed(self) -> Any:
        """Returns the weights that hold while measuring: those that never change, else 1, for comparable losses."""
        if not getattr(self.balancer, "is_constant", False):
            return ops.ones(len(self.names))
        return self.balancer.weights(
            np.ones(len(self.names), "float32"), np.ones(len(self.names), "bool"), {}
        )[0]

    def _state(self) -> dict:
        return {name: tf.convert_to_tensor(variable) for name, variable in self.state.items()}

    def _moved(self, found: object, state: Mapping) -> object:
        for name, variable in self.state.items():
            variable.assign(state[name])
        self.factors.assign(found)
        return found

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        balancer = keras.saving.serialize_keras_object(self.balancer)
        return {**super().get_config(), "names": self.names, "balancer": balancer, "on": self.on}
