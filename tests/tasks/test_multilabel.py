"""Tags: encoding, thresholds, mistakes, and the whole way from labels to an export."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.core import checks

RNG = np.random.default_rng(0)
TAGS = ["bright", "red"]
SHADES = RNG.integers(20, 120, (48, 1, 1, 1)) + 100 * (np.arange(48) % 2)[:, None, None, None]
PIXELS = np.repeat(np.clip(SHADES + RNG.integers(-9, 9, (48, 32, 32, 1)), 0, 255), 3, axis=-1)
PIXELS[::3, :, :, 0] = np.minimum(PIXELS[::3, :, :, 0] + 35, 255)
LABELS = [
    [name for name, there in zip(TAGS, (index % 2, index % 3 == 0), strict=True) if there]
    for index in range(48)
]
LABELS[5] = None


def small(**options):
    """Eight numbers an image, so that a head is solved in no time."""
    image = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, strides=8, activation="relu", name="block1_conv")(image)
    x = keras.layers.Conv2D(8, 1, activation="relu", name="block2_conv")(x)
    trunk = kt.backbone(keras.Model(image, x, name="small"), preprocess="tf")
    return kt.build_model(trunk, kt.tasks.MultiLabel(TAGS, **options))


def data_of(**options):
    return kt.data.from_arrays(PIXELS.astype("uint8"), LABELS, batch_size=8, seed=0, **options)


def test_labels_of_every_form_are_encoded_alike():
    task = kt.tasks.MultiLabel(TAGS)
    expected = [[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]
    for labels in (
        ["bright;red", "red", ";"],
        np.array(["bright; red", "red", ";"]),
        [["bright", "red"], ["red"], []],
        [{"bright", "red"}, ("red",), []],
        np.array([[1, 1], [0, 1], [0, 0]]),
        np.array(expected),
    ):
        encoded = task.encode(labels)
        assert encoded.dtype == "float32"
        assert encoded.tolist() == expected


def test_a_blank_and_an_unknown_tag_are_nan():
    task = kt.tasks.MultiLabel(TAGS)
    assert task.encode([";", ";"]).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert np.isnan(task.encode(["red", ""])[1]).all()
    assert np.isnan(task.encode([["red"], None])[1]).all()
    assert np.isnan(task.encode(np.array([[1, np.nan]]))[0]).tolist() == [False, True]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["rde"], "'rde'. Close names: 'red'"),
        (np.array([0, 1]), "lists of tags, or rows of 2 numbers. Given: int64 of shape"),
        (np.array([[0, 2]]), r"0, 1, or NaN.*\[0.0, 2.0\] at index 0"),
    ],
)
def test_bad_labels(labels, message):
    with pytest.raises(checks.InputError, match=message):
        kt.tasks.MultiLabel(TAGS).encode(labels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tags": 0}, "`tags` must be a whole number"),
        ({"tags": "red"}, "a number or a list of names"),
        ({"tags": []}, "1 or more different names. Given: 0 names"),
        ({"tags": ["a", "a"]}, "'a' twice"),
        ({"tags": TAGS, "thresholds": [0.5]}, "2 entries, one a tag. Given: 1"),
        ({"tags": TAGS, "thresholds": {"rde": 0.5}}, "Close names: 'red'"),
        ({"tags": TAGS, "thresholds": 1.0}, "thresholds"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(checks.InputError, match=message):
        kt.tasks.MultiLabel(**arguments)


def test_thresholds_that_are_given_are_kept():
    task = kt.tasks.MultiLabel(TAGS, thresholds={"red": 0.25})
    assert not task.calibrates
    assert task.limits.tolist() == [0.5, 0.25]
    assert kt.tasks.MultiLabel(TAGS).calibrates


def test_answers_mistakes_and_texts_obey_the_thresholds():
    task = kt.tasks.MultiLabel(TAGS, thresholds=[0.5, 0.25])
    outputs = np.array([[0.75, 0.3], [0.4, 0.2], [0.6, 0.1]])
    targets = np.array([[1, 0], [1, np.nan], [1, 0]])
    assert task.errors(targets, outputs).tolist() == pytest.approx([0.3, 0.6, 0.0])
    assert task.describe(outputs[0]) == "bright, red"
    assert task.describe(targets[1]) == "bright"
    assert task.describe(outputs[1]) == "no tag"
    assert task.answer(outputs[0]) == {"bright": 0.75, "red": 0.3}
    assert task.answer(outputs[1]) == {}
    decoded = task.decode(tf.constant(outputs, "float32"))
    assert decoded["tags"].numpy().tolist() == [b"bright;red", b"", b"bright"]


@pytest.mark.parametrize(
    ("plan", "options"),
    [
        ("two_stage", {"epochs": (1, 1)}),
        ("lp_ft", {"epochs": 1}),
        ("gradual", {"epochs": (1, 1), "unfreeze": "block1_conv"}),
    ],
)
def test_plans_train(plan, options):
    model = small()
    history = kt.fine_tune(model, data_of(), plan=plan, seed=0, verbose=0, **options)
    assert history.record["monitor"] == "val_accuracy"
    assert np.isfinite(history.history["val_loss"]).all()
    assert next(iter(kt.models.outputs(model).values())).task.chosen is not None


@pytest.mark.compiled
def test_from_labels_to_an_export(tmp_path, capsys):
    data = data_of()
    model = small()
    kt.fine_tune(model, data, stages=[kt.Stage(solve=True, train="head")], seed=0)
    task = next(iter(kt.models.outputs(model).values())).task
    assert "thresholds with the best F1 on validation: bright" in capsys.readouterr().out

    report = kt.evaluate(model, data)
    assert report["map"] > 0.8
    assert report["classes"]["red"]["threshold"] == pytest.approx(task.chosen[1])
    assert list(report["classes"]) == TAGS
    assert str(report).splitlines()[0].split()[:2] == ["class", "precision"]
    page = report.to_html()
    assert "Mean average precision" in page
    assert "Precision against recall" in page
    assert json.loads(report.to_json())["kind"] == "multi_label"

    model.save(tmp_path / "m.keras")
    again = kt.load_model(tmp_path / "m.keras")
    assert next(iter(kt.models.outputs(again).values())).task.chosen == task.chosen
    kt.export(model, tmp_path / "1")
    facts = kt.verify(tmp_path / "1", model, data.validation)
    assert facts["images"] == len(data.targets["validation"])
    outputs = model.predict(PIXELS[:4], verbose=0)
    signature = tf.saved_model.load(str(tmp_path / "1")).signatures["pixels"]
    tags = signature(tf.constant(PIXELS[:4].astype("uint8")))["tags"].numpy()
    expected = [task.describe(row).replace(", ", ";").replace("no tag", "") for row in outputs]
    assert [text.decode() for text in tags] == expected


@pytest.mark.realdata
def test_a_folder_of_pictures_with_two_made_up_tags(real_data, tmp_path, capsys):
    """Whether there is an alpaca, and whether the picture is bright."""
    from keras_transfer.cli.main import main

    files, pixels, labels = {}, {}, {}
    for split in ("train", "test"):
        files[split] = sorted((real_data / "alpaca2" / split).rglob("*.jpg"))
        pixels[split] = kt.data.load_images(files[split], 96)
        bright = pixels[split].mean(axis=(1, 2, 3)) > 130
        labels[split] = [
            ["alpaca"] * (file.parent.name == "alpaca") + ["bright"] * bool(is_bright)
            for file, is_bright in zip(files[split], bright, strict=True)
        ]
    data = kt.data.from_arrays(
        pixels["train"], labels["train"], test=(pixels["test"], labels["test"]), seed=0
    )
    weights = (
        real_data / "weights/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    )
    backbone = kt.backbone("MobileNetV2", weights=weights, image_size=96, alpha=0.35)
    model = kt.build_model(backbone, kt.tasks.MultiLabel(data.class_names))
    stages = [kt.Stage(solve=True, train="head")]
    run = {"run_dir": tmp_path / "run", "refit": False}
    kt.fine_tune(model, data, stages=stages, seed=0, verbose=0, **run)

    report = kt.evaluate(model, data.test)
    print(report)
    assert report["classes"]["alpaca"]["average_precision"] > 0.85
    report.save(tmp_path / "report.html")
    assert "Most confident mistakes" in (tmp_path / "report.html").read_text()

    model.save(tmp_path / "run" / "model.keras")
    kt.export(model, tmp_path / "export")
    kt.verify(tmp_path / "export", model, pixels["test"][:16])
    capsys.readouterr()
    main(["predict", str(tmp_path / "run"), *map(str, files["test"][:3]), "--json"])
    lines = capsys.readouterr().out.splitlines()
    answers = [json.loads(line) for line in lines if line.startswith("{")]
    assert len(answers) == 3
    assert all(set(answer["multi_label"]) <= set(data.class_names) for answer in answers)


def test_baseline_is_the_frequency_of_each_tag():
    targets = np.array([[1, 0, 1], [1, 0, np.nan], [0, 0, 1], [1, 0, 0]], "float32")
    task = kt.tasks.MultiLabel(["a", "never", "c"])
    baseline = task.baseline(targets, np.full((4, 3), 0.5))
    assert baseline["scores"]["map"] == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert baseline["scores"]["accuracy"] == pytest.approx((3 + 4 + 2) / 11)
    assert not baseline["is_beaten"]
    assert task.baseline(np.ones((4, 3)), np.full((4, 3), 0.5)) is None  # the same for all
