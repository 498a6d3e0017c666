"""A model of several tasks: Keras's own, but for how the losses become one."""

import collections
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_transfer import balancing as balancers
from keras_transfer import layers
from keras_transfer.core import checks, labelled
from keras_transfer.graphs import compiling, nodes
from keras_transfer.layers import marks
from keras_transfer.machine.replicas import sum_over_replicas

__all__ = ["JointModel", "balanced", "note_memory"]

MEANS = ("mean", "sum_over_batch_size", "mean_with_sample_weight")


@keras.saving.register_keras_serializable("keras_transfer")
class JointModel(keras.Model):
    """A functional model with named outputs, trained as its `layers.Balance` says.

    `fit`, `evaluate`, `predict` and `save` are Keras's. A task's loss is the mean over the examples of the batch that
    have a label for it, on all replicas together; a task without any in a batch costs 0 there, and neither its head
    nor the state of the balancer moves. Logs have the loss of each task, `<name>_loss`, and while training what the
    balancer made of each, `<name>_factor`. While measuring, losses are summed with fixed weights only, so that
    they can be compared from epoch to epoch.

    Example:
        >>> import keras_transfer as kt
        >>> tasks = {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), tasks, balancing="uncertainty")
        >>> type(model).__name__, sorted(model.output)
        ('JointModel', ['age', 'kind'])
    """

    def part(self, inputs: object, outputs: object, *, name: str | None = None) -> "JointModel":
        """Returns a model of other tensors of this one's graph that trains as this one does."""
        made = type(self)(inputs, outputs, name=name)
        made._lent = [self._balance]  # in a list that Keras did not make: not a layer of its own
        return made

    @property
    def _balance(self) -> layers.Balance:
        return marks.balance(self) or vars(self).get("_lent", [None])[0]

    def compile(
        self, optimizer: object = "rmsprop", loss: object = None, **options: object
    ) -> None:
        """Compiles as Keras does; `loss` is a dict by task."""
        names = self._balance.names
        if not isinstance(loss, Mapping) or set(loss) != set(names):
            given = ", ".join(loss) if isinstance(loss, Mapping) else repr(loss)
            raise checks.error(
                f"`loss` must be a dict with a loss for each task: {', '.join(names)}",
                given=given,
                fix="Use kt.compile, which takes the losses of the tasks.",
            )
        super().compile(optimizer=optimizer, loss=dict(loss), **options)
        self._compile_loss = (
            None  # Keras would build it, by a trace of the model, at every `fit`; it is not used
        )
        if "_by_task" not in vars(self):  # once: Keras keeps every metric that it was ever given
            self._by_task = [keras.metrics.Mean(name=f"{name}_loss") for name in names]

    def compile_from_config(self, config: dict) -> None:
        """Compiles as it was saved; Keras leaves that to a model with a `compile` of its own."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def compute_loss(
        self,
        x: object = None,
        y: object = None,
        y_pred: object = None,
        sample_weight: object = None,
        training: bool = True,
    ) -> object:
        """Returns the balanced sum of the losses, and of what layers add."""
        values, known = self._values(y, y_pred, sample_weight)
        weights = self._weights(values, known) if training else self._balance.fixed()
        return ops.sum(ops.stack(values) * ops.cast(weights, values[0].dtype)) + self._additional()

    def train_step(self, data: object) -> dict:
        """Takes one step, and returns the logs."""
        balance = self._balance
        balance.settle(learning=self._learns_below(balance))
        whole = balance.looks_at_gradients and balance.on == "weights"
        logs = self._step_on_weights(data) if whole else super().train_step(data)
        if getattr(balance.balancer, "is_constant", False):
            return logs
        factors = ops.unstack(balance.factors, num=len(balance.names))
        return {
            **logs,
            **{f"{name}_factor": value for name, value in zip(balance.names, factors, strict=True)},
        }

    def _get_metrics_result_or_logs(self, logs: dict) -> dict:
        """Metrics of all replicas together; by itself Keras takes the means of theirs where there are other logs."""
        return {**logs, **self.get_metrics_result()}

    def _learns_below(self, balance: layers.Balance) -> bool:
        """Whether anything that trains lies below the layer; in an upper part that begins above it nothing does."""
        order = nodes.nodes(self)
        found = [tensor for node in order if node.operation is balance for tensor in node.inputs]
        return any(
            getattr(order[position].operation, "trainable_variables", ())
            for position in nodes.ancestors(order, found)
        )

    def _values(self, y: Any, y_pred: Any, sample_weight: object) -> tuple[list, list]:
        """The share of this replica in each task's loss, and whether there is a label for it anywhere."""
        given = compiling.arguments(self)
        scale = given.get("loss_weights") or {}
        replicas = self.distribute_strategy.num_replicas_in_sync
        values, known = [], []
        for metric, name in zip(self._by_task, self._balance.names, strict=True):
            loss, weights = _loss(given["loss"][name]), labelled.of_task(sample_weight, name)
            value = ops.cast(loss(y[name], y_pred[name], sample_weight=weights), "float32")
            masked = weights is not None and loss.reduction == "mean_with_sample_weight"
            mine = (
                ops.sum(ops.cast(weights, "float32"))
                if masked
                else ops.cast(ops.shape(y_pred[name])[0], "float32")
            )
            whole = sum_over_replicas(mine)
            if (
                replicas > 1 and loss.reduction in MEANS
            ):  # Keras takes the mean of the replicas' means
                value = ops.divide_no_nan(value * replicas * mine, whole)
            metric.update_state(sum_over_replicas(value), sample_weight=whole)
            values.append(value * scale.get(name, 1.0))
            seen = (
                whole
                if weights is None
                else sum_over_replicas(ops.sum(ops.cast(weights != 0, "float32")))
            )
            known.append((seen > 0) & (scale.get(name, 1.0) > 0))
        return values, known

    def _weights(self, values: Sequence, known: Sequence) -> object:
        return self._balance.weigh([sum_over_replicas(value) for value in values], known)

    def _additional(self) -> object:
        """What regularisers and layers add to the loss."""
        return sum((self._aggregate_additional_loss(loss) for loss in self.losses), ops.zeros(()))

    def _step_on_weights(self, data: object) -> dict:
        """A step in which the balancer sees the gradients of all the weights that tasks share."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape(persistent=True) as tape:
            y_pred = self(x, training=True)
            values, known = self._values(y, y_pred, sample_weight)
            extra = self._additional()
            scaled = [self.optimizer.scale_loss(value) for value in values]
            scaled_extra = self.optimizer.scale_loss(extra)
        self._weights(values, known)
        total = ops.sum(ops.stack(values)) + extra
        self._loss_tracker.update_state(
            total * self.distribute_strategy.num_replicas_in_sync,
            sample_weight=ops.shape(keras.tree.flatten(x)[0])[0],
        )
        variables = self.trainable_variables
        by_task = [tape.gradient(value, [each.value for each in variables]) for value in scaled]
        added = tape.gradient(scaled_extra, [each.value for each in variables])
        del tape
        columns = [
            [gradient for gradient in column if gradient is not None]
            for column in zip(*by_task, strict=True)
        ]
        shared = [at for at, column in enumerate(columns) if len(column) > 1]
        factors = self._factors(by_task, shared)
        gradients = []
        for at, column in enumerate(columns):
            terms = list(column)
            if at in shared:
                terms = [
                    gradient[at] * ops.cast(factors[task], gradient[at].dtype)
                    for task, gradient in enumerate(by_task)
                    if gradient[at] is not None
                ]
            terms += [added[at]] * (added[at] is not None)
            gradients.append(tf.add_n(terms) if terms else None)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def _factors(self, by_task: Sequence, shared: Sequence[int]) -> object:
        if not shared:
            return ops.ones(len(by_task))
        rows = []
        for gradients in by_task:
            parts = [
                sum_over_replicas(
                    tf.zeros_like(self.trainable_variables[at]) if found is None else found
                )
                for at, found in ((at, gradients[at]) for at in shared)
            ]
            rows.append(
                tf.concat([tf.reshape(tf.cast(part, tf.float32), (-1,)) for part in parts], axis=0)
            )
        rows = tf.stack(rows)
        return self._balance.combine(tf.matmul(rows, rows, transpose_b=True))


def balanced(
    starts: Mapping[str, keras.KerasTensor], balancing: Any, *, on: str = "representation"
) -> dict[str, keras.KerasTensor]:
    """Returns the tensors that heads start from, behind a `layers.Balance`.

    Args:
        starts: By task.
        balancing: As for `kt.build_model`.
        on: As for `kt.build_model`.

    Raises:
        InputError: If `balancing` is unknown or names unknown tasks, or looks at gradients of one representation where
            tasks have several.

    Example:
        >>> features = keras.Input((4,))
        >>> sorted(balanced({"kind": features, "age": features}, "pcgrad"))
        ['age', 'kind']
    """
    balancer = balancers.balancer_of(balancing, list(starts))
    if balancer.kind == "losses":  # an error comes now
        count = len(starts)
        balancer.weights(np.ones(count, "float32"), np.ones(count, "bool"), balancer.initial(count))
    layer = layers.Balance(list(starts), balancer, on=on, name="balance")
    tensors = list(starts.values())
    if (
        not layer.looks_at_gradients or on == "weights"
    ):  # the layer keeps the state only, in the way of one task
        first = next(iter(starts))
        return {**starts, first: layer([starts[first]])[0]}
    if any(tensor is not tensors[0] for tensor in tensors):
        raise checks.error(
            f"tasks must start at one place for {type(balancer).__name__} on the representation",
            given="several places",
            fix="Pass balance_on='weights'.",
        )
    return dict(zip(starts, layer(tensors[0]), strict=True))


def note_memory(model: JointModel) -> int:
    """Says how much a training step needs on top, where each task's gradients of all shared weights are kept.

    Returns:
        Bytes: two copies of these gradients for each task, one by weight and one in a row; 0 where none are kept.
    """
    balance = marks.balance(model)
    if not balance.looks_at_gradients or balance.on != "weights":
        return 0
    order = nodes.nodes(model)
    count = collections.Counter()
    for layer in marks.outputs(model).values():
        reached = nodes.ancestors(order, [layer.output])
        count.update(
            {order[at].operation for at in reached if getattr(order[at].operation, "weights", ())}
        )
    shared = sum(
        math.prod(each.shape)
        for layer, times in count.items()
        if times > 1
        for each in layer.trainable_weights
    )
    size = 2 * 4 * shared * len(balance.names)
    checks.note(
        f"{type(balance.balancer).__name__} on weights: a step that trains all {shared:,} shared weights needs about "
        f"{size / 1e6:,.0f} MB more than for a plain sum, and {len(balance.names)} backward passes"
    )
    return size


def _loss(given: object) -> keras.losses.Loss:
    """A loss object of what Keras takes for one."""
    if isinstance(given, keras.losses.Loss):
        return given
    found = keras.losses.get(given)
    return found if isinstance(found, keras.losses.Loss) else _Function(found)


class _Function(keras.losses.Loss):
    """A loss of a function of targets and outputs."""

    def __init__(self, function: object) -> None:
        super().__init__(reduction="mean_with_sample_weight")
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.function(y_true, y_pred)
