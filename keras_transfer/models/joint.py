"""A Keras model of several tasks that combines their losses as its `layers.Balance` says."""

import functools
import math
import types
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_transfer import balancing as balancers
from keras_transfer import layers
from keras_transfer.core import checks, labelled
from keras_transfer.graphs import compiling, nodes
from keras_transfer.layers import marks
from keras_transfer.machine import engine
from keras_transfer.machine.engine import sum_over_replicas
from keras_transfer.models import replicated, task_model

steps: types.ModuleType
if engine.is_jax():
    from keras_transfer.models import jax_steps

    steps = jax_steps
else:
    from keras_transfer.models import tensorflow_steps

    steps = tensorflow_steps

__all__ = ["JointModel", "insert_balance", "note_memory"]


@keras.saving.register_keras_serializable("keras_transfer", "JointModel")
@task_model.call_functional
class JointModel(replicated.Replicated):
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
        >>> isinstance(model, JointModel), sorted(model.output)
        (True, ['age', 'kind'])
    """

    def part(self, inputs: object, outputs: object, *, name: str | None = None) -> "JointModel":
        """Returns a model of other tensors of this one's graph that trains as this one does."""
        made = type(self)(inputs, outputs, name=name)
        made._lent = [self.balance]  # in a list that Keras did not make: not a layer of its own
        return made

    @property
    def balance(self) -> layers.Balance:
        """The layer that balances the tasks."""
        return marks.balance(self) or vars(self).get("_lent", [None])[0]

    def compile(
        self, optimizer: object = "rmsprop", loss: object = None, **options: object
    ) -> None:
        """Compiles as Keras does; `loss` is a dict by task."""
        names = self.balance.names
        if not isinstance(loss, Mapping) or set(loss) != set(names):
            given = ", ".join(loss) if isinstance(loss, Mapping) else repr(loss)
            raise checks.error(
                f"`loss` must be a dict with a loss for each task: {', '.join(names)}",
                given=given,
                fix="Use kt.compile, which takes the losses of the tasks.",
            )
        super().compile(optimizer=optimizer, loss=dict(loss), **options)
        # Not used here, and Keras would build it at every `fit` by tracing the model.
        self._compile_loss = None
        if "_by_task" not in vars(self):  # once: Keras keeps every metric that it was ever given
            self._by_task = [keras.metrics.Mean(name=f"{name}_loss") for name in names]

    @functools.wraps(keras.Model.fit)
    def fit(self, x: Any = None, y: Any = None, *arguments: Any, **options: Any) -> Any:
        """Trains as Keras does; class ids that the model does not have are an error before it starts."""
        task_model.check_class_ids(self, y, options)
        return super().fit(x, y, *arguments, **options)

    def get_config(self) -> dict:
        """Returns a config that plain Keras refuses, since it would train without the balancer."""
        config = super().get_config()
        if "module" not in config["layers"][0]:  # the format of .h5 files
            return config
        return task_model.forbid(config, "the model has several tasks with a balancer")

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "JointModel":
        """Makes the model of its config."""
        return super().from_config(task_model.restore(config), custom_objects)

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
        """Returns the balanced sum of the tasks' losses, and of what layers add."""
        rows = getattr(self, "rows", None)
        return self.total_loss(y, y_pred, sample_weight, rows=rows, training=training)

    def total_loss(
        self, y: Any, y_pred: Any, weights: Any, *, rows: Any = None, training: bool = True
    ) -> Any:
        """Returns this replica's share in the balanced sum, as `Replicated.total_loss` does."""
        losses, known = self.task_losses(y, y_pred, weights, rows)
        factors = self.weigh(losses, known) if training else self.balance.fixed()
        total = ops.sum(ops.stack(losses) * ops.cast(factors, losses[0].dtype))
        if training:
            total += self.balance.message(losses, known)
        return total + self.added_losses()

    def train_step(self, *arguments: Any) -> Any:
        """Takes one step on a batch, and returns the logs; under JAX a step from a state, with the next one."""
        balance = self.balance
        balance.settle(learning=self._learns_below(balance))
        return self.lifted(steps.take(self, super().train_step, *arguments))

    def logs_with_factors(self, logs: Mapping, factors: Any) -> dict:
        """Returns the logs of a step with what the balancer made of each task, unless that never changes."""
        balance = self.balance
        if getattr(balance.balancer, "is_constant", False):
            return dict(logs)
        each = ops.unstack(factors, num=len(balance.names))
        names = [f"{name}_factor" for name in balance.names]
        return {**logs, **dict(zip(names, each, strict=True))}

    @property
    def non_trainable_variables(self) -> list[keras.Variable]:
        """The model's, and in a part of a model also those of the balancer that it was lent."""
        own = super().non_trainable_variables
        mine = {id(variable) for variable in own}
        balance = self.balance
        lent = [] if balance is None else balance.variables
        return [*own, *(variable for variable in lent if id(variable) not in mine)]

    def _learns_below(self, balance: layers.Balance) -> bool:
        """Says whether a layer below `balance` trains; in an upper part of the model there may be none."""
        order = nodes.nodes(self)
        inputs = [tensor for node in order if node.operation is balance for tensor in node.inputs]
        below = [order[position].operation for position in nodes.ancestors(order, inputs)]
        return any(getattr(operation, "trainable_variables", ()) for operation in below)

    def task_losses(
        self, y: Any, y_pred: Any, sample_weight: Any, rows: Any = None
    ) -> tuple[list, list]:
        """Returns this replica's share in each task's loss, and for each task whether any replica has a label.

        Args:
            y: Targets by task.
            y_pred: Answers by task.
            sample_weight: Of the examples, a dict by task, or None.
            rows: 1.0 for each row that counts; None for all.
        """
        compiled = compiling.arguments(self)
        scales = compiled.get("loss_weights") or {}
        losses, known = [], []
        for metric, name in zip(self._by_task, self.balance.names, strict=True):
            weights = labelled.of_task(sample_weight, name)
            loss = replicated.loss_object(
                compiled["loss"][name], reduction="mean_with_sample_weight"
            )
            value, size = replicated.share_of_mean(loss, y[name], y_pred[name], weights, rows)
            metric.update_state(sum_over_replicas(value), sample_weight=size)

            labels = size
            if weights is not None:
                labels = sum_over_replicas(ops.sum(ops.cast(weights != 0, "float32")))
            scale = scales.get(name, 1.0)
            losses.append(value * scale)
            known.append((labels > 0) & (scale > 0))
        return losses, known

    def weigh(self, losses: Sequence, known: Sequence) -> object:
        """Returns the weights of the tasks' losses, and moves the balancer's state on."""
        return self.balance.weigh([sum_over_replicas(loss) for loss in losses], known)

    def added_losses(self) -> object:
        """Returns what regularisers and layers add to the loss."""
        return sum((self._aggregate_additional_loss(loss) for loss in self.losses), ops.zeros(()))


