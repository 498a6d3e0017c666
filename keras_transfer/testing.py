"""Contract checks: what every backbone, task, layer and loss must do, also those of other people.

Each `check_...` runs a list of small named checks and raises `AssertionError` with the name of the
one that failed. The package's own tests run them over every row of every table.
"""

import contextlib
import io
import json
import pathlib
import tempfile
from collections.abc import Callable, Iterable

import keras
import numpy as np

import keras_transfer as kt
from keras_transfer.core import paths

__all__ = ["check_backbone", "check_layer", "check_loss", "check_task"]


def _run(checks: Iterable[Callable], *arguments: object) -> None:
    for check in checks:
        try:
            check(*arguments)
        except AssertionError as failed:
            raise AssertionError(f"{check.__name__.strip('_')}: {failed}") from failed


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def _values(model: keras.Model) -> dict[str, np.ndarray]:
    return {path: keras.ops.convert_to_numpy(variable) for path, variable in paths.variables(model).items()}


def _reloaded(model: keras.Model) -> keras.Model:
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "model.keras"
        model.save(file)
        return kt.load_model(file, trust=True)


def _pixels(model: keras.Model, count: int = 4) -> np.ndarray:
    height, width, channels = (side or 64 for side in model.input_shape[1:])
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels), dtype="uint8")


def check_backbone(backbone: keras.Model) -> None:
    """Checks a backbone: its pixels, blocks and levels, freezing and thawing, saving, exporting.

    Args:
        backbone: From `kt.backbone`; its weights change.

    Raises:
        AssertionError: If it breaks the contract.

    Example:
        >>> check_backbone(kt.backbone("tiny", weights=None))
    """
    _run(
        (
            _takes_bytes_and_floats_alike,
            _answers_each_image_by_itself,
            _blocks_hold_every_layer_once,
            _levels_are_in_the_graph,
            _a_frozen_trunk_stays_bit_equal,
            _what_is_thawed_moves_and_nothing_else,
            _reloads_equal,
            _exports_equal,
        ),
        backbone,
    )


def _takes_bytes_and_floats_alike(backbone: keras.Model) -> None:
    pixels = _pixels(backbone)
    np.testing.assert_array_equal(
        backbone.predict(pixels, verbose=0), backbone.predict(pixels.astype("float32"), verbose=0)
    )


def _answers_each_image_by_itself(backbone: keras.Model) -> None:
    pixels = _pixels(backbone)
    np.testing.assert_allclose(
        backbone.predict(pixels[::-1], verbose=0), backbone.predict(pixels, verbose=0)[::-1], rtol=1e-4, atol=1e-4
    )


def _blocks_hold_every_layer_once(backbone: keras.Model) -> None:
    listed = [path for block in kt.layers.blocks(backbone) for path in block.layers]
    mark = kt.layers.representation(backbone)
    trunk = [path for path, layer in paths.leaves(backbone).items() if layer is not mark]
    _require(sorted(listed) == sorted(trunk), f"{set(trunk) ^ set(listed)} not in exactly one block")


def _levels_are_in_the_graph(backbone: keras.Model) -> None:
    names = {operation.name for operation in backbone.operations}
    _require(set(backbone.levels.values()) <= names, f"{backbone.levels}")


