"""Which epoch is the best one, for one task and for several."""

import keras
import numpy as np
import pytest
from networks import small

import keras_transfer as kt
from keras_transfer.training.run import criteria

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 16, 16, 3), dtype="uint8")
KIND, AGE = np.arange(20) % 3, RNG.normal(5, 2, 20).astype("float32")


def model_of(*names, **options):
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, strides=4, name="block1_conv")(image)
    tasks = {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}
    trunk = kt.backbone(keras.Model(image, x, name="small"), preprocess="tf")
    return kt.build_model(trunk, {name: tasks[name] for name in names or tasks}, **options)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (kt.tasks.Classification(3), "val_accuracy"),
        (kt.tasks.Regression(), "val_loss"),
        ({"kind": kt.tasks.Classification(3)}, "val_accuracy"),
        ({"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}, "val_error"),
    ],
)
def test_what_is_watched(task, expected):
    assert criteria.monitor(kt.build_model(small(), task)) == expected


def test_numbers_of_several_tasks_are_explained_where_they_are_logged(capsys):
    model = model_of(balancing="uncertainty")
    lines = criteria.explain_logs(model)
    assert len(lines) == 2
    assert lines[0].startswith("val_error is the geometric mean of the tasks' errors")
    assert lines[1].startswith(
        "kind_factor, age_factor: what Uncertainty multiplied a task's loss by"
    )
    data = kt.data.from_arrays(PIXELS, {"kind": KIND, "age": AGE}, image_size=16)
    history = kt.fine_tune(model, data, stages=[kt.Stage(epochs=1)], verbose=2)
    assert {"val_error", "kind_factor", "age_factor"} <= set(history.history)
    printed = capsys.readouterr().out
    assert all(f"keras_transfer: {line}\n" in printed for line in lines)
    assert criteria.explain_logs(model_of("kind")) == []


def test_losses_of_ones_own_are_summed_as_they_say():
    model = model_of()
    model.compile("sgd", {"kind": "sparse_categorical_crossentropy", "age": "mse"})
    assert criteria.monitor(model) == "val_loss"


def test_error_by_hand():
    model = model_of()
    logs = {"val_loss": 9.0, "val_kind_accuracy": 0.75, "val_kind_loss": 8.0, "val_age_loss": 4.0}
    criteria.add_error(model, logs)
    assert logs["val_error"] == pytest.approx(np.sqrt(0.26 * 4.0))
    kt.compile(model, balancing={"age": 0.0})
    criteria.add_error(model, logs)
    assert logs["val_error"] == pytest.approx(0.26)


def test_a_task_that_a_balancer_leaves_out_does_not_count():
    logs = {"val_loss": 9.0, "val_kind_accuracy": 0.75, "val_kind_loss": 8.0, "val_age_loss": 4.0}
    criteria.add_error(model_of(balancing=kt.balancing.Fixed([1, 0])), logs)
    assert logs["val_error"] == pytest.approx(0.26)


def test_without_validation_there_is_none():
    logs = {"loss": 1.0}
    criteria.add_error(model_of(), logs)
    assert logs == {"loss": 1.0}


@pytest.mark.parametrize("balancing", [None, "uncertainty"])
@pytest.mark.parametrize("solve", [False, True])
def test_the_epoch_with_the_lowest_error_stays(balancing, solve):
    """Each epoch's weights are kept aside; those with the lowest error are in the model, and early stopping sees it."""
    keras.utils.set_random_seed(0)
    model = model_of(balancing=balancing)
    data = kt.data.from_arrays(
        PIXELS, {"kind": KIND, "age": AGE}, validation=0.4, batch_size=4, seed=0
    )
    kept = {}
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: kept.update({epoch: model.get_weights()})
    )
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(logs["val_error"])
    )
    stages = [kt.Stage(epochs=4, train="all", learning_rate=0.05)]
    stages = [kt.Stage(train="head", solve=True), *stages] if solve else stages
    history = kt.fine_tune(
        model, data, stages=stages, callbacks=[keep, watch], cache="off", seed=0, verbose=0
    )
    errors = history.history["val_error"]
    accuracy = np.array(history.history["val_kind_accuracy"])
    expected = np.sqrt((1.01 - accuracy) * np.array(history.history["val_age_loss"]))
    np.testing.assert_allclose(errors, expected, rtol=1e-5)
    assert errors == pytest.approx(seen)
    best = history.epoch[int(np.argmin(errors))]
    if solve and history.record["stages"][0]["measured"]["val_error"] < min(errors):
        best = None
    assert history.record["monitor"] == "val_error"
    assert history.record["best_epoch"] == best
    if best in kept:
        for mine, theirs in zip(model.get_weights(), kept[best], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_a_task_names_the_metric_that_judges_it():
    class Hits(kt.tasks.Classification):
        monitor = "top_hits"

        def metrics(self):
            return [keras.metrics.SparseTopKCategoricalAccuracy(k=2, name="top_hits")]

    model = kt.build_model(small(), Hits(3))
    assert criteria.monitor(model) == "val_top_hits"
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    assert criteria.monitor(model) == "val_loss"


def test_a_task_whose_loss_tells_too_little_leaves_the_last_epoch():
    boxes = kt.tasks.Detection(2, width=4, depth=0)
    for task in (boxes, {"boxes": boxes, "kind": kt.tasks.Classification(2)}):
        model = kt.build_model(kt.backbone("tiny", weights=None), task)
        assert criteria.monitor(model) is None
