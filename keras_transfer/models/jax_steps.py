"""The training step of a model of several tasks on JAX: a function from a state and a batch to logs and a new state.

The state is four lists of values, as Keras has them: of weights, of other variables, of the optimizer, of metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any  # tensors

import jax
import keras
from keras import ops

from keras_transfer.layers import marks
from keras_transfer.machine.engine import inner_products

if TYPE_CHECKING:
    from keras_transfer.models.joint import JointModel

__all__ = ["take"]

State = tuple[list, list, list, list]


def take(
    model: JointModel, plain_step: Callable[..., tuple], state: State, data: Any
) -> tuple[dict, State]:
    """Takes one step, and returns the logs and the next state.

    Args:
        model: Its balancer is settled.
        plain_step: Keras's own step, which is the right one unless the balancer looks at gradients.
        state: Before the step.
        data: A batch.
    """
    balance = model.balance
    with model.counting(data) as batch:
        if balance.looks_at_gradients and balance.on == "weights":
            logs, state = _step_on_weights(model, state, batch)
        elif balance.combines_here:
            logs, state = _step_on_representation(model, state, batch)
        else:
            logs, state = plain_step(state, batch)
    variables = dict(zip(map(id, model.non_trainable_variables), state[1], strict=True))
    return model.logs_with_factors(logs, variables[id(balance.factors)]), state


def _step_on_representation(model: JointModel, state: State, data: Any) -> tuple[dict, State]:
    """Takes a step in which the balancer sees the gradients where the tasks part.

    The layer there hands the balancer's new state out as the gradient of a slot.
    """
    trainable, others, slots, metrics = state
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    balance = model.balance

    def loss(trainable: list, slot: Any) -> tuple:
        with balance.listening(slot):
            return model.compute_loss_and_updates(
                trainable,
                others,
                metrics,
                x,
                y,
                sample_weight,
                training=True,
                optimizer_variables=slots,
            )

    step = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    (_, results), (gradients, slot_gradient) = step(trainable, balance.make_slot())
    total, y_pred, others, metrics = results

    after = balance.state_after(slot_gradient)
    pairs = zip(model.non_trainable_variables, others, strict=True)
    others = [after.get(id(variable), value) for variable, value in pairs]
    trainable, slots = model.optimizer.stateless_apply(slots, gradients, trainable)
    logs, metrics = model._update_metrics_variables(metrics, total, x, y, y_pred, sample_weight)
    return logs, (trainable, others, slots, metrics)


def _step_on_weights(model: JointModel, state: State, data: Any) -> tuple[dict, State]:
    """Takes a step in which the balancer sees the gradients of all the weights that tasks share.

    There is one backward pass a task over a single forward pass.
    """
    trainable, others, slots, metrics = state
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)

    def losses(trainable: list) -> tuple:
        y_pred, moved, added = model.stateless_call(
            trainable, others, x, return_losses=True, training=True
        )
        variables = [
            *zip(model.trainable_variables, trainable, strict=True),
            *zip(model.non_trainable_variables, moved, strict=True),
            *zip(model.metrics_variables, metrics, strict=True),
        ]
        with keras.StatelessScope(variables) as scope:
            of_tasks, known = model.task_losses(y, y_pred, sample_weight, model.rows)
            extra = sum(added, ops.zeros(()))
        with keras.StatelessScope(list(zip(model.optimizer.variables, slots, strict=True))):
            scaled = [model.optimizer.scale_loss(each) for each in (*of_tasks, extra)]
        now = [_value_in(scope, variable) for variable in model.metrics_variables]
        return ops.stack(scaled), (y_pred, moved, now, of_tasks, known, extra)

    scaled, pull, results = jax.vjp(losses, trainable, has_aux=True)
    y_pred, others, metrics, of_tasks, known, extra = results
    rows = ops.eye(len(of_tasks) + 1, dtype=scaled.dtype)
    *by_task, of_added = [pull(row)[0] for row in rows]

    names = {id(weight) for weight in marks.shared_weights(model)}
    shared = [id(variable) in names for variable in model.trainable_variables]
    pairs = list(zip(model.non_trainable_variables, others, strict=True))
    with keras.StatelessScope(pairs) as scope:
        model.weigh(of_tasks, known)
        factors = _coefficients(model, by_task, shared)
    others = [_value_in(scope, variable) for variable in model.non_trainable_variables]

    gradients = []
    for at, extra_gradient in enumerate(of_added):
        column = [gradients_of_task[at] for gradients_of_task in by_task]
        if shared[at]:
            column = [
                each * ops.cast(factors[task], each.dtype) for task, each in enumerate(column)
            ]
        gradients.append(sum(column, extra_gradient))
    trainable, slots = model.optimizer.stateless_apply(slots, gradients, trainable)
    total = sum(of_tasks, extra)
    logs, metrics = model._update_metrics_variables(metrics, total, x, y, y_pred, sample_weight)
    return logs, (trainable, others, slots, metrics)


def _coefficients(model: JointModel, by_task: Sequence[list], shared: Sequence[bool]) -> Any:
    """Returns the balancer's coefficients, by the gradients of the weights that several tasks reach."""
    if not any(shared):
        return ops.ones(len(by_task))
    rows = []
    for gradients in by_task:
        parts = [
            ops.reshape(ops.cast(gradient, "float32"), (-1,))
            for gradient, is_shared in zip(gradients, shared, strict=True)
            if is_shared
        ]
        rows.append(ops.concatenate(parts))
    return model.balance.combine(inner_products(ops.stack(rows)))


def _value_in(scope: keras.StatelessScope, variable: keras.Variable) -> Any:
    value = scope.get_current_value(variable)
    return variable.value if value is None else value
