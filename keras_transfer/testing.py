"""Contract checks: what every backbone, task, layer, loss and balancer must do, also those of other people.

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
from keras_transfer.graphs import paths

__all__ = ["check_backbone", "check_balancer", "check_layer", "check_loss", "check_task"]


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
    return {
        path: keras.ops.convert_to_numpy(variable)
        for path, variable in paths.variables(model).items()
    }


def _reloaded(model: keras.Model) -> keras.Model:
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "model.keras"
        model.save(file)
        return kt.load_model(file, trust=True)


def _pixels(model: keras.Model, count: int = 4) -> np.ndarray:
    height, width, channels = (side or 64 for side in model.input_shape[1:])
    return np.random.default_rng(0).integers(
        0, 256, (count, height, width, channels), dtype="uint8"
    )


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
        backbone.predict(pixels[::-1], verbose=0),
        backbone.predict(pixels, verbose=0)[::-1],
        rtol=1e-4,
        atol=1e-4,
    )


def _blocks_hold_every_layer_once(backbone: keras.Model) -> None:
    listed = [path for block in kt.models.blocks(backbone) for path in block.layers]
    mark = kt.models.representation(backbone)
    trunk = [path for path, layer in paths.leaves(backbone).items() if layer is not mark]
    _require(
        sorted(listed) == sorted(trunk), f"{set(trunk) ^ set(listed)} not in exactly one block"
    )


def _levels_are_in_the_graph(backbone: keras.Model) -> None:
    names = {operation.name for operation in backbone.operations}
    _require(set(backbone.levels.values()) <= names, f"{backbone.levels}")


def _calibrate(backbone: keras.Model) -> None:
    """Sets batch-norm statistics to those of some images: random weights would let the signal vanish."""
    norms = [
        layer
        for layer in paths.leaves(backbone).values()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
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
    _require(
        moved == {"classification_logits/kernel", "classification_logits/bias"},
        f"moved: {sorted(moved)}",
    )


def _what_is_thawed_moves_and_nothing_else(backbone: keras.Model) -> None:
    able = set(kt.unfreeze(backbone))
    blocks = [block.name for block in kt.models.blocks(backbone) if able & set(block.layers)]
    model, before, after = _trained(backbone, blocks[-1] if blocks else "all")
    moved = _moved(before, after)
    names = {id(variable): path for path, variable in paths.variables(model).items()}
    expected = {names[id(variable)] for variable in model.trainable_variables}
    _require(moved <= expected, f"moved although frozen: {sorted(moved - expected)}")
    thawed = moved - {"classification_logits/kernel", "classification_logits/bias"}
    _require(
        bool(thawed) == bool(blocks), "nothing thawed moved"
    )  # a trunk may have nothing that can train


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
    _require(
        type(again) is type(task) and again.get_config() == task.get_config(),
        f"{again.get_config()}",
    )


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
    scores = task.measure(
        task.encode(targets), model.predict(_pixels(model, len(targets)), verbose=0)
    )
    _require(bool(scores) and json.loads(json.dumps(scores)) == scores, "not plain values")


def _a_model_with_it_reloads_equal(task: object, targets: np.ndarray) -> None:
    model = _task_model(task)
    _reloads_equal(model)
    again = next(iter(kt.models.outputs(_reloaded(model)).values())).task
    _require(again.get_config() == task.get_config(), f"{again.get_config()}")


def check_layer(layer: keras.layers.Layer, inputs: np.ndarray) -> None:
    """Checks a layer: shapes it announces, its config, equal answers after it is made again.

    Example:
        >>> check_layer(kt.layers.Preprocess("tf"), np.zeros((2, 4, 4, 3), "float32"))
    """
    _run((_announces_its_shape, _config_makes_the_layer_again), layer, inputs)


def _announces_its_shape(layer: keras.layers.Layer, inputs: np.ndarray) -> None:
    _require(
        tuple(layer.compute_output_shape(inputs.shape)) == tuple(layer(inputs).shape),
        "another shape came out",
    )


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
    _run(
        (_is_the_mean_of_the_examples, _weight_zero_is_absence, _config_makes_the_loss_again),
        loss,
        y_true,
        y_pred,
    )


def _is_the_mean_of_the_examples(
    loss: keras.losses.Loss, y_true: np.ndarray, y_pred: np.ndarray
) -> None:
    each = [float(loss(y_true[i : i + 1], y_pred[i : i + 1])) for i in range(len(y_true))]
    np.testing.assert_allclose(float(loss(y_true, y_pred)), np.mean(each), rtol=1e-5)


def _weight_zero_is_absence(
    loss: keras.losses.Loss, y_true: np.ndarray, y_pred: np.ndarray
) -> None:
    again = type(loss).from_config({**loss.get_config(), "reduction": "mean_with_sample_weight"})
    weights = np.ones(len(y_true), "float32")
    weights[0] = 0
    np.testing.assert_allclose(
        float(again(y_true, y_pred, sample_weight=weights)),
        float(again(y_true[1:], y_pred[1:])),
        rtol=1e-5,
    )


def _config_makes_the_loss_again(
    loss: keras.losses.Loss, y_true: np.ndarray, y_pred: np.ndarray
) -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    _require(float(again(y_true, y_pred)) == float(loss(y_true, y_pred)), "another value")


def check_balancer(balancer: kt.balancing.Balancer, tasks: int = 3) -> None:
    """Checks a balancer that treats all tasks alike: unknown tasks, scale, order, graph mode, its config.

    Args:
        balancer: Of either kind.
        tasks: How many it is tried with, at least 2.

    Raises:
        AssertionError: If it breaks the contract.

    Example:
        >>> check_balancer(kt.balancing.Uncertainty(rate=0.1))
    """
    _run(
        (
            _config_makes_the_balancer_again,
            _answers_one_finite_float32_a_task,
            _state_keeps_its_form,
            _unknown_tasks_have_no_say,
            _nothing_known_changes_nothing,
            _a_task_that_is_not_a_number_is_not_remembered,
            _a_task_alone_gets_1,
            _a_common_scale_of_gradients_changes_nothing,
            _other_order_same_answers,
            _graphs_answer_as_eager_and_are_traced_once,
        ),
        balancer,
        tasks,
    )


def _balancing_problem(tasks: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inner products of random gradients, of different lengths, and losses."""
    rng = np.random.default_rng(seed)
    gradients = rng.normal(size=(tasks, tasks + 1)) * rng.uniform(0.3, 3.0, (tasks, 1))
    return (gradients @ gradients.T).astype("float32"), rng.uniform(0.3, 3.0, tasks).astype(
        "float32"
    )