def _calibrate(backbone: keras.Model) -> None:
    """Sets batch-norm statistics to those of some images: random weights would let the signal vanish."""
    norms = [layer for layer in paths.leaves(backbone).values() if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    flags = [layer.trainable for layer in norms]
    for layer in norms:
        layer.momentum, layer.trainable = 0.0, True
    backbone(_pixels(backbone, 8).astype("float32"), training=True)
    for layer, momentum, flag in zip(norms, momenta, flags, strict=True):
        layer.momentum, layer.trainable = momentum, flag


def _trained(backbone: keras.Model, train: str) -> tuple[keras.Model, dict, dict]:
    """Trains a head on the backbone for a step; returns the model and its weights before and after."""
    _calibrate(backbone)
    model = kt.build_model(backbone, kt.tasks.Classification(2))
    kt.freeze(model, below="classification_logits")
    if train != "head":
        kt.unfreeze(model, above=train)
    kt.compile(model, optimizer=keras.optimizers.SGD(0.1))
    before = _values(model)
    model.fit(_pixels(model), np.array([0, 1, 1, 1]), epochs=1, verbose=0)
    return model, before, _values(model)


def _moved(before: dict, after: dict) -> set[str]:
    return {path for path in before if not np.array_equal(before[path], after[path])}


def _a_frozen_trunk_stays_bit_equal(backbone: keras.Model) -> None:
    _, before, after = _trained(backbone, "head")
    moved = _moved(before, after)
    _require(moved == {"classification_logits/kernel", "classification_logits/bias"}, f"moved: {sorted(moved)}")


def _what_is_thawed_moves_and_nothing_else(backbone: keras.Model) -> None:
    able = set(kt.unfreeze(backbone))
    blocks = [block.name for block in kt.layers.blocks(backbone) if able & set(block.layers)]
    model, before, after = _trained(backbone, blocks[-1] if blocks else "all")
    moved = _moved(before, after)
    names = {id(variable): path for path, variable in paths.variables(model).items()}
    expected = {names[id(variable)] for variable in model.trainable_variables}
    _require(moved <= expected, f"moved although frozen: {sorted(moved - expected)}")
    thawed = moved - {"classification_logits/kernel", "classification_logits/bias"}
    _require(bool(thawed) == bool(blocks), "nothing thawed moved")  # a trunk may have nothing that can train


def _reloads_equal(model: keras.Model) -> None:
    pixels = _pixels(model)
    expected, found = model.predict(pixels, verbose=0), _reloaded(model).predict(pixels, verbose=0)
    keras.tree.map_structure(np.testing.assert_array_equal, found, expected)


def _exports_equal(backbone: keras.Model) -> None:
    import tensorflow as tf

    pixels = _pixels(backbone)
    expected = backbone.predict(pixels, verbose=0)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        exported = tf.saved_model.load(str(kt.export(backbone, pathlib.Path(folder) / "1")))
    answers = exported.signatures["pixels"](images=tf.constant(pixels))
    features = exported.signatures["features"](images=tf.constant(pixels))["features"]
    (found,) = (value.numpy() for value in answers.values())
    places = tuple(range(1, expected.ndim - 1))
    for other, mine in ((found, expected), (features.numpy(), expected.mean(axis=places))):
        np.testing.assert_allclose(other, mine, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def check_task(task: object, targets: np.ndarray) -> None:
    """Checks a task: it builds, trains, answers, scores, and survives saving.

    Args:
        task: The task.
        targets: Some valid targets for it, at least four.

    Raises:
        AssertionError: If it breaks the contract.

    Example:
        >>> check_task(kt.tasks.Classification(["cat", "dog"]), np.array([0, 1, 1, 0]))
    """
    _run(
        (
            _config_makes_the_task_again,
            _gradients_reach_every_weight,
            _answers_are_float32_under_mixed_precision,
            _answers_decode_row_by_row,
            _scores_go_into_json,
            _a_model_with_it_reloads_equal,
        ),
        task,
        np.asarray(targets),
    )


def _task_model(task: object) -> keras.Model:
    return kt.build_model(kt.backbone("tiny", weights=None), task)


def _config_makes_the_task_again(task: object, _: np.ndarray) -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(task))
    _require(type(again) is type(task) and again.get_config() == task.get_config(), f"{again.get_config()}")


def _gradients_reach_every_weight(task: object, targets: np.ndarray) -> None:
    import tensorflow as tf

    model = _task_model(task)
    loss = task.loss(targets)
    with tf.GradientTape() as tape:
        value = loss(task.encode(targets), model(_pixels(model, len(targets)), training=True))
    gradients = tape.gradient(value, [variable.value for variable in model.trainable_variables])
    lost = [
        variable.path
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
        if gradient is None or not np.isfinite(np.array(gradient)).all()
    ]
    _require(not lost and np.isfinite(float(value)), f"no gradient for {lost}, loss {float(value)}")


def _answers_are_float32_under_mixed_precision(task: object, _: np.ndarray) -> None:
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = _task_model(task)
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
    _require(model.output.dtype == "float32", f"{model.output.dtype}")


def _answers_decode_row_by_row(task: object, targets: np.ndarray) -> None:
    model = _task_model(task)
    answers = task.decode(model(_pixels(model, len(targets)), training=False))
    _require(bool(answers), "no answers")
    _require({len(value) for value in answers.values()} == {len(targets)}, "one row an image")


def _scores_go_into_json(task: object, targets: np.ndarray) -> None:
    model = _task_model(task)
    scores = task.measure(task.encode(targets), model.predict(_pixels(model, len(targets)), verbose=0))
    _require(bool(scores) and json.loads(json.dumps(scores)) == scores, "not plain values")


def _a_model_with_it_reloads_equal(task: object, targets: np.ndarray) -> None:
    model = _task_model(task)
    _reloads_equal(model)
    again = next(iter(kt.layers.outputs(_reloaded(model)).values())).task
    _require(again.get_config() == task.get_config(), f"{again.get_config()}")


def check_layer(layer: keras.layers.Layer, inputs: np.ndarray) -> None:
    """Checks a layer: shapes it announces, its config, equal answers after it is made again.

    Example:
        >>> check_layer(kt.layers.Preprocess("tf"), np.zeros((2, 4, 4, 3), "float32"))
    """
    _run((_announces_its_shape, _config_makes_the_layer_again), layer, inputs)


def _announces_its_shape(layer: keras.layers.Layer, inputs: np.ndarray) -> None:
    _require(tuple(layer.compute_output_shape(inputs.shape)) == tuple(layer(inputs).shape), "another shape came out")


def _config_makes_the_layer_again(layer: keras.layers.Layer, inputs: np.ndarray) -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    expected = np.asarray(layer(inputs))
    again(inputs)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(np.asarray(again(inputs)), expected)


def check_loss(loss: keras.losses.Loss, y_true: np.ndarray, y_pred: np.ndarray) -> None:
    """Checks a loss: the mean over examples, weights of zero, its config.

    Example:
        >>> check_loss(kt.losses.Crossentropy(), np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]], "float32"))
    """
    _run((_is_the_mean_of_the_examples, _weight_zero_is_absence, _config_makes_the_loss_again), loss, y_true, y_pred)


def _is_the_mean_of_the_examples(loss: keras.losses.Loss, y_true: np.ndarray, y_pred: np.ndarray) -> None:
    each = [float(loss(y_true[i : i + 1], y_pred[i : i + 1])) for i in range(len(y_true))]
    np.testing.assert_allclose(float(loss(y_true, y_pred)), np.mean(each), rtol=1e-5)


def _weight_zero_is_absence(loss: keras.losses.Loss, y_true: np.ndarray, y_pred: np.ndarray) -> None:
    again = type(loss).from_config({**loss.get_config(), "reduction": "mean_with_sample_weight"})
    weights = np.ones(len(y_true), "float32")
    weights[0] = 0
    np.testing.assert_allclose(
        float(again(y_true, y_pred, sample_weight=weights)), float(again(y_true[1:], y_pred[1:])), rtol=1e-5
    )


def _config_makes_the_loss_again(loss: keras.losses.Loss, y_true: np.ndarray, y_pred: np.ndarray) -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    _require(float(again(y_true, y_pred)) == float(loss(y_true, y_pred)), "another value")
