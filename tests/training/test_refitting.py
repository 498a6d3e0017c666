"""Validation images choose the epoch, and are trained on afterwards."""

import copy
import re
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from networks import small

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.evaluation.page import training
from keras_transfer.graphs import paths
from keras_transfer.training import refitting


@pytest.fixture(scope="module")
def data():
    return kt.data.scenes(
        n=40, image_size=32, validation=0.2, test=0.2, batch_size=8, targets="background"
    )


def model_of(data):
    return kt.build_model(small(), kt.tasks.Classification(data.class_names))


def weights(model):
    return {path: np.asarray(value).copy() for path, value in paths.variables(model).items()}


@pytest.mark.compiled
def test_equals_a_fit_on_all_images_from_the_first_weights(data):
    stage = kt.Stage(epochs=5, train="head", learning_rate=1e-2)
    mine, other = model_of(data), model_of(data)
    other.set_weights(mine.get_weights())
    kept = []

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.append((epoch, self.model.get_weights()))

    options = {"stages": [stage], "seed": 3, "verbose": 0}
    history = kt.fine_tune(mine, data, refit=True, callbacks=[Keep()], **options)
    length = history.record["best_epoch"] + 1
    assert [epoch for epoch, _ in kept] == list(range(5 + length))
    assert history.epoch == [0, 1, 2, 3, 4]
    assert history.record["refit"]["examples"] == 32

    kt.freeze(other, below="*logits")
    other.compile(keras.optimizers.Adam(1e-2), kt.losses.Crossentropy(), metrics=["accuracy"])
    joined = data.joined()
    joined.set_epoch(5)
    other.fit(joined.train, epochs=length, shuffle=False, verbose=0)
    for path, value in weights(other).items():
        np.testing.assert_allclose(weights(mine)[path], value, atol=1e-6, err_msg=path)


def test_a_head_is_solved_for_again_with_the_penalty_that_was_found(data):
    model = model_of(data)
    history = kt.fine_tune(
        model, data, stages=[kt.Stage(solve=True, train="head")], refit=True, seed=0, verbose=0
    )
    assert history.record["refit"]["stages"][0]["solved"]["chosen_by"] == "user"
    other = model_of(data)
    other.set_weights(model.get_weights())
    penalty = {"classification": history.record["stages"][0]["solved"]["strength"]}
    solved = kt.Stage(method=kt.training.SolvedHead(penalty), train="head")
    kt.fine_tune(other, data.joined(), stages=[solved], seed=0, verbose=0)
    for path, value in weights(other).items():
        np.testing.assert_allclose(weights(model)[path], value, atol=1e-6, err_msg=path)


@pytest.mark.parametrize("epoch", [1, 3], ids=["first run", "second run"])
def test_an_interrupted_run_ends_as_the_unbroken_one(epoch, data, tmp_path):
    def stop(number, logs):
        if number == epoch:
            raise KeyboardInterrupt

    start = model_of(data).get_weights()
    found = []
    for resume in (False, True):
        model = model_of(data)
        model.set_weights(start)
        stages = [kt.Stage(epochs=2, train="head", schedule="cosine", learning_rate=1e-2)]
        options = {"stages": stages, "refit": True, "seed": 3, "verbose": 0}
        if resume:
            options["run_dir"] = tmp_path
            stopper = keras.callbacks.LambdaCallback(on_epoch_begin=stop)
            with pytest.raises(KeyboardInterrupt):
                kt.fine_tune(model, data, callbacks=[stopper], **options)
            model.set_weights(start)
        history = kt.fine_tune(model, data, resume=resume, **options)
        record = history.record
        found.append((history.history, history.epoch, record["refit"], record["insight"]))
        found.append(model.get_weights())
        assert len(record["stages"]) == 1
    for kept in (found[0][2], found[2][2]):
        kept["stages"][0].pop("seconds")
    assert found[0] == found[2]
    for one, other in zip(found[1], found[3], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("values", "schedule", "expected"),
    [
        (
            [0.5, 0.6, 0.9, 0.8],
            "constant",
            [2, 1],
        ),  # the best epoch is the first of the second stage
        ([0.5, 0.6, 0.9, 0.8], "cosine", [2, 2]),  # of a falling rate the end counts
        (
            [0.5, 0.9, 0.5, 0.82],
            "cosine",
            [2, 2],
        ),  # 0.08 is less than the standard error of 0.9 of 12, 0.1
        ([0.5, 0.9, 0.5, 0.75], "cosine", [2]),
        ([0.9, 0.8, 0.5, 0.6], "constant", [1]),
    ],
)
def test_how_far(values, schedule, expected, data):
    plan = [
        kt.Stage(epochs=2, train="head"),
        kt.Stage(epochs=2, train="block4*", schedule=schedule),
    ]
    best = SimpleNamespace(
        monitor="val_accuracy", stage=0, epoch=int(np.argmax(values)), value=(-max(values), 0.0)
    )
    history = SimpleNamespace(epoch=[0, 1, 2, 3], history={"val_accuracy": values})
    stages = [{"epochs": [0, 1]}, {"epochs": [2, 3]}]
    repeated = refitting.stages_to_repeat(
        None, plan, stages, history, best, held_out=12, per_epoch=3
    )
    assert [stage.epochs for stage in repeated] == expected


