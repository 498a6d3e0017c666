"""Training, measuring and answering on several replicas, so that everything is as on one device."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any  # data, labels and logs, as Keras has them

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from keras.src.losses.losses import LossFunctionWrapper

from keras_transfer.graphs import compiling
from keras_transfer.machine import engine, shares, strategy, watching
from keras_transfer.machine.engine import count_replicas, sum_over_replicas
from keras_transfer.models import statistics

__all__ = ["Replicated", "loss_object", "measure", "share_of_mean", "track_loss"]

MEANS = ("mean", "sum_over_batch_size", "mean_with_sample_weight")
SEVERAL_MACHINES = tf.distribute.MultiWorkerMirroredStrategy
APART = 1_000_003  # between the seeds of replicas


Base: type[keras.Model] = keras.Model
if engine.is_jax():
    from keras_transfer.models import sharded

    Base = sharded.Sharded


class Replicated(Base):
    """A model whose steps give the same under a strategy as without one.

    Losses are means over all examples of a batch, whichever replica has them; gradients are clipped when they have been
    summed; rows that fill up a last batch count nowhere; dropout differs from replica to replica.
    """

    @property
    def replicas(self) -> int:
        """How many replicas share a step of `fit`; JAX shares it by itself."""
        return 1 if engine.is_jax() else self.distribute_strategy.num_replicas_in_sync

    def fit(self, *arguments: Any, **options: Any) -> Any:
        """Trains as Keras does."""
        strategy.check_model(self)
        with shares.marked(), watching.explained(), _own_seeds(self), _joint_statistics(self):
            return super().fit(*arguments, **options)

    def evaluate(self, *arguments: Any, **options: Any) -> Any:
        """Measures as Keras does."""
        with shares.marked(), watching.explained():
            return super().evaluate(*arguments, **options)

    def predict(self, *arguments: Any, **options: Any) -> Any:
        """Answers as Keras does."""
        with shares.marked(), watching.explained():
            return super().predict(*arguments, **options)

    def predict_on_batch(self, x: Any) -> Any:
        """Answers for one batch; under a strategy one device does, where Keras's would each answer for all of it."""
        if self.replicas == 1:
            return super().predict_on_batch(x)
        answer = vars(self).get("_answer")
        if answer is None:
            answer = tf.function(self._answer_for, reduce_retracing=True)
            object.__setattr__(self, "_answer", answer)
        return keras.tree.map_structure(np.asarray, answer(x))

    def _answer_for(self, x: Any) -> Any:
        return keras.Model.__call__(self, x, training=False)

    def make_train_function(self, force: bool = False) -> Any:
        """Makes what `fit` runs; gradients are clipped after their sum over replicas."""
        if self.replicas > 1 and self.optimizer is not None:
            for optimizer in compiling.optimizers(self):
                _clip_sums(optimizer)
        return super().make_train_function(force)

    def part(self, inputs: Any, outputs: Any, *, name: str | None = None) -> keras.Model:
        """Returns a model of other tensors of this one's graph that trains as this one does."""
        return type(self)(inputs, outputs, name=name)

    def train_step(self, *arguments: Any) -> Any:
        """Takes one step, and returns the logs."""
        if count_replicas() == 1:
            return super().train_step(*arguments)
        (data,) = arguments
        x, y, weights, real = shares.unpack(data)
        with tf.GradientTape() as tape:
            y_pred = self.answer(x, real)
            loss = self.total_loss(y, y_pred, weights, rows=real, training=True)
            scaled = loss if self.optimizer is None else self.optimizer.scale_loss(loss)
        track_loss(self, loss, real)

        variables = self.trainable_weights
        gradients = tape.gradient(scaled, variables)
        if variables:
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return self.lifted(measure(self, x, y, y_pred, weights, real))

    def answer(self, x: Any, rows: Any) -> Any:
        """Returns the outputs in training mode.

        Args:
            x: Images.
            rows: 1.0 for each row that counts.
        """
        with statistics.counting(rows if count_replicas() > 1 else None):
            return self(x, training=True)

    def test_step(self, *arguments: Any) -> Any:
        """Measures one batch, and returns the logs."""
        if count_replicas() == 1:
            return super().test_step(*arguments)
        (data,) = arguments
        x, y, weights, real = shares.unpack(data)
        y_pred = self(x, training=False)
        loss = self.total_loss(y, y_pred, weights, rows=real, training=False)
        track_loss(self, loss, real)
        return self.lifted(measure(self, x, y, y_pred, weights, real))

    def predict_step(self, *arguments: Any) -> Any:
        """Returns the answers for one batch."""
        data = arguments[-1]
        if engine.is_jax() or not isinstance(data, shares.Share):
            return super().predict_step(*arguments)
        answers = self(data.data[0], training=False)
        return keras.tree.map_structure(lambda each: tf.boolean_mask(each, data.real), answers)

    def _get_metrics_result_or_logs(self, logs: dict) -> dict:
        """Returns metrics over all replicas; where there are other logs Keras takes the mean of each replica's."""
        return {**logs, **self.get_metrics_result()}

    def total_loss(
        self, y: Any, y_pred: Any, weights: Any, *, rows: Any = None, training: bool = True
    ) -> Any:
        """Returns this replica's share in the loss over all replicas.

        Args:
            y: Targets.
            y_pred: What the model returned.
            weights: Of the examples, or None.
            rows: 1.0 for each row that counts; None for all.
            training: Whether it is for a training step.
        """
        compiled = compiling.arguments(self)
        added = sum((self._aggregate_additional_loss(loss) for loss in self.losses), ops.zeros(()))
        if compiled.get("loss") is None:
            return added
        loss = loss_object(compiled["loss"])
        value, _ = share_of_mean(loss, y, y_pred, weights, rows)
        for scale in keras.tree.flatten(compiled.get("loss_weights")):
            value = value if scale is None else value * scale
        return value + added

    def lifted(self, logs: Any) -> Any:
        """Returns the logs of a step as Keras takes their mean over machines: along an axis, which numbers lack."""
        if engine.is_jax() or not isinstance(self.distribute_strategy, SEVERAL_MACHINES):
            return logs
        return {name: tf.reshape(value, [1]) for name, value in logs.items()}

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Makes what Keras makes in the first step; from the specs of the data, not from a batch that it would read."""
        if engine.is_jax() or self._distribute_strategy is None or iterator is None:
            super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)
            return
        spec = iterator._distributed_dataset.element_spec
        spec = tf.nest.map_structure(lambda each: getattr(each, "_value_specs", [each])[0], spec)
        spec = spec.data if isinstance(spec, shares.Share) else spec
        batch = tf.nest.map_structure(
            lambda each: keras.KerasTensor(tuple(each.shape), each.dtype.name), spec
        )
        super()._maybe_symbolic_build(data_batch=batch)


def share_of_mean(
    loss: keras.losses.Loss, y_true: Any, y_pred: Any, weights: Any, rows: Any = None
) -> tuple[Any, Any]:
    """Returns this replica's share in the mean loss over all replicas, and what that mean divides by.

    Args:
        loss: Of the task.
        y_true: Targets.
        y_pred: Answers.
        weights: Of the examples, or None.
        rows: 1.0 for each row that counts; None for all.
    """
    if count_replicas() == 1 and not engine.is_jax():
        rows = None
    if rows is not None:
        weights = _all_weights(weights, rows)
    value = ops.cast(loss(y_true, y_pred, sample_weight=weights), "float32")
    own = counted = ops.cast(ops.shape(keras.tree.flatten(y_pred)[0])[0], "float32")
    if weights is not None and loss.reduction == "mean_with_sample_weight":
        own = counted = ops.sum(ops.cast(weights, "float32"))
    elif rows is not None:
        counted = ops.sum(rows)

    total = sum_over_replicas(counted)
    replicas = count_replicas()
    # Keras takes the mean of the replicas' means, or on JAX that of all rows.
    if (replicas > 1 or rows is not None) and loss.reduction in MEANS:
        value = ops.divide_no_nan(value * replicas * own, total)
    return value, total


def loss_object(loss: Any, *, reduction: str = "sum_over_batch_size") -> keras.losses.Loss:
    """Returns a loss object for anything that Keras takes as a loss.

    Args:
        loss: An object, a name or a function.
        reduction: Of a name or a function; Keras's by default.
    """
    if not isinstance(loss, keras.losses.Loss):
        loss = keras.losses.get(loss)
    if isinstance(loss, keras.losses.Loss):
        return loss
    return LossFunctionWrapper(loss, reduction=reduction, name="loss")


def track_loss(model: keras.Model, loss: Any, rows: Any) -> None:
    """Adds a batch to the mean that the logs call `loss`.

    Args:
        model: Compiled.
        loss: This replica's share.
        rows: 1.0 for each row that counts.
    """
    model._loss_tracker.update_state(sum_over_replicas(loss), sample_weight=ops.sum(rows))


def measure(model: keras.Model, x: Any, y: Any, y_pred: Any, weights: Any, rows: Any) -> dict:
    """Adds the rows that count to the model's metrics, and returns the logs."""
    if count_replicas() > 1:
        weights = _all_weights(weights, rows, y)
    if (
        count_replicas() > 1 and compiling.arguments(model).get("metrics") is not None
    ):  # which take no weights
        x, y, y_pred, weights = keras.tree.map_structure(
            lambda each: tf.boolean_mask(each, rows > 0), (x, y, y_pred, weights)
        )
    return model.compute_metrics(x, y, y_pred, sample_weight=weights)


