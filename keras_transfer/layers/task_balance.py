"""The layer where the tasks of a model part; it keeps the state of their balancer."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any  # tensors of Keras's backend

import keras
import numpy as np
from keras import ops

from keras_transfer.core import checks
from keras_transfer.graphs import gradients
from keras_transfer.layers.gradient_tap import GradientTap
from keras_transfer.machine import engine

__all__ = ["Balance"]


@keras.saving.register_keras_serializable("keras_transfer")
class Balance(keras.layers.Layer):
    """Passes its input on to each of several tasks, and keeps the state of the balancer of their losses.

    Values pass unchanged. If the balancer reads gradients, the layer combines those that come back from the tasks into
    one, as the balancer says: layers below learn by that one, each head by its own loss. A layer that only keeps the
    state stands in front of one of the heads. The state is in weights that do not train, so it is saved with the
    model, restored on resuming, and equal on all replicas.

    Args:
        names: The tasks, in the order of the outputs.
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
        self, names: Sequence[str], balancer: Any, *, on: str = "representation", **kwargs: Any
    ) -> None:
        # Values pass as they come; the state is in full precision.
        super().__init__(**{**kwargs, "dtype": "float32", "autocast": False})
        if isinstance(balancer, Mapping):
            balancer = keras.saving.deserialize_keras_object(balancer)
        self.names = list(names)
        self.balancer = balancer
        self.on = checks.choice(on, self.PLACES, name="on")
        self.is_idle = False
        self._tap: GradientTap | None = None  # while a step of JAX is traced

        # Made here, not in `build`: there is one state, however often the layer is called.
        count = len(self.names)
        self.state = {
            name: self._add_state(name, value) for name, value in balancer.initial(count).items()
        }
        self.losses_seen = self._add_state("losses_seen", np.zeros(count, "float32"))
        self.labels_seen = self._add_state("labels_seen", np.zeros(count, "float32"))
        self.factors = self._add_state("factors", np.ones(count, "float32"))

    def _add_state(self, name: str, value: np.ndarray) -> keras.Variable:
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
        """Says, before a training step is traced, whether a layer below trains; if none does, the state must not move.

        TensorFlow differentiates past frozen layers and keeps every op that assigns, so the state would move.
        """
        self.is_idle = not learning

    @property
    def looks_at_gradients(self) -> bool:
        """Whether the balancer reads gradients."""
        return self.balancer.kind == "gradients"

    @property
    def combines_here(self) -> bool:
        """Whether the gradients of the tasks become one in this layer."""
        return self.looks_at_gradients and self.on == "representation" and not self.is_idle

    def call(self, inputs: Any) -> list:
        """Returns its input once for each task; a list of tensors unchanged."""
        if isinstance(inputs, list | tuple):
            return list(inputs)
        if self.combines_here and not engine.is_jax():
            return gradients.fork(inputs, len(self.names), self._join)
        if self._tap is not None:
            return self._fork_with_tap(inputs, self._tap)

        one = ops.ones((), inputs.dtype)
        return [inputs, *(ops.multiply(inputs, one) for _ in self.names[1:])]

    def to_keras(self, inputs: Any) -> list:
        """Returns the tensors that the tasks start from, as `kt.to_keras` uses them: no layer is needed."""
        return list(inputs) if isinstance(inputs, list | tuple) else [inputs] * len(self.names)

    def _join(self, of_tasks: Sequence) -> Any:
        """Returns the gradient for the layers below."""
        rows = _rows(of_tasks)
        factors = self.combine(engine.sum_over_replicas(engine.inner_products(rows)))
        return _mix(rows, factors, of_tasks[0])

    @contextlib.contextmanager
    def listening(self, slot: Any) -> Iterator[None]:
        """While a step of JAX is traced: the gradient at `slot` will be what `state_after` reads.

        Args:
            slot: From `make_slot`.
        """
        self._tap = GradientTap(slot, 3 * len(self.names))
        try:
            yield
        finally:
            self._tap = None

    def make_slot(self) -> Any:
        """Returns zeros, one for each number of the state and of the factors."""
        return ops.zeros(sum(int(np.prod(variable.shape)) for variable in self._moving()))

    def message(self, losses: Any, known: Any) -> Any:
        """Returns 0 to add to the loss; it tells the rule of the gradients the losses, which it is traced before.

        Args:
            losses: One a task.
            known: For each task whether the batch has labels.
        """
        if self._tap is None or not self._tap.is_used:
            return ops.zeros(())
        losses, known = ops.stack(losses), ops.stack(known)
        finite = ops.isfinite(losses)
        parts = [ops.where(finite, losses, 0.0), known, finite]
        return self._tap.message(ops.concatenate([ops.cast(each, "float32") for each in parts]))

    def state_after(self, slot_gradient: Any) -> dict[int, Any]:
        """Returns, by the id of a variable, its value after the step."""
        values, start = {}, 0
        for variable in self._moving():
            size = int(np.prod(variable.shape))
            part = ops.reshape(slot_gradient[start : start + size], variable.shape)
            if "int" in variable.dtype:
                part = ops.round(part)
            values[id(variable)] = ops.cast(part, variable.dtype)
            start += size
        return values

    def _moving(self) -> list[keras.Variable]:
        return [self.factors, *self.state.values()]

    def _fork_with_tap(self, inputs: Any, tap: GradientTap) -> list:
        """Returns the input once for each task; the step reads the new state at the slot's gradient."""
        count, state = len(self.names), self._state_values()

        def join(of_tasks: Sequence, numbers: Any) -> tuple[Any, Any]:
            losses, known, finite = ops.split(numbers, 3)
            losses = ops.where(finite > 0.5, losses, float("inf"))
            rows = _rows(of_tasks)
            gram = engine.inner_products(rows)
            factors, moved = self.balancer.coefficients(gram, losses, known > 0.5, state)
            results = [factors, *(moved[name] for name in self.state)]
            flat = [ops.reshape(ops.cast(each, "float32"), (-1,)) for each in results]
            return _mix(rows, factors, of_tasks[0]), ops.concatenate(flat)

        return tap.fork(inputs, count, join)

    def weigh(self, losses: Any, known: Any) -> Any:
        """Returns the weights of the losses in a training step; the state of a balancer of losses moves on.

        Args:
            losses: One a task, over all replicas.
            known: For each task whether the batch has labels.
        """
        losses, known = ops.stop_gradient(ops.stack(losses)), ops.stack(known)
        self.losses_seen.assign(ops.where(known, losses, ops.copy(self.losses_seen.value)))
        self.labels_seen.assign(ops.cast(known, "float32"))
        if self.looks_at_gradients:
            return ops.ones_like(losses)
        return self._take(*self.balancer.weights(losses, known, self._state_values()))

    def combine(self, gram: Any) -> Any:
        """Returns the coefficients of the tasks' gradients; the state moves on.

        Args:
            gram: Their inner products.
        """
        losses = ops.copy(self.losses_seen.value)
        known = ops.copy(self.labels_seen.value) > 0
        return self._take(*self.balancer.coefficients(gram, losses, known, self._state_values()))

    def fixed(self) -> Any:
        """Returns the weights for measuring: the balancer's if they never change, else 1, for comparable losses."""
        count = len(self.names)
        if not getattr(self.balancer, "is_constant", False):
            return ops.ones(count)
        return self.balancer.weights(np.ones(count, "float32"), np.ones(count, "bool"), {})[0]

    def _state_values(self) -> dict:
        return {name: ops.copy(variable.value) for name, variable in self.state.items()}

    def _take(self, factors: Any, state: Mapping) -> Any:
        """Keeps what the balancer returned, and returns the factors."""
        for name, variable in self.state.items():
            variable.assign(state[name])
        self.factors.assign(factors)
        return factors

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        balancer = keras.saving.serialize_keras_object(self.balancer)
        return {**super().get_config(), "names": self.names, "balancer": balancer, "on": self.on}


def _rows(of_tasks: Sequence) -> Any:
    """Returns the gradients of the tasks as the rows of a matrix."""
    return ops.stack([ops.reshape(ops.cast(each, "float32"), (-1,)) for each in of_tasks])


def _mix(rows: Any, factors: Any, like: Any) -> Any:
    """Returns the sum of the rows, each times its factor, in the form of one gradient."""
    mixed = ops.sum(rows * factors[:, None], axis=0)
    return ops.cast(ops.reshape(mixed, ops.shape(like)), like.dtype)