def _balanced(balancer: object, gram: object, losses: object, known: object, state: dict) -> tuple:
    if balancer.kind == "losses":
        return balancer.weights(losses, known, state)
    return balancer.coefficients(gram, losses, known, state)


def _balanced_values(
    balancer: object, gram: object, losses: object, known: object, state: dict
) -> tuple:
    found, new = _balanced(balancer, gram, losses, known, state)
    return np.array(found), {name: np.array(value) for name, value in new.items()}


def _later_state(balancer: object, tasks: int) -> dict:
    """After some steps, so that it says something."""
    state = balancer.initial(tasks)
    for seed in range(1, 5):
        _, state = _balanced_values(
            balancer, *_balancing_problem(tasks, seed), np.ones(tasks, bool), state
        )
    return state


def _state_of(state: dict, at: np.ndarray) -> dict:
    """The part of some tasks, in the order given."""
    return {
        name: value[np.ix_(*[at] * value.ndim)] if value.ndim else value
        for name, value in state.items()
    }


def _subsets(tasks: int) -> list[np.ndarray]:
    """Which tasks are known: all but one, and one alone."""
    alone = np.eye(tasks, dtype=bool)
    return [*alone, *~alone]


def _close(found: object, expected: object, message: str) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=message)


def _config_makes_the_balancer_again(balancer: object, tasks: int) -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(balancer))
    _require(
        type(again) is type(balancer) and again.get_config() == balancer.get_config(),
        f"{again.get_config()}",
    )
    arguments = (*_balancing_problem(tasks), np.ones(tasks, bool), balancer.initial(tasks))
    np.testing.assert_array_equal(
        _balanced_values(again, *arguments)[0], _balanced_values(balancer, *arguments)[0]
    )


def _answers_one_finite_float32_a_task(balancer: object, tasks: int) -> None:
    for scale in (1e-3, 1.0, 1e3):
        gram, losses = _balancing_problem(tasks)
        every = np.ones(tasks, bool)
        found, _ = _balanced_values(balancer, gram, scale * losses, every, balancer.initial(tasks))
        _require(
            found.shape == (tasks,) and found.dtype == "float32",
            f"{found.dtype} of shape {found.shape}",
        )
        _require(np.isfinite(found).all(), f"{found}")


def _state_keeps_its_form(balancer: object, tasks: int) -> None:
    before = balancer.initial(tasks)
    after = _later_state(balancer, tasks)
    form = {name: (value.shape, value.dtype) for name, value in before.items()}
    _require(form == {name: (value.shape, value.dtype) for name, value in after.items()}, f"{form}")
    _require(
        all(set(shape) <= {tasks} and len(shape) <= 2 for shape, _ in form.values()), f"{form}"
    )


