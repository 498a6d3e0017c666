import csv
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import small

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.training.methods import solved_head

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (24, 32, 32, 3), dtype="uint8")
LABELS = np.arange(24) % 3


@pytest.fixture
def data():
    return kt.data.from_arrays(PIXELS, LABELS, validation=0.25, batch_size=6, seed=0)


def model_of(task=None):
    keras.utils.set_random_seed(0)
    return kt.build_model(small(), task or kt.tasks.Classification(3))


def weights(model):
    return {
        path: keras.ops.convert_to_numpy(variable)
        for path, variable in paths.variables(model).items()
    }


def test_one_history_over_both_stages(data, tmp_path):
    history = kt.fine_tune(
        model := model_of(), data, epochs=(2, 3), unfreeze="block4*", run_dir=tmp_path, verbose=0
    )
    assert history.epoch == [0, 1, 2, 3, 4]
    assert all(len(values) == 5 for values in history.history.values())
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(history.history)
    assert model.history is history
    stages = history.record["stages"]
    assert [stage["epochs"] for stage in stages] == [[0, 1], [2, 4]]
    assert stages[0]["trained_layers"] == ["classification_logits"]
    assert stages[1]["trained_layers"] == ["block4_conv", "classification_logits"]
    assert (
        stages[0]["trainable_parameters"] + stages[0]["frozen_parameters"] == model.count_params()
    )
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "finished"
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 6


@pytest.mark.compiled
def test_equals_two_fits_by_hand(data):
    """The definition, written out: freeze, compile, fit; thaw, compile, fit."""
    ours = model_of()
    kt.fine_tune(
        ours, data, epochs=(1, 1), unfreeze="block4*", learning_rate=(1e-2, 1e-3), verbose=0
    )
    data.set_epoch(0)
    by_hand = model_of()
    layers = by_hand.layers
    start = [layer.name for layer in layers].index("block4_conv")
    ranks, values = [], []
    for trained, rate in (
        ({"classification_logits"}, 1e-2),
        ({"block4_conv", "classification_logits"}, 1e-3),
    ):
        for layer in layers:
            layer.trainable = layer.name in trained
        by_hand.compile(
            keras.optimizers.Adam(rate),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            jit_compile=False,
        )
        history = by_hand.fit(data.train, validation_data=data.validation, shuffle=False, verbose=0)
        ranks += [(-history.history["val_accuracy"][0], history.history["val_loss"][0])]
        values.append(by_hand.get_weights())
    assert start > 0
    for ours_value, expected in zip(
        ours.get_weights(), values[ranks.index(min(ranks))], strict=True
    ):
        np.testing.assert_array_equal(ours_value, expected)


def test_the_best_epoch_is_in_the_model(data):
    """A rate that ruins the second stage must not cost the first one's result."""
    model = model_of()
    history = kt.fine_tune(
        model, data, epochs=(3, 2), unfreeze="all", learning_rate=(1e-3, 10.0), verbose=0
    )
    curves = history.history
    ranks = [
        (-accuracy, loss)
        for accuracy, loss in zip(curves["val_accuracy"], curves["val_loss"], strict=True)
    ]
    best = ranks.index(min(ranks))
    assert history.record["best_epoch"] == best < 3
    values = model.evaluate(data.validation, verbose=0, return_dict=True)
    np.testing.assert_allclose((-values["accuracy"], values["loss"]), ranks[best], rtol=1e-5)


def test_numbers_and_several_tasks_are_ranked_by_their_loss():
    values = np.linspace(0, 100, 24).astype("float32")
    data = kt.data.from_arrays(PIXELS, values, validation=0.25, batch_size=6)
    history = kt.fine_tune(model_of(kt.tasks.Regression()), data, epochs=(2, 1), verbose=0)
    assert history.record["monitor"] == "val_loss"
    assert history.record["best_epoch"] == int(np.argmin(history.history["val_loss"]))


def test_without_validation_the_last_epoch_stays():
    data = kt.data.from_arrays(PIXELS, LABELS, validation=0, batch_size=6)
    history = kt.fine_tune(model_of(), data, epochs=(1, 1), verbose=0)
    assert history.record["best_epoch"] == 1
    assert "No validation data" in history.record["notes"][-1]


