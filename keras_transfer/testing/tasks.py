"""The contract of a task."""

import json

import keras
import numpy as np

import keras_transfer as kt
from keras_transfer.testing.running import make_images, rebuild, reload, require, run

__all__ = ["check_task"]

STEPS = 4


def check_task(task: kt.tasks.Task, targets: np.ndarray) -> None:
    """Checks a task: it builds, trains, answers, scores, and survives saving.

    Args:
        task: The task.
        targets: Some valid targets for it, at least four, as `kt.data` gives them.

    Raises:
        AssertionError: If it breaks the contract.

    Example:
        >>> check_task(kt.tasks.Classification(["cat", "dog"]), np.array([0, 1, 1, 0]))
    """
    checks = (
        config_makes_the_task_again,
        gradients_reach_every_weight,
        answers_are_float32_under_mixed_precision,
        answers_decode_row_by_row,
        scores_go_into_json,
        the_report_has_texts,
        training_finds_what_the_task_names,
        encoded_targets_cost_what_targets_cost,
        training_lowers_the_loss,
        reloads_equal,
        what_was_calibrated_is_saved,
    )
    run(checks, task, np.asarray(targets), build_model(task))


def config_makes_the_task_again(task: kt.tasks.Task, *_: object) -> None:
    """Checks that the config gives a task of the same class and config."""
    again = rebuild(task)
    same = type(again) is type(task) and again.get_config() == task.get_config()
    require(same, f"{again.get_config()}")


def gradients_reach_every_weight(
    task: kt.tasks.Task, targets: np.ndarray, model: keras.Model
) -> None:
    """Checks that loss and gradients are finite, for every weight of the trunk and the head."""
    import tensorflow as tf

    loss = task.loss(targets)
    with tf.GradientTape() as tape:
        outputs = model(make_images(model, len(targets)), training=True)
        value = loss(task.encode(targets), outputs)
    gradients = tape.gradient(value, [variable.value for variable in model.trainable_variables])

    lost = [
        variable.path
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
        if gradient is None or not np.isfinite(np.array(gradient)).all()
    ]
    require(not lost and np.isfinite(float(value)), f"no gradient for {lost}, loss {float(value)}")


def answers_are_float32_under_mixed_precision(task: kt.tasks.Task, *_: object) -> None:
    """Checks that the model's output is float32 when its layers compute in bfloat16."""
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_model(task)
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
    require(model.output.dtype == "float32", f"{model.output.dtype}")


def answers_decode_row_by_row(task: kt.tasks.Task, targets: np.ndarray, model: keras.Model) -> None:
    """Checks that `decode` gives a row for each image."""
    answers = task.decode(model(make_images(model, len(targets)), training=False))
    require(bool(answers), "no answers")
    require({len(value) for value in answers.values()} == {len(targets)}, "one row an image")


def scores_go_into_json(task: kt.tasks.Task, targets: np.ndarray, model: keras.Model) -> None:
    """Checks that `measure` gives plain values that JSON keeps."""
    outputs = predict(model, targets)
    scores = task.measure(task.encode(targets), outputs)
    require(bool(scores) and json.loads(json.dumps(scores)) == scores, "not plain values")


def the_report_has_texts(task: kt.tasks.Task, targets: np.ndarray, model: keras.Model) -> None:
    """Checks that targets, outputs, mistakes and scores are told in words, and one answer goes into JSON.

    Scores are compared with a baseline, if the task has one, and one answer for all images is not better.
    """
    outputs = predict(model, targets)
    checked, answers = task.check(task.encode(targets), outputs)
    scores = task.measure(checked, answers)
    scores["baseline"] = task.baseline(checked, answers)
    require(json.loads(json.dumps(scores["baseline"])) == scores["baseline"], "not plain values")
    constant = task.baseline(checked, np.repeat(answers[:1], len(answers), axis=0))
    require(constant is None or not constant["is_beaten"], f"one answer for all beats {constant}")

    texts = [*task.text(scores), task.describe(checked[0]), task.describe(answers[0])]
    texts += [*task.headline(task.score, scores), task.mistakes_title, task.target_title]

    errors = task.errors(checked, answers)
    if errors is not None:
        right = np.shape(errors) == (len(targets),) and bool(np.all(errors >= 0))
        require(right, f"errors {errors}")
        texts.append(task.describe_error(float(np.max(errors))))
    examples = (checked, answers) if task.draws_examples else (None, None)
    texts.append(task.section(scores, *examples, name="0"))
    require(all(isinstance(text, str) for text in texts), f"{texts}")
    json.dumps(task.answer(outputs[0]))


