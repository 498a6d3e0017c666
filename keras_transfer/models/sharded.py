"""Models whose steps JAX divides among devices: rows that fill up a batch, so that it can be divided, count nowhere."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple  # data, state and logs, as Keras has them

import keras
import tensorflow as tf
from keras import ops

from keras_transfer.machine import jax_strategy, shares
from keras_transfer.models import statistics

__all__ = ["Sharded"]

SIZE = 32  # Keras's


class Marked(NamedTuple):
    """Answers, and which of their rows count."""

    answers: Any
    real: Any


class Sharded(keras.Model):
    """A model that gives the same on several devices as on one.

    Under a strategy a batch is a `shares.Share`, whose rows of no weight fill it up. A metric that takes no weights
    counts them: compile with `weighted_metrics`, as `kt.build_model` does.
    """

    @property
    def rows(self) -> Any:
        """While a step is traced: 1.0 for each row that counts; None where all do."""
        return vars(self).get("_rows")

    @contextlib.contextmanager
    def counting(self, data: Any) -> Iterator[Any]:
        """Gives the batch as Keras has it; within the block `rows` says which of its rows count."""
        if not isinstance(data, shares.Share):
            yield data
            return
        rows = ops.cast(data.real, "float32")
        object.__setattr__(self, "_rows", rows)
        try:
            with statistics.counting(rows):
                yield data.data
        finally:
            object.__setattr__(self, "_rows", None)

    def train_step(self, state: tuple, data: Any) -> tuple:
        """Takes one step, and returns the logs and the next state."""
        with self.counting(data) as batch:
            return super().train_step(state, batch)

    def test_step(self, state: tuple, data: Any) -> tuple:
        """Measures one batch, and returns the logs and the next state."""
        with self.counting(data) as batch:
            return super().test_step(state, batch)

    def predict_step(self, state: tuple, data: Any) -> tuple:
        """Returns the answers for one batch, under a strategy with the rows that count, and the next state."""
        if not isinstance(data, shares.Share):
            return super().predict_step(state, data)
        answers, state = super().predict_step(state, data.data)
        return jax_strategy.gather(Marked(answers, data.real)), state

    def fit(self, *arguments: Any, **options: Any) -> Any:
        """Trains as Keras does."""
        call = _with_batches(super().fit, arguments, options)
        held_out = call.get("validation_data")
        if isinstance(held_out, tuple) and jax_strategy.count_devices() > 1:
            size = call.get("validation_batch_size") or SIZE
            call["validation_data"] = _batches(held_out, size)
        return super().fit(**call)

    def evaluate(self, *arguments: Any, **options: Any) -> Any:
        """Measures as Keras does."""
        return super().evaluate(**_with_batches(super().evaluate, arguments, options))

    def predict(self, *arguments: Any, **options: Any) -> Any:
        """Answers as Keras does."""
        call = _with_batches(super().predict, arguments, options)
        answers = super().predict(**call)
        if not isinstance(answers, Marked):
            return answers
        return keras.tree.map_structure(lambda each: each[answers.real], answers.answers)

    def save(self, *arguments: Any, **options: Any) -> None:
        """Saves as Keras does; one of several processes may do so alone."""
        with jax_strategy.alone():
            super().save(*arguments, **options)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Returns the loss of the rows that count."""
        if self.rows is None:
            return super().compute_loss(x, y, y_pred, sample_weight, training=training)
        return self.total_loss(y, y_pred, sample_weight, rows=self.rows, training=training)

    def _update_metrics_variables(
        self, metrics: list, loss: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any
    ) -> tuple[dict, list]:
        """Adds a batch to the metrics, and returns the logs and the metrics' values."""
        rows = self.rows
        if rows is None:
            return super()._update_metrics_variables(metrics, loss, x, y, y_pred, sample_weight)
        weights = sample_weight
        if weights is None:
            weights = dict.fromkeys(y, rows) if isinstance(y, Mapping) else rows

        variables = self.metrics_variables
        with keras.StatelessScope(list(zip(variables, metrics, strict=True))) as scope:
            self._loss_tracker.update_state(loss, sample_weight=ops.sum(rows))
            logs = self.compute_metrics(x, y, y_pred, weights)
        return logs, [scope.get_current_value(variable) for variable in variables]

    def _symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Makes what Keras makes in the first step, from a batch without its marks."""
        dataset = getattr(getattr(iterator, "data_adapter", None), "_dataset", None)
        spec = getattr(dataset, "element_spec", None)
        if isinstance(spec, shares.Share):
            data_batch = keras.tree.map_structure(
                lambda each: keras.KerasTensor(tuple(each.shape), each.dtype.name), spec.data
            )
        super()._symbolic_build(iterator=iterator, data_batch=data_batch)


def _with_batches(method: Callable, arguments: Sequence, options: Mapping) -> dict[str, Any]:
    """Returns the arguments of `fit`, `evaluate` or `predict` by name, on several devices with batches for arrays."""
    call = dict(inspect.signature(method).bind(*arguments, **options).arguments)
    call |= call.pop("kwargs", {})
    images = call.get("x")
    is_array = hasattr(images, "__array__") and not call.get("validation_split")
    if jax_strategy.count_devices() == 1 or not is_array:
        return call
    parts = [call.pop(name, None) for name in ("x", "y", "sample_weight")]
    size = call.pop("batch_size", None) or SIZE
    is_shuffled = "epochs" in inspect.signature(method).parameters and call.get("shuffle", True)
    return {**call, "x": _batches(parts, size, is_shuffled=is_shuffled)}


def _batches(parts: Sequence, size: int, *, is_shuffled: bool = False) -> tf.data.Dataset:
    """Returns batches of arrays: images, targets and weights, or as many of them as there are."""
    present = tuple(part for part in parts if part is not None)
    dataset = tf.data.Dataset.from_tensor_slices(present if len(present) > 1 else (present[0],))
    if is_shuffled:
        dataset = dataset.shuffle(len(present[0]))
    return dataset.batch(size)