@pytest.mark.compiled
def test_equal_seeds_give_equal_weights():
    results = []
    for _ in range(2):
        data = kt.data.from_arrays(PIXELS, LABELS, validation=0.25, batch_size=6, seed=3)
        model = model_of(kt.tasks.Classification(3, dropout=0.5))
        kt.fine_tune(model, data, epochs=(1, 1), seed=7, verbose=0)
        results.append(weights(model))
    for path, value in results[0].items():
        np.testing.assert_array_equal(value, results[1][path], err_msg=path)


def test_a_plan_of_ones_own(data):
    plan = [
        kt.Stage(epochs=1, train="head", learning_rate=1e-2, optimizer="sgd", name="warm-up"),
        kt.Stage(epochs=1, train="block4*"),
        kt.Stage(
            epochs=1,
            train="all",
            learning_rate=keras.optimizers.schedules.CosineDecay(1e-3, 3),
            batch_norm="train",
        ),
    ]
    history = kt.fine_tune(model_of(), data, stages=plan, verbose=0)
    assert [stage["name"] for stage in history.record["stages"]] == ["warm-up", "block4*", "all"]
    assert history.epoch == [0, 1, 2]


def test_several_tasks_with_units_and_balanced_classes():
    targets = {
        "kind": np.array([0] * 18 + [1] * 6),
        "age": np.linspace(100, 200, 24).astype("float32"),
    }
    data = kt.data.from_arrays(PIXELS, targets, validation=0.25, batch_size=6)
    model = model_of(
        {"kind": kt.tasks.Classification(2, class_weights="balanced"), "age": kt.tasks.Regression()}
    )
    history = kt.fine_tune(model, data, epochs=(1, 1), verbose=0)
    assert {"val_kind_accuracy", "val_age_mae"} <= set(history.history)
    counts = np.bincount(data.targets["train"]["kind"])
    expected = counts.sum() / (2 * counts)
    np.testing.assert_allclose(model.loss["kind"].class_weights, expected)
    assert 100 < model.predict(PIXELS, verbose=0)["age"].mean() < 200


@pytest.mark.parametrize(
    "stage", [kt.Stage(solve=True, train="head"), kt.Stage(epochs=1, lora=2)], ids=["solve", "lora"]
)
def test_a_settled_loss_is_in_the_model_after_stages_of_every_kind(stage, data):
    model = model_of(kt.tasks.Classification(3, class_weights="balanced"))
    kt.fine_tune(model, data, stages=[stage], verbose=0)
    assert len(model.loss.class_weights) == 3
    assert np.isfinite(model.evaluate(data.validation, verbose=0)[0])


def test_a_head_that_is_solved_for_last_is_no_epoch():
    shades = (PIXELS // 3 + 80 * LABELS[:, None, None, None]).astype("uint8")
    easy = kt.data.from_arrays(shades, LABELS, validation=0.25, batch_size=6, seed=0)
    plan = [
        kt.Stage(epochs=1, train="head", learning_rate=1e-9),
        kt.Stage(solve=True, train="head"),
    ]
    history = kt.fine_tune(model_of(), easy, stages=plan, seed=0, verbose=0)
    assert history.epoch == [0]
    solved = history.record["stages"][1]
    assert history.history["val_accuracy"][0] < solved["measured"]["val_accuracy"] == 1.0
    assert (history.record["best_epoch"], history.record["best_stage"]) == (None, 1)
    assert "epochs" not in solved
    assert history.record["notes"][-1].startswith("The solved head is the best (val_accuracy 1.0")


def test_a_head_alone_is_fitted_on_features_that_are_computed_once(monkeypatch):
    colours = kt.data.from_arrays(PIXELS, LABELS, validation=0.25, batch_size=6, seed=0)
    solved = kt.fine_tune(model_of(), colours, plan="head_only", verbose=0)
    assert [stage.get("epochs") for stage in solved.record["stages"]] == [None]
    assert solved.record["stages"][0]["solved"]["chosen_by"] == "validation and 5 folds"

    monkeypatch.setattr(solved_head, "FEW", 17)  # of 18 images
    many = kt.fine_tune(model_of(), colours, plan="head_only", verbose=0)
    assert many.record["stages"][0]["solved"]["chosen_by"] == "validation"

    hidden = model_of(kt.tasks.Classification(3, hidden=[4]))
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(hidden, "stop_training", True)
    )
    trained = kt.fine_tune(hidden, colours, plan="head_only", callbacks=[stop], verbose=0)
    assert trained.epoch == [0]
    assert [facts["of"] for facts in trained.record["cache"]] == ["images"]
    asked = kt.fine_tune(model_of(), colours, plan="head_only", epochs=1, verbose=0)
    assert asked.epoch == [0]