def _unknown_tasks_have_no_say(balancer: object, tasks: int) -> None:
    state = _later_state(balancer, tasks)
    for known in _subsets(tasks):
        at = np.flatnonzero(known)
        gram, losses = _balancing_problem(tasks)
        expected, expected_state = _balanced_values(
            balancer, gram[np.ix_(at, at)], losses[at], np.ones(len(at), bool), _state_of(state, at)
        )
        for nothing in (0.0, np.nan, np.inf, 1e30):
            gram[~known], gram[:, ~known], losses[~known] = nothing, nothing, nothing
            found, new = _balanced_values(balancer, gram, losses, known, state)
            _close(found[known], expected, f"beside unknown tasks with {nothing}")
            _require(not found[~known].any(), f"unknown tasks get {found[~known]}, not 0")
            for name, value in _state_of(new, at).items():
                _close(
                    value,
                    expected_state[name],
                    f"state {name!r} beside unknown tasks with {nothing}",
                )
            for name, value in new.items():
                if value.ndim:
                    of_known = np.ix_(*[known] * value.ndim)
                    value[of_known] = state[name][of_known]
                    np.testing.assert_array_equal(
                        value, state[name], f"state {name!r} of unknown tasks"
                    )


def _nothing_known_changes_nothing(balancer: object, tasks: int) -> None:
    state = _later_state(balancer, tasks)
    gram, losses = np.full((tasks, tasks), np.nan, "float32"), np.full(tasks, np.nan, "float32")
    found, new = _balanced_values(balancer, gram, losses, np.zeros(tasks, bool), state)
    _require(not found.any(), f"{found}")
    for name, value in new.items():
        np.testing.assert_array_equal(value, state[name], f"state {name!r}")


def _a_task_that_is_not_a_number_is_not_remembered(balancer: object, tasks: int) -> None:
    state = _later_state(balancer, tasks)
    gram, losses = _balancing_problem(tasks)
    gram[0], gram[:, 0], losses[0] = np.inf, np.inf, np.nan
    found, new = _balanced_values(balancer, gram, losses, np.ones(tasks, bool), state)
    _require(np.isfinite(found).all(), f"{found}")
    _require(all(np.isfinite(value).all() for value in new.values()), f"{new}")


def _a_task_alone_gets_1(balancer: object, tasks: int) -> None:
    if balancer.own_scale:
        return
    for known in np.eye(tasks, dtype=bool):
        found, _ = _balanced_values(
            balancer, *_balancing_problem(tasks), known, _later_state(balancer, tasks)
        )
        _close(found, known, "one task alone")


def _a_common_scale_of_gradients_changes_nothing(balancer: object, tasks: int) -> None:
    state = _later_state(balancer, tasks)
    gram, losses = _balancing_problem(tasks)
    every = np.ones(tasks, bool)
    expected, expected_state = _balanced_values(balancer, gram, losses, every, state)
    for scale in (2.0**-10, 3.0, 2.0**15):
        found, new = _balanced_values(
            balancer, (gram * scale**2).astype("float32"), losses, every, state
        )
        _close(found, expected, f"gradients times {scale:g}")
        for name, value in new.items():
            _close(value, expected_state[name], f"state {name!r}, gradients times {scale:g}")


def _other_order_same_answers(balancer: object, tasks: int) -> None:
    state = _later_state(balancer, tasks)
    if "step" in state:  # the order is drawn
        return
    gram, losses = _balancing_problem(tasks)
    every = np.ones(tasks, bool)
    order = np.roll(np.arange(tasks), 1)
    expected, _ = _balanced_values(balancer, gram, losses, every, state)
    found, _ = _balanced_values(
        balancer, gram[np.ix_(order, order)], losses[order], every, _state_of(state, order)
    )
    _close(found, expected[order], f"order {order}")


def _graphs_answer_as_eager_and_are_traced_once(balancer: object, tasks: int) -> None:
    """Also when compiled, as Keras does where it can."""
    import tensorflow as tf

    def step(gram: object, losses: object, known: object, state: dict) -> tuple:
        return _balanced(balancer, gram, losses, known, state)

    for compiled in (False, True):
        function = tf.function(step, jit_compile=compiled)
        state = eager = {
            name: tf.constant(value) for name, value in balancer.initial(tasks).items()
        }
        for seed, known in enumerate([np.ones(tasks, bool), *_subsets(tasks)]):
            gram, losses = (tf.constant(value) for value in _balancing_problem(tasks, seed))
            found, state = function(gram, losses, tf.constant(known), state)
            expected, eager = _balanced(balancer, gram, losses, known, eager)
            _close(found, expected, f"step {seed}, compiled: {compiled}")
        _require(
            function.experimental_get_tracing_count() == 1,
            f"{function.experimental_get_tracing_count()} traces",
        )