def insert_balance(
    starts: Mapping[str, Any], balancing: Any, *, on: str = "representation"
) -> dict[str, Any]:
    """Puts a `layers.Balance` in front of the heads, and returns the tensors that these start from.

    Args:
        starts: By task, a tensor or a dict of tensors by level.
        balancing: As for `kt.build_model`.
        on: As for `kt.build_model`.

    Raises:
        InputError: If `balancing` is unknown or names unknown tasks, or looks at gradients of one representation where
            tasks have several.

    Example:
        >>> features = keras.Input((4,))
        >>> sorted(insert_balance({"kind": features, "age": features}, "pcgrad"))
        ['age', 'kind']
    """
    balancer = balancers.balancer_of(balancing, list(starts))
    if balancer.kind == "losses":  # raises errors now, not in the first step
        count = len(starts)
        balancer.weights(np.ones(count, "float32"), np.ones(count, "bool"), balancer.initial(count))

    layer = layers.Balance(list(starts), balancer, on=on, name="balance")
    if not layer.looks_at_gradients or on == "weights":
        # The layer only keeps the state, so it needs to lie in the way of one task.
        first, start = next(iter(starts.items()))
        if not isinstance(start, Mapping):
            return {**starts, first: layer([start])[0]}
        top = list(start)[-1]
        return {**starts, first: {**start, top: layer([start[top]])[0]}}

    tensors = list(starts.values())
    if isinstance(tensors[0], Mapping) or any(tensor is not tensors[0] for tensor in tensors):
        raise checks.error(
            f"tasks must start at one place for {type(balancer).__name__} on the representation",
            given="several places",
            fix="Pass balance_on='weights'.",
        )
    return dict(zip(starts, layer(tensors[0]), strict=True))


def note_memory(model: JointModel) -> int:
    """Prints how much more memory a training step needs where it keeps each task's gradients of all shared weights.

    Returns:
        Bytes: two copies of these gradients for each task, one by weight and one in a row; 0 where none are kept.
    """
    balance = model.balance
    if not balance.looks_at_gradients or balance.on != "weights":
        return 0

    weights = [weight for weight in marks.shared_weights(model) if weight.trainable]
    shared = sum(math.prod(weight.shape) for weight in weights)
    size = 2 * 4 * shared * len(balance.names)
    checks.note(
        f"{type(balance.balancer).__name__} compares the tasks' gradients of all {shared:,} shared weights: "
        f"a training step takes {len(balance.names)} backward passes and about {size / 1e6:,.0f} MB more memory "
        "than with a plain sum of losses"
    )
    return size