def test_epochs_have_one_numbering_and_lists_one_length(data, tmp_path, capsys):
    """In the history, in files, on the screen: the head, which is solved for, takes none."""

    class Late(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                logs["late"] = 0.5

    options = {"unfreeze": "block4*", "callbacks": [Late()], "run_dir": tmp_path, "verbose": 2}
    history = kt.fine_tune(model_of(), data, plan="lp_ft", epochs=3, **options)
    assert history.epoch == [0, 1, 2]
    assert {name: len(values) for name, values in history.history.items()} == dict.fromkeys(
        ["accuracy", "loss", "val_accuracy", "val_loss", "late"], 3
    )
    np.testing.assert_array_equal(history.history["late"], [np.nan, 0.5, np.nan])

    record = json.loads((tmp_path / "run.json").read_text())
    assert [stage.get("epochs") for stage in record["stages"]] == [None, [0, 2]]
    assert [entry["epoch"] for entry in record["insight"]] == history.epoch
    rows = csv.DictReader((tmp_path / "results.csv").read_text().splitlines())
    assert [int(row["epoch"]) for row in rows] == history.epoch
    shown = capsys.readouterr().out.splitlines()
    assert [line for line in shown if line.startswith("Epoch ")][:3] == [
        "Epoch 1/3",
        "Epoch 2/3",
        "Epoch 3/3",
    ]
    about = kt.evaluate(model_of(), data, history=record, verbose=0).to_dict()["about"]
    assert about["epochs"] == history.epoch


def test_without_an_accuracy_the_loss_chooses(data):
    model = model_of()
    model.compile("adam", model.loss)
    history = kt.fine_tune(model, data, epochs=(2, 2), verbose=0)
    assert history.record["monitor"] == "val_loss"
    assert history.record["best_epoch"] == int(np.argmin(history.history["val_loss"]))


def test_weighted_examples_are_trained_on_not_solved_for(data):
    weighted = data.train.map(
        lambda images, labels: (images, labels, 2.0 * tf.ones(tf.shape(labels)))
    )
    with pytest.raises(
        checks.InputError, match="a head must be trained where examples have weights"
    ):
        kt.fine_tune(model_of(), weighted, stages=[kt.Stage(solve=True, train="head")], verbose=0)
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    model = model_of()
    with pytest.raises(KeyboardInterrupt):
        kt.fine_tune(
            model, weighted, callbacks=[stop], verbose=0
        )  # in an epoch: nothing was solved for before


def test_weights_of_0_and_1_are_missing_labels_and_solved_with(data):
    masked = data.train.map(lambda images, labels: (images, labels, tf.ones(tf.shape(labels))))
    history = kt.fine_tune(
        model_of(), masked, stages=[kt.Stage(solve=True, train="head")], verbose=0
    )
    assert history.record["stages"][0]["solved"]["strength"] > 0


def test_early_stopping_without_validation_is_said(data):
    stage = kt.Stage(epochs=2, train="head", early_stopping=1)
    history = kt.fine_tune(model_of(), data.train, stages=[stage], verbose=0)
    assert any("No early stopping" in line for line in history.record["notes"])
    with pytest.raises(
        checks.InputError, match="`early_stopping's mode` must be one of 'min', 'max'"
    ):
        kt.Stage(epochs=2, early_stopping={"mode": "maximum"})


def test_a_users_own_model_and_dataset():
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="conv")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="out")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    dataset = tf.data.Dataset.from_tensor_slices((PIXELS.astype("float32"), LABELS)).batch(8)
    history = kt.fine_tune(model, (dataset, dataset), epochs=(1, 1), verbose=0)
    assert [stage["trained_layers"] for stage in history.record["stages"]] == [
        ["out"],
        ["conv", "out"],
    ]