def training_finds_what_the_task_names(
    task: kt.tasks.Task, targets: np.ndarray, _: keras.Model
) -> None:
    """Checks that `monitor` is a metric, and that a linear head has a row for each example to be fitted to."""
    names = [metric.name for metric in task.metrics()]
    require(task.monitor is None or task.monitor in names, f"{task.monitor!r} is none of {names}")
    if task.link is not None:
        rows = task.linear_rows(task.encode(targets), task.loss(targets))
        require(rows.shape == (len(targets), task.units), f"rows of shape {rows.shape}")


def encoded_targets_cost_what_targets_cost(
    task: kt.tasks.Task, targets: np.ndarray, model: keras.Model
) -> None:
    """Checks that the loss takes targets as they are, and that `encode` does not change what they mean."""
    loss, outputs = task.loss(targets), predict(model, targets)
    expected, encoded = float(loss(targets, outputs)), float(loss(task.encode(targets), outputs))
    is_equal = bool(np.isclose(encoded, expected, rtol=1e-5))
    require(is_equal, f"{encoded} encoded, {expected} as they are")


def training_lowers_the_loss(task: kt.tasks.Task, targets: np.ndarray, *_: object) -> None:
    """Checks that some steps of `kt.fine_tune` lower the loss of the examples that it trains on."""
    keras.utils.set_random_seed(0)
    model = build_model(task)
    stage = kt.Stage(epochs=STEPS, train="all", learning_rate=1e-3)
    data = (make_images(model, len(targets)), targets)
    history = kt.fine_tune(model, data, stages=[stage], watch=(), seed=0, verbose=0)
    losses = history.history["loss"]
    require(losses[-1] < losses[0], f"from {losses[0]} to {losses[-1]} in {STEPS} steps")


def what_was_calibrated_is_saved(
    task: kt.tasks.Task, targets: np.ndarray, model: keras.Model
) -> None:
    """Checks that what a model chose on validation data is saved with it, and no other model has it."""
    if not task.calibrates:
        return
    before = task.get_config()
    (output,) = kt.models.outputs(model).values()
    line = output.calibrate(task.encode(targets), predict(model, targets))
    after = output.task.get_config()
    require(isinstance(line, str) and after != before, f"{line!r}, {after}")
    require(task.get_config() == before, "the task itself was changed")
    (output,) = kt.models.outputs(reload(model)).values()
    require(output.task.get_config() == after, f"{output.task.get_config()}")


def reloads_equal(task: kt.tasks.Task, targets: np.ndarray, model: keras.Model) -> None:
    """Checks that a model with the task gives the same answers after saving, and keeps the task's config."""
    again = reload(model)
    np.testing.assert_array_equal(predict(again, targets), predict(model, targets))
    (output,) = kt.models.outputs(again).values()
    require(output.task.get_config() == task.get_config(), f"{output.task.get_config()}")


def build_model(task: kt.tasks.Task) -> keras.Model:
    """Puts the task on an untrained network of a few layers."""
    x = image = keras.Input((32, 32, 3))
    for number in (1, 2, 3):
        name = f"block{number}"
        x = keras.layers.Conv2D(32, 3, strides=2, use_bias=False, name=f"{name}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"{name}_norm")(x)
        x = keras.layers.ReLU(name=f"{name}_relu")(x)
    backbone = kt.backbone(keras.Model(image, x, name="small"), preprocess="tf")
    return kt.build_model(backbone, task)


def predict(model: keras.Model, targets: np.ndarray) -> np.ndarray:
    """Returns the model's output for an image a target."""
    return model.predict_on_batch(make_images(model, len(targets)))
