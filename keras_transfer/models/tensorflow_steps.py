"""The training step of a model of several tasks on TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from keras import ops

from keras_transfer.machine import shares
from keras_transfer.machine.engine import inner_products, sum_over_replicas
from keras_transfer.models import replicated

if TYPE_CHECKING:
    from keras_transfer.models.joint import JointModel

__all__ = ["take"]


def take(model: JointModel, plain_step: Callable[[Any], dict], data: Any) -> dict:
    """Takes one step, and returns the logs.

    Args:
        model: Its balancer is settled.
        plain_step: Keras's own step, which is the right one unless the balancer looks at gradients of weights.
        data: A batch.
    """
    balance = model.balance
    if balance.looks_at_gradients and balance.on == "weights":
        logs = _step_on_weights(model, data)
    else:
        logs = plain_step(data)
    return model.logs_with_factors(logs, balance.factors)


def _step_on_weights(model: JointModel, data: Any) -> dict:
    """Takes a step in which the balancer sees the gradients of all the weights that tasks share.

    There is one backward pass a task over a single forward pass.
    """
    x, y, weights, rows = shares.unpack(data)
    with tf.GradientTape(persistent=True) as tape:
        y_pred = model.answer(x, rows)
        losses, known = model.task_losses(y, y_pred, weights, rows)
        added = model.added_losses()
        scaled = [model.optimizer.scale_loss(loss) for loss in losses]
        scaled_added = model.optimizer.scale_loss(added)
    model.weigh(losses, known)
    replicated.track_loss(model, ops.sum(ops.stack(losses)) + added, rows)

    variables = model.trainable_variables
    values = [variable.value for variable in variables]
    by_task = [tape.gradient(loss, values) for loss in scaled]
    of_added = tape.gradient(scaled_added, values)
    del tape

    factors = _coefficients(model, by_task)
    gradients = []
    for at, extra in enumerate(of_added):
        terms = _terms([gradients_of_task[at] for gradients_of_task in by_task], factors)
        if extra is not None:
            terms.append(extra)
        gradients.append(tf.add_n(terms) if terms else None)
    model.optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return replicated.measure(model, x, y, y_pred, weights, rows)


def _terms(column: Sequence[tf.Tensor | None], factors: tf.Tensor) -> list[tf.Tensor]:
    """Returns what each task adds to the gradient of one weight; a weight of one task keeps its own gradient."""
    present = {task: gradient for task, gradient in enumerate(column) if gradient is not None}
    if len(present) < 2:
        return list(present.values())
    return [each * ops.cast(factors[task], each.dtype) for task, each in present.items()]


def _coefficients(model: JointModel, by_task: Sequence[Sequence]) -> tf.Tensor:
    """Returns the balancer's coefficients, by the gradients of the weights that several tasks reach."""
    shared = []
    for at, column in enumerate(zip(*by_task, strict=True)):
        tasks = sum(gradient is not None for gradient in column)
        if tasks > 1:
            shared.append(at)
    if not shared:
        return ops.ones(len(by_task))

    variables = model.trainable_variables
    rows = []
    for gradients in by_task:
        parts = []
        for at in shared:
            gradient = gradients[at]
            if gradient is None:
                gradient = tf.zeros_like(variables[at])
            parts.append(tf.reshape(tf.cast(sum_over_replicas(gradient), tf.float32), (-1,)))
        rows.append(tf.concat(parts, axis=0))
    matrix = tf.stack(rows)
    return model.balance.combine(inner_products(matrix))