def _all_weights(weights: Any, rows: Any, targets: Any = None) -> Any:
    """Returns weights of the examples, 0 for a row that does not count."""
    if weights is None:
        return rows
    if isinstance(weights, Mapping) and isinstance(targets, Mapping):
        return {name: rows if weights.get(name) is None else weights[name] for name in targets}
    return weights


def _joint_statistics(model: Replicated) -> contextlib.AbstractContextManager:
    is_shared = model.replicas > 1 or engine.is_jax()  # JAX has statistics of all rows, too many
    return statistics.joined(model) if is_shared else contextlib.nullcontext()


@contextlib.contextmanager
def _own_seeds(model: Replicated) -> Iterator[None]:
    """Gives dropout another seed on each replica, in the block; outside it, and in files, all have the first one's."""
    states = [variable for variable in model.variables if "seed_generator" in variable.path]
    if model.replicas == 1 or not states:
        yield
        return
    _add_to_seeds(model.distribute_strategy, states, APART)
    try:
        yield
    finally:
        _add_to_seeds(model.distribute_strategy, states, -APART)


def _add_to_seeds(strategy: Any, states: Sequence[keras.Variable], step: int) -> None:
    """Adds `step` times the number of the replica to the seeds of each replica."""

    def add() -> None:
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        for state in states:
            change = tf.stack([tf.cast(number * step, "int64"), tf.zeros((), "int64")])
            state.assign(tf.cast(tf.cast(state.value, "int64") + change, state.value.dtype))

    strategy.run(add)


def _clip_sums(optimizer: keras.optimizers.Optimizer) -> None:
    """Lets an optimizer clip the sums of the replicas' gradients, where Keras's would clip those of each replica."""
    limits = (optimizer.clipnorm, optimizer.global_clipnorm, optimizer.clipvalue)
    if not any(limits) or "_clip_gradients" in vars(optimizer):
        return
    clip = functools.partial(type(optimizer)._clip_gradients, optimizer)

    def clip_sums(gradients: Sequence) -> list:
        if tf.distribute.in_cross_replica_context():
            return clip(gradients)
        sums = [None if each is None else sum_over_replicas(each) for each in gradients]
        # The optimizer sums them over replicas, which are all equal now.
        count = count_replicas()
        return [None if each is None else each / count for each in clip(sums)]

    object.__setattr__(optimizer, "_clip_gradients", clip_sums)