@pytest.mark.compiled
def test_mixed_precision(data):
    keras.mixed_precision.set_global_policy("mixed_float16")
    history = kt.fine_tune(model_of(), data, epochs=(1, 1), verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_decisions_are_printed_and_recorded(data, capsys):
    history = kt.fine_tune(model_of(), data, epochs=(1, 1), verbose=2)
    printed = capsys.readouterr().out
    for note in history.record["notes"][len(data.notes) :]:
        assert f"keras_transfer: {note}" in printed
    assert "Stage 1 of 2 (head): " in printed
    assert "is the best" in printed


def test_silence(data, capsys):
    kt.fine_tune(model_of(), data, epochs=(1, 1), verbose=0)
    assert capsys.readouterr().out == ""


def test_a_full_disk_costs_notes_not_the_run(data, tmp_path, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.savez", full)
    monkeypatch.setattr("pathlib.Path.write_text", full)
    monkeypatch.setattr("pathlib.Path.open", full)
    history = kt.fine_tune(model_of(), data, epochs=(1, 1), run_dir=tmp_path, verbose=0)
    printed = capsys.readouterr().out
    for what in ("The best weights", "Epoch 1", "The run record"):
        assert f"{what} could not be written" in printed
    assert history.epoch == [0, 1]
    assert list(tmp_path.iterdir()) == []


def test_best_weights_are_on_disk(data, tmp_path):
    model = model_of()
    kt.fine_tune(model, data, epochs=(2, 1), run_dir=tmp_path, verbose=0)
    again = model_of()
    kt.training.load_best(again, tmp_path)
    for path, value in weights(again).items():
        np.testing.assert_array_equal(value, weights(model)[path])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "args.yaml",
        "best.npz",
        "results.csv",
        "run.json",
        "train_batch0.png",
    ]
    with pytest.raises(checks.InputError, match="of a run of this model"):
        kt.training.load_best(model_of(kt.tasks.Classification(4)), tmp_path)


def test_an_interrupted_run_keeps_what_was_finished(data, tmp_path):
    def stop(epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt

    stopper = keras.callbacks.LambdaCallback(on_epoch_begin=stop)
    with pytest.raises(KeyboardInterrupt):
        kt.fine_tune(
            model_of(), data, epochs=(2, 2), run_dir=tmp_path, callbacks=[stopper], verbose=0
        )
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["status"] == "interrupted"
    assert [stage["epochs"] for stage in record["stages"]] == [[0, 1]]
    assert len(record["history"]["val_loss"]) == 2
    kt.training.load_best(model_of(), tmp_path)
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 3


def test_a_loss_that_is_never_a_number_is_said(data, tmp_path):
    model = kt.build_model(
        kt.backbone("tiny", weights=None), kt.tasks.Classification(3)
    )  # wide enough to overflow
    history = kt.fine_tune(
        model, data, epochs=(1, 1), learning_rate=(1e38, 1e38), run_dir=tmp_path, verbose=0
    )
    assert "never a number" in history.record["notes"][-1]
    record = json.loads(
        (tmp_path / "run.json").read_text(), parse_constant=lambda name: pytest.fail(name)
    )
    assert record["status"] == "finished"
    assert record["history"]["val_loss"] == [None, None]


def test_a_callback_may_end_a_stage_early(data):
    early = keras.callbacks.EarlyStopping(monitor="loss", patience=0, min_delta=100.0)
    history = kt.fine_tune(model_of(), data, epochs=(5, 4), callbacks=[early], verbose=0)
    assert history.epoch == [0, 1, 2, 3]
    assert [stage["epochs"] for stage in history.record["stages"]] == [[0, 1], [2, 3]]
    assert history.record["best_epoch"] in history.epoch


SEEDED = """
import keras, numpy as np, tensorflow as tf, keras_transfer as kt
tf.config.run_functions_eagerly(True)
x = image = keras.Input((8, 8, 3))
x = keras.layers.Conv2D(4, 3, strides=4, name="block1_conv", kernel_initializer="ones")(x)
backbone = kt.backbone(keras.Model(image, keras.layers.Dropout(0.3)(x)), preprocess="tf")
images = np.arange(8 * 8 * 8 * 3).reshape(8, 8, 8, 3) % 251
data = kt.data.from_arrays(images.astype("uint8"), np.arange(8) % 2, validation=0.5, batch_size=2)
task = kt.tasks.Classification(2, hidden=[4], dropout=0.3)
model = kt.build_model(backbone, task, seed=0)
kt.fine_tune(model, data, epochs=(1, 1), augment="light", seed=0, verbose=0)
print([weight.tolist() for weight in model.get_weights()])
"""


def test_one_seed_gives_one_result_in_every_process(run_code):
    first, second = run_code(SEEDED), run_code(SEEDED)
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout != ""


def test_one_data_object_and_one_seed_give_one_result(data):
    results = []
    for _ in range(2):
        model = model_of()
        kt.fine_tune(model, data, epochs=(1, 1), seed=0, verbose=0)
        results.append(model.get_weights())
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_users_loss_is_kept():
    values = np.linspace(0, 100, 24).astype("float32")
    data = kt.data.from_arrays(PIXELS, values, validation=0.25, batch_size=6)
    model = model_of(kt.tasks.Regression())
    model.compile("adam", loss="mse", jit_compile=False)
    kt.fine_tune(model, data, epochs=(1, 1), verbose=0)
    assert model.loss == "mse"


def test_a_trained_regression_keeps_its_unit():
    values = np.linspace(0, 100, 24).astype("float32")
    data = kt.data.from_arrays(PIXELS, values, validation=0.25, batch_size=6)
    model = model_of(kt.tasks.Regression())
    model.fit(data.train, shuffle=False, verbose=0)
    before = model.predict(PIXELS, verbose=0)
    kt.compile(model, data=data)
    np.testing.assert_array_equal(model.predict(PIXELS, verbose=0), before)


def test_targets_of_no_task_are_left_out():
    targets = {"kind": LABELS, "age": np.linspace(0, 1, 24).astype("float32")}
    data = kt.data.from_arrays(PIXELS, targets, validation=0.25, batch_size=6)
    history = kt.fine_tune(
        model_of({"kind": kt.tasks.Classification(3)}), data, epochs=(1, 1), verbose=0
    )
    assert "targets without a task are left out: age" in history.record["notes"]


def test_schedules_and_numpy_rates_are_recorded(data, tmp_path):
    class Own(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 1e-3

    plan = [
        kt.Stage(
            epochs=1,
            train="head",
            learning_rate=keras.optimizers.schedules.CosineDecay(np.float32(1e-3), 10),
        ),
        kt.Stage(epochs=1, train="head", learning_rate=np.float32(1e-3)),
        kt.Stage(epochs=1, train="head", learning_rate=Own()),
    ]
    kt.fine_tune(model_of(), data, stages=plan, run_dir=tmp_path, verbose=0)
    record = json.loads((tmp_path / "run.json").read_text())
    rates = [stage["learning_rate"] for stage in record["stages"]]
    assert rates[0]["schedule"] == "CosineDecay"
    assert rates[1] == pytest.approx(1e-3)
    assert "Own" in rates[2]
    words = ["cosine from 0.001 over 10 steps", "0.001", "Own, a schedule"]
    assert [stage["rate_in_words"] for stage in record["stages"]] == words
    assert any("adam at cosine from 0.001 over 10 steps" in note for note in record["notes"])
    assert "learning_rate=cosine from 0.001 over 10 steps" in record["arguments"]["stages"][0]


def test_a_pooled_nested_network_is_trunk_not_head():
    """Rescaling, a nested network that pools by itself, Dense: the commonest model of people's own."""
    x = image = keras.Input((32, 32, 3))
    for number in (1, 2):
        x = keras.layers.Conv2D(4, 3, strides=2, use_bias=False, name=f"conv{number}")(x)
        x = keras.layers.BatchNormalization(name=f"conv{number}_BN")(x)
    base = keras.Model(image, keras.layers.GlobalAveragePooling2D()(x), name="network")
    inputs = keras.Input((32, 32, 3))
    outputs = keras.layers.Dense(3, activation="softmax", name="out")(
        base(keras.layers.Rescaling(1 / 255)(inputs))
    )
    model = keras.Model(inputs, outputs)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    dataset = tf.data.Dataset.from_tensor_slices((PIXELS.astype("float32"), LABELS)).batch(8)
    history = kt.fine_tune(
        model, dataset, stages=[kt.Stage(epochs=1, train="head"), kt.Stage(epochs=1)], verbose=0
    )
    assert history.record["stages"][0]["trained_layers"] == ["out"]
    assert history.record["stages"][1]["trained_layers"] == [
        "network/conv1",
        "network/conv2",
        "out",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": (0, 5)}, "`epochs` must be a whole number of at least 1. Given: 0"),
        (
            {"unfreeze": "blok3"},
            "`unfreeze` must match a block or layer. Given: 'blok3'. Close: 'block3_",
        ),
        ({"learning_rate": (0, 1)}, "`learning_rate` must be a number above 0"),
        ({"batch_norm": "x"}, "`batch_norm`"),
        ({"seed": -1}, "`seed`"),
        ({"stages": []}, "`stages` must be a list"),
        (
            {"stages": [kt.Stage(epochs=1)], "epochs": (1, 1)},
            "`epochs` must be None where `stages` is given",
        ),
        (
            {"stages": [kt.Stage(epochs=1)], "batch_norm": "train"},
            "`batch_norm` must be None where `stages` is given",
        ),
        ({"stages": kt.Stage(epochs=1)}, "`stages` must be a list"),
        ({"stages": [kt.Stage(epochs=1, train=[])]}, "`train` must be 'all', 'head' or a pattern"),
        ({"seed": 2**32}, "`seed` must be a whole number of at least 0 and below"),
        ({"run_dir": "/proc/nowhere"}, "`run_dir` must be a folder that can be written to"),
    ],
)
def test_bad_arguments_before_training(data, arguments, message):
    model = model_of()
    before = weights(model)
    with pytest.raises(checks.InputError, match=message):
        kt.fine_tune(model, data, verbose=0, **arguments)
    for path, value in weights(model).items():
        np.testing.assert_array_equal(value, before[path])


def test_bad_data_before_training(data):
    with pytest.raises(checks.InputError, match="`data` must come from kt.data"):
        kt.fine_tune(model_of(), 3)
    with pytest.raises(checks.InputError, match=r"must give \(images, targets\)"):
        kt.fine_tune(model_of(), PIXELS)
    with pytest.raises(checks.InputError, match=r"`labels` must lie in \[0, 2\). Given: 2"):
        kt.fine_tune(model_of(kt.tasks.Classification(2)), data)
    with pytest.raises(checks.InputError, match="a target for each task: kind"):
        kt.fine_tune(model_of({"kind": kt.tasks.Classification(3)}), data)
    dataset = tf.data.Dataset.from_tensor_slices((PIXELS.astype("float32"), LABELS + 5)).batch(8)
    with pytest.raises(checks.InputError, match=r"`labels` must lie in \[0, 3\). Given: 5"):
        kt.fine_tune(model_of(), dataset)
    with pytest.raises(checks.InputError, match="must end. Given: an endless dataset"):
        kt.fine_tune(model_of(), dataset.repeat())
    named = kt.data.from_arrays(PIXELS, np.array(["cat", "dog", "emu"])[LABELS])
    with pytest.raises(
        checks.InputError,
        match="class names must be those of 'classification'.*Given: 'cat' as class 0",
    ):
        kt.fine_tune(model_of(kt.tasks.Classification(["emu", "dog", "cat"])), named)
    small = kt.data.from_arrays(PIXELS[:, :16, :16], LABELS)
    with pytest.raises(checks.InputError, match="images of train must have shape"):
        kt.fine_tune(model_of(), small)


def test_an_uncompiled_model(data):
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    with pytest.raises(checks.InputError, match="`model` must be compiled"):
        kt.fine_tune(model, data, verbose=0)


def test_curves_go_to_tensorboard_over_all_stages(data, tmp_path):
    history = kt.fine_tune(
        model_of(), data, epochs=(2, 1), run_dir=tmp_path, tensorboard=True, verbose=0
    )
    from tensorboard.backend.event_processing import event_file_loader

    found = {}
    for file in sorted((tmp_path / "tensorboard" / "validation").iterdir()):
        for event in event_file_loader.EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if value.tag == "epoch_accuracy":
                    found[event.step] = float(tf.make_ndarray(value.tensor))
    assert found == pytest.approx(dict(enumerate(history.history["val_accuracy"])))
    with pytest.raises(checks.InputError, match="`tensorboard` needs a `run_dir`"):
        kt.fine_tune(model_of(), data, tensorboard=True)