def test_stages_are_as_long_as_they_were():
    """Early stopping needs validation, which is gone; steps are not epochs."""
    plan = [
        kt.Stage(epochs=100, train="head", early_stopping=1),
        kt.Stage(steps=10, train="block4*", schedule="cosine"),
        kt.Stage(steps=10, train="block4*"),
    ]
    stages = [{"epochs": [0, 2]}, {"epochs": [3, 6]}, {"epochs": [7, 10]}]
    best = SimpleNamespace(monitor="val_loss", stage=2, epoch=8, value=(0.1, 0.1))
    repeated = refitting.stages_to_repeat(None, plan, stages, None, best, held_out=12, per_epoch=3)
    assert [(stage.epochs, stage.steps, stage.early_stopping) for stage in repeated] == [
        (3, None, None),
        (None, 10, None),
        (None, 6, None),
    ]


def test_a_report_on_validation_images_is_of_weights_that_never_saw_them(data):
    without = copy.copy(data)
    without.test = None
    found, options = {}, {"stages": [kt.Stage(solve=True, train="head")], "seed": 0, "verbose": 0}
    start = model_of(data).get_weights()
    for refit in (False, True):
        model = model_of(data)
        model.set_weights(start)
        kt.fine_tune(model, without, refit=refit, **options)
        before = model.get_weights()
        found[refit] = kt.evaluate(model, without, verbose=0)
        for one, other in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(one, other)
    for score in ("accuracy", "ece", "confusion"):
        assert found[True][score] == found[False][score]
    assert "measured with the weights before refit" in str(found[True].to_dict()["about"]["notes"])


def test_a_report_on_images_that_were_trained_on_says_so(data, capsys):
    without = kt.data.scenes(
        n=32, image_size=32, validation=0.25, batch_size=8, targets="background"
    )
    model = model_of(data)
    kt.fine_tune(model, without, stages=[kt.Stage(solve=True, train="head")], refit=True, verbose=0)
    record = model.history.record
    model.history = None  # as that of a model that was loaded
    report = kt.evaluate(model, without, history=record)
    assert "images that the model was trained on in the end (refit)" in str(
        report.to_dict()["about"]["notes"]
    )


def test_joined_data_has_every_example_once_and_the_same_test_images(data):
    joined = data.joined()
    assert joined.validation is None
    found = np.concatenate([images.numpy() for images, _ in joined.ordered("train")])
    parts = [
        np.concatenate([images.numpy() for images, _ in data.ordered(name)])
        for name in ("train", "validation")
    ]
    np.testing.assert_array_equal(found, np.concatenate(parts))
    expected = np.concatenate([data.targets["train"], data.targets["validation"]])
    np.testing.assert_array_equal(joined.targets["train"], expected)
    np.testing.assert_array_equal(joined.targets["test"], data.targets["test"])


def test_parts_with_pixels_of_their_own_are_joined(tmp_path):
    draw = np.random.default_rng(0)
    for part, number in (("train", 3), ("held", 2)):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            for at in range(number):
                image = draw.integers(0, 256, (8, 8, 3)).astype("uint8")
                keras.utils.save_img(tmp_path / part / name / f"{at}.png", image)
    data = kt.data.from_folder(tmp_path / "train", validation=tmp_path / "held", image_size=8)
    joined = data.joined()
    found = np.concatenate([images.numpy() for images, _ in joined.ordered("train")])
    parts = [
        np.concatenate([images.numpy() for images, _ in data.ordered(name)])
        for name in ("train", "validation")
    ]
    np.testing.assert_array_equal(found, np.concatenate(parts))
    assert joined.files["train"] == [*data.files["train"], *data.files["validation"]]


