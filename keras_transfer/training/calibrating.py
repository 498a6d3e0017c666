"""What is chosen on the validation data once training is over: thresholds, and how sure answers are."""

from collections.abc import Mapping
from typing import Any, NamedTuple  # tasks are another room's

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.core import checks, labelled
from keras_transfer.data.targets import encoding
from keras_transfer.graphs import nodes
from keras_transfer.layers import marks
from keras_transfer.machine import engine, progress

__all__ = ["Chosen", "calibrate", "choose", "divide_logits"]

ENOUGH = 20  # labelled validation images; fewer say too little about confidences


class Chosen(NamedTuple):
    """What the validation data said.

    Attributes:
        lines: One about each task that chose something.
        temperatures: What the logits of a task are to be divided by.
        baselines: By task, what its `baseline` returned.
        warnings: A line about each task whose answers are not better than one answer for all images.
    """

    lines: list[str]
    temperatures: dict[str, float]
    baselines: dict[str, dict]
    warnings: list[str]


def calibrate(model: keras.Model, validation: tf.data.Dataset) -> list[str]:
    """Makes answers fit the validation data without training: thresholds of tags, confidences of classes.

    The logits of a classification are divided by a temperature (Guo et al. 2017), so that answers that are 80 % sure
    are right in 80 % of cases; the best class stays the best. That takes 20 labelled images or more. The temperature
    goes into kernel and bias of the last dense layer, and so into every file that the model is saved or exported to.

    `kt.fine_tune` does this by itself; call it after a `fit` of your own.

    Args:
        model: A model with tasks; changed in place.
        validation: Batches of `(images, targets)` or `(images, targets, weights)`.

    Returns:
        A line about each task that chose something.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(2))
        >>> calibrate(model, tf.data.Dataset.from_tensors((tf.zeros((2, 32, 32, 3)), [0, 1])))
        []
    """
    chosen = choose(model, validation)
    divide_logits(model, chosen.temperatures)
    return chosen.lines


def choose(model: keras.Model, validation: tf.data.Dataset) -> Chosen:
    """Chooses thresholds, which are stored at once, and temperatures, which `divide_logits` applies.

    The same answers are compared with one answer for all images.
    """
    chosen = Chosen([], {}, {}, [])
    outputs = {name: layer for name, layer in marks.outputs(model).items() if _asks(layer.task)}
    if not outputs:
        return chosen
    has_thresholds = any(layer.task.calibrates for layer in outputs.values())
    if not (has_thresholds or _holds(validation, ENOUGH)):
        return chosen  # so that no function is traced for nothing

    for name, (targets, answers) in _collect(model, validation).items():
        task = outputs[name].task
        if task.calibrates and len(targets):
            chosen.lines.append(f"{name}: {outputs[name].calibrate(targets, answers)}")
        compared = _compare(task, targets, answers)
        if compared is not None:
            chosen.baselines[name], warning = compared
            if warning:
                chosen.warnings.append(f"{name}: {warning}" if len(outputs) > 1 else warning)
        if len(targets) < ENOUGH or not np.isfinite(answers).all() or not _last_dense(model, name):
            continue
        fitted = task.temperature(targets, answers)
        if fitted is not None:
            chosen.temperatures[name], line = fitted
            chosen.lines.append(f"{name}: {line}")
    return chosen


def _asks(task: Any) -> bool:
    """Whether a task has something to choose; one with a value a pixel has not, and its answers would fill memory."""
    return task.calibrates or not task.levels


def _compare(task: Any, targets: np.ndarray, answers: np.ndarray) -> tuple[dict, str] | None:
    """Returns a task's baseline, and a line if the answers are not better; None where there is nothing to compare."""
    if not len(targets) or not np.isfinite(answers).all():
        return None
    try:
        targets, answers = task.check(task.encode(targets), answers)
    except checks.InputError:  # no reason to lose a run that is over; measuring says what is wrong
        return None
    baseline = task.baseline(targets, answers)
    if baseline is None:
        return None
    return baseline, task.baseline_warning({**task.measure(targets, answers), "baseline": baseline})


def divide_logits(model: keras.Model, temperatures: Mapping[str, float]) -> None:
    """Divides the logits of tasks by temperatures, in the last dense layer of their heads."""
    for name, temperature in temperatures.items():
        dense = _last_dense(model, name)
        for variable in (dense.kernel, dense.bias):
            if variable is not None:
                variable.assign(variable / temperature)


def _holds(dataset: tf.data.Dataset, count: int) -> bool:
    """Whether a data set has so many images; reads no more of them."""
    images = 0
    for batch in dataset:
        images += len(keras.tree.flatten(batch)[0])
        if images >= count:
            return True
    return False


def _collect(
    model: keras.Model, validation: tf.data.Dataset
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns the labelled targets of each task and the model's answers, from one pass over the data."""
    tasks = {name: layer.task for name, layer in marks.outputs(model).items() if _asks(layer.task)}
    collected: dict[str, tuple[list, list]] = {name: ([], []) for name in tasks}
    for batch in progress.follow(validation, "Calibrating on the validation images"):
        images, targets, weights = keras.utils.unpack_x_y_sample_weight(batch)
        answers = engine.predict_on_batch(model, images)
        by_task = marks.targets_by_task(model, targets)
        for name, (kept_targets, kept_answers) in collected.items():
            answer = answers[name] if isinstance(answers, dict) else answers
            own = labelled.of_task(weights, name)
            kept_targets.append(np.asarray(labelled.known(by_task[name], own)))
            kept_answers.append(labelled.known(tasks[name].compact(answer), own))
    return {
        name: (encoding.concatenate(targets), np.concatenate(answers))
        for name, (targets, answers) in collected.items()
    }


def _last_dense(model: keras.Model, name: str) -> Any:
    """Returns the linear dense layer that makes the logits of a task, None where another layer makes them."""
    output = marks.outputs(model)[name]
    order = nodes.nodes(model)
    (logits,) = [node.inputs[0] for node in order if node.operation is output]
    makers = {id(tensor): node.operation for node in order for tensor in node.outputs}
    maker = makers[id(logits)]
    is_dense = type(maker) is keras.layers.Dense and maker.activation is keras.activations.linear
    return maker if is_dense else None
