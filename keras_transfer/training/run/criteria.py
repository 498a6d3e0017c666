"""What says which epoch is the best one."""

import math

import keras

from keras_transfer.graphs import compiling
from keras_transfer.layers import marks
from keras_transfer.losses import TaskLoss
from keras_transfer.machine import progress

__all__ = [
    "ERROR", "JointError", "add_error", "evaluate", "explain_logs", "is_share", "monitor", "standard_error",
]  # fmt: skip

ERROR = "val_error"
SHARES = ("iou", "map")  # end the names of metrics of which more is better, besides accuracies
PERFECT = 0.01  # added to the error rate, so that a perfect task does not decide the geometric mean


def monitor(model: keras.Model) -> str | None:
    """Returns what chooses the epoch: the metric of a single task, `ERROR` for several tasks, else the loss.

    None where the loss of a task says too little and it has no metric: then the last epoch counts.

    A fine-tuned network also grows surer of its mistakes, so its loss can rise while its answers get better; one such
    task could decide the summed loss of all. A model with losses of the user's own is judged by that sum all the same.

    Example:
        >>> import keras_transfer as kt
        >>> tasks = {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}
        >>> monitor(kt.build_model(kt.backbone("tiny", weights=None), tasks))
        'val_error'
    """
    outputs = marks.outputs(model)
    for name, output in outputs.items():
        if not output.task.loss_tells_best and not _is_measured(model, name):
            return None
    if len(outputs) == 1:
        ((name, output),) = outputs.items()
        return f"val_{output.task.monitor}" if _is_measured(model, name) else "val_loss"
    losses = compiling.arguments(model).get("loss")
    known = isinstance(losses, dict) and all(
        _is_measured(model, name) or isinstance(losses.get(name), TaskLoss) for name in outputs
    )
    return ERROR if outputs and known else "val_loss"


def is_share(name: str) -> bool:
    """Returns whether a number of the logs is a share in [0, 1] of which more is better, going by its name.

    Example:
        >>> is_share("val_accuracy"), is_share("val_mean_iou"), is_share("val_loss")
        (True, True, False)
    """
    return "accuracy" in name or name.endswith(SHARES)


def standard_error(accuracy: float, images: int | None) -> float:
    """Returns by how much an accuracy differs by chance; 0 where it is not known on how many images it was measured.

    That of a binomial share, with one more right and one more wrong answer, so that it is not 0 where all are right.

    Example:
        >>> round(standard_error(1.0, 26), 3)
        0.036
    """
    if not images:
        return 0.0
    share = (accuracy * images + 1) / (images + 2)
    return math.sqrt(max(0.0, share * (1.0 - share)) / images)


def add_error(model: keras.Model, logs: dict) -> None:
    """Adds the error of a model of several tasks to the logs of an epoch: the geometric mean of the tasks' errors.

    A task's error is the share of wrong answers where it has a metric for that, else its loss; tasks whose loss has
    the weight 0 do not count. Halving the error of any task is worth the same, whatever its unit and its size.

    Args:
        model: The user's model.
        logs: With validation; changed in place.
    """
    if monitor(model) != ERROR or "val_loss" not in logs:
        return
    weights = _weights(model)
    errors = []
    for name, output in marks.outputs(model).items():
        if not weights.get(name, 1.0):
            continue
        if _is_measured(model, name):
            errors.append(1.0 - logs[f"val_{name}_{output.task.monitor}"] + PERFECT)
        else:
            errors.append(logs[f"val_{name}_loss"])
    if errors:
        logs[ERROR] = math.exp(sum(math.log(max(error, 1e-12)) for error in errors) / len(errors))


def explain_logs(model: keras.Model) -> list[str]:
    """Returns a line for each kind of number that the logs of several tasks have besides losses and metrics.

    Example:
        >>> import keras_transfer as kt
        >>> explain_logs(kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(2)))
        []
    """
    lines = []
    if monitor(model) == ERROR:
        lines.append(
            f"{ERROR} is the geometric mean of the tasks' errors, each the share of wrong answers or, where there is "
            "none, the loss. The epoch with the lowest is the best."
        )
    balance = marks.balance(model)
    if balance is not None and not getattr(balance.balancer, "is_constant", False):
        names = ", ".join(f"{name}_factor" for name in balance.names)
        of_what = "gradients" if balance.looks_at_gradients else "loss"
        lines.append(
            f"{names}: what {type(balance.balancer).__name__} multiplied a task's {of_what} by, in the last step of "
            "the epoch."
        )
    return lines


def evaluate(model: keras.Model, validation: object) -> dict[str, float]:
    """Returns what the logs of an epoch say of validation, measured outside `fit`."""
    measured = progress.Progress("Measuring on the validation images")
    counter = keras.callbacks.LambdaCallback(
        on_test_batch_end=lambda batch, logs=None: measured.add()
    )
    logs = model.evaluate(validation, return_dict=True, verbose=0, callbacks=[counter])
    measured.finish()
    logs = {f"val_{name}": value for name, value in logs.items()}
    add_error(model, logs)
    return logs


def _weights(model: keras.Model) -> dict[str, float]:
    """By task, what its loss is multiplied by, 1 where nothing is said."""
    weights = dict(compiling.arguments(model).get("loss_weights") or {})
    balance = marks.balance(model)
    if balance is not None:
        for name, factor in zip(balance.names, balance.fixed(), strict=True):
            weights[name] = weights.get(name, 1.0) * float(factor)
    return weights


class JointError(keras.callbacks.Callback):
    """Adds the error of several tasks to the logs, for the callbacks after it.

    Args:
        user_model: The user's model; `fit` may train a part of it.

    Example:
        >>> JointError(keras.Sequential()).user_model.name.startswith("sequential")
        True
    """

    def __init__(self, user_model: keras.Model) -> None:
        super().__init__()
        self.user_model = user_model

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Validation is over."""
        if logs is not None:
            add_error(self.user_model, logs)


def _is_measured(model: keras.Model, name: str) -> bool:
    """Returns whether the metric that judges a task is among those that the model was compiled with."""
    outputs = marks.outputs(model)
    metric = outputs[name].task.monitor
    if metric is None:
        return False
    for argument in ("metrics", "weighted_metrics"):
        metrics = compiling.arguments(model).get(argument)
        if isinstance(metrics, dict):
            metrics = metrics.get(name)
        elif len(outputs) > 1:
            continue
        if metric in [getattr(each, "name", each) for each in keras.tree.flatten(metrics)]:
            return True
    return False