@pytest.mark.parametrize(
    ("asked", "is_open", "most", "expected"),
    [
        (None, True, 40, True),
        (None, True, 30, False),
        (None, False, 40, False),
        (False, True, 40, False),
        (True, False, 30, True),
    ],
)
def test_few_images_are_all_trained_on_where_the_recipe_is_open(
    asked, is_open, most, expected, data, monkeypatch
):
    monkeypatch.setattr(refitting, "MANY", most)
    decided = []
    assert refitting.choose(asked, data, is_open=is_open, decided=decided) is expected
    is_told = any("refit=True chosen for 32 images" in line for line in decided)
    assert is_told == (expected and asked is None)


def test_test_images_do_not_change_what_is_trained(data):
    without = copy.copy(data)
    without.test = None
    model = model_of(data)
    start, found = model.get_weights(), []
    for each in (data, without):
        model.set_weights(start)
        history = kt.fine_tune(model, each, plan="head_only", seed=0, verbose=0)
        assert history.record["refit"]["examples"] == 32
        found.append(model.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_callbacks_that_watch_validation_work_in_both_runs(data, tmp_path, capsys):
    """The second run is as long as early stopping let the first one be, and the file has its weights."""
    file = tmp_path / "best.keras"
    callbacks = [
        keras.callbacks.EarlyStopping("val_loss", patience=0, min_delta=100.0),
        keras.callbacks.ModelCheckpoint(file, save_best_only=True),
    ]
    model = model_of(data)
    stages = [kt.Stage(epochs=4, train="head", schedule="cosine")]
    history = kt.fine_tune(model, data, stages=stages, refit=True, callbacks=callbacks)
    record, shown = history.record, capsys.readouterr().out
    assert history.epoch == [0, 1]
    assert record["refit"]["stages"][0]["epochs"] == [2, 3]
    told = (
        r"Retraining from the start on training \+ validation images \(32\), about \d+ s; skip with"
    )
    assert re.search(told, shown)
    assert "EarlyStopping is left out, because val_loss is not measured here." in record["notes"]

    other = kt.load_model(file)
    for path, value in weights(model).items():
        np.testing.assert_array_equal(weights(other)[path], value, err_msg=path)
    assert callbacks[1].save_best_only


def test_a_checkpoint_named_after_validation_is_left_out():
    told = []
    callback = keras.callbacks.ModelCheckpoint("{val_loss:.2f}.keras")
    with refitting.without_validation([[callback]], told.append) as kept:
        assert kept == []
    assert told == ["ModelCheckpoint is left out: its file name needs a validation value."]


def test_the_report_shows_both_runs(data):
    model = model_of(data)
    stages = [kt.Stage(epochs=2, train="head", schedule="cosine")]
    kt.fine_tune(model, data, stages=stages, refit=True, verbose=0)
    about = kt.evaluate(model, data, verbose=0).to_dict()["about"]
    assert about["epochs"] == [0, 1, 2, 3]
    assert all(len(values) == 4 for values in about["history"].values())
    assert about["history"]["val_accuracy"][2:] == [None, None]
    second = about["training"]["refit"]
    assert about["history"]["loss"][2:] == second["history"]["loss"]
    assert [entry["epoch"] for entry in second["insight"]] == [2, 3]

    page = training.part(about, {})
    assert "<td>head, all images</td>" in page
    assert "in the model, epoch 4" in page


def test_replaced_batches_cannot_be_joined_with_validation_images():
    data = kt.data.scenes(n=40, image_size=32, test=0.2, validation=0.2)
    data.train = data.train.map(lambda images, targets: (images, targets))
    with pytest.raises(checks.InputError, match="Leave `data.train` as kt.data made it"):
        refitting.choose(True, data, is_open=True, decided=[])


def test_without_validation_there_is_nothing_to_add(data):
    with pytest.raises(
        checks.InputError, match="`refit` must have data from kt.data with a validation part"
    ):
        kt.fine_tune(model_of(data), data.train, epochs=(1, 1), refit=True, verbose=0)
    with pytest.raises(checks.InputError, match="`refit` must be True, False or None"):
        kt.fine_tune(model_of(data), data, epochs=(1, 1), refit="yes", verbose=0)
