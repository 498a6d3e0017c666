"""`kt.doctor`: finds what was planted, and nothing else."""

import importlib.util
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_transfer as kt
from keras_transfer.studies.doctor import CHECKS

spec = importlib.util.spec_from_file_location(
    "planted", pathlib.Path(__file__).parent / "planted.py"
)
planted = importlib.util.module_from_spec(spec)
spec.loader.exec_module(planted)


@pytest.fixture(scope="module")
def arrays():
    """96 images of two classes that the bundled network tells apart: reddish and bluish."""
    tints = [(200, 60, 50), (50, 70, 200)]
    images = [np.asarray(planted.photo(at, 32, tints[at % 2])) for at in range(96)]
    return np.stack(images), np.arange(96) % 2


def only(findings, check):
    (finding,) = findings
    assert finding.check == check
    assert finding.fix
    return finding


def test_a_clean_folder_has_no_findings(tmp_path):
    findings = kt.doctor(planted.make_clean(tmp_path / "photos"))
    assert list(findings) == []
    assert str(findings) == "no findings in 48 images"
    assert findings.about["splits"] == {"train": 24, "test": 24}


def test_each_planted_fault_is_found_and_nothing_else(tmp_path):
    root = tmp_path / "photos"
    expected = planted.make_dirty(root)
    findings = kt.doctor(root)
    found = {}
    for finding in findings:
        names = {pathlib.Path(file).relative_to(root).as_posix() for file in finding.files}
        found.setdefault(finding.check, []).append(names)
    assert found.keys() == expected.keys()
    for check, sets in expected.items():
        assert sorted(map(sorted, found[check])) == sorted(map(sorted, sets)), check

    severities = [finding.severity for finding in findings]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    texts = "\n".join(finding.what for finding in findings)
    for text in (
        "1 group of copies (2 images) in several splits: known images are measured",
        "1 group of copies (2 images) under different labels",
        "1 group of near copies (2 images) in several splits",
        "1 class folder has no images: 'yak'",
        "1 class has no training images: 'cow'",
        "1 class has fewer than 10 training images: 'emu'",
    ):
        assert text in texts
    (unreadable,) = findings.of("unreadable")
    reasons = {pathlib.Path(file).name: why for file, why in unreadable.details["reasons"].items()}
    assert reasons["empty.png"] == "the file is empty"
    assert "50000x50000 pixels" in reasons["bomb.png"]

    page = findings.to_html()
    assert page.count("<img ") == sum(
        len(each.rows[:10]) for each in findings if each.check != "unreadable"
    )
    values = findings.to_dict()
    assert len(values["findings"]) == len(findings)
    findings.save(tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["about"]["images"] == len(
        list(root.rglob("*.[pj][np]g"))
    )


@pytest.mark.parametrize("scale", [1 / 255, 1 / 127.5])
def test_images_that_were_rescaled(arrays, scale):
    images, labels = arrays
    values = images * np.float32(scale) - (scale > 0.005)
    finding = only(kt.doctor((values, labels)), "value_range")
    assert finding.severity == "warning"
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 255)])
    assert (
        only(kt.doctor(model, (values, labels), labels=False), "value_range")
        in kt.doctor(model, (values, labels), labels=False).errors
    )


def test_images_that_are_not_finite(arrays):
    values = arrays[0].astype("float32")
    values[3, 0, 0] = np.nan
    assert "not finite" in only(kt.doctor(values), "value_range").what


def test_a_network_of_ones_own(arrays):
    layers = [
        keras.Input((32, 32, 3)),
        keras.layers.Conv2D(4, 3),
        keras.layers.BatchNormalization(),
    ]
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, activation="softmax")]
    model = keras.Sequential(layers)
    model.compile("sgd", "categorical_crossentropy")
    before = [np.array(weight) for weight in model.get_weights()]
    findings = kt.doctor(model, arrays, labels=False)
    assert {each.check for each in findings} == {"preprocessing", "random_backbone", "loss"}
    (loss,) = findings.errors
    assert loss.what == (
        "the loss cannot take the labels: the labels must be one-hot rows of 2 for the loss "
        "CategoricalCrossentropy. Given: class ids."
    )
    assert loss.fix == "Compile with SparseCategoricalCrossentropy for class ids."
    for value, weight in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, weight)


@pytest.mark.parametrize(
    ("loss", "units", "labels", "text"),
    [
        ("sparse_categorical_crossentropy", 2, np.arange(96) % 3, "Given: 2 at index 2"),
        ("binary_crossentropy", 1, np.arange(96) % 4, "[0, 1] for the loss binary_crossentropy"),
        ("mse", 1, np.eye(4)[np.arange(96) % 4], "must be 1 number"),
        ("mse", 1, np.arange(96) / 96, ""),
        ("binary_crossentropy", 1, np.arange(96) % 2, ""),
    ],
)
def test_losses_of_keras(arrays, loss, units, labels, text):
    layers = [keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(units)])
    model.compile("sgd", loss)
    findings = kt.doctor(model, (arrays[0], labels), check="loss")
    assert (text in findings[0].what) if text else not len(findings)


def test_a_model_of_the_package(arrays):
    data = kt.data.from_arrays(*arrays, class_names=["red", "blue"], test=0.3, validation=None)
    passes = data.epochs.next
    model = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(["red", "blue"]), seed=0)
    findings = kt.doctor(model, data)
    assert list(findings) == []
    assert findings.about["costs"]["seconds_an_epoch"] >= 0
    assert data.epochs.next == passes

    random = kt.backbone("tiny", weights=None)
    model = kt.build_model(random, kt.tasks.Classification(["blue", "red"]), seed=0)
    findings = kt.doctor(model, data, labels=False)
    assert [each.check for each in findings] == ["class_names", "random_backbone"]

    model = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(2), seed=0)
    labels = np.where(np.arange(96) == 7, 5, arrays[1])
    findings = kt.doctor(model, (arrays[0], labels), labels=False, check=["loss"])
    assert "Given: 5 at index 7" in only(findings, "loss").what


def test_wrong_labels(arrays):
    images, labels = arrays
    stripes = np.where(np.arange(32) // 4 % 2, 60, -60)[:, None]
    fields = [np.broadcast_to(stripes if label else stripes.T, (32, 32)) for label in labels]
    images = np.clip(images * 0.5 + 64 + np.stack(fields)[..., None], 0, 255).astype("uint8")
    given = labels.copy()
    given[[6, 21]] = 1 - given[[6, 21]]
    findings = kt.doctor((images, given), check=["labels"])
    finding = only(findings, "labels")
    assert sorted(finding.rows) == [6, 21]
    assert finding.details["likely"] == [str(labels[row]) for row in finding.rows]
    assert finding.captions[0] == f"{given[finding.rows[0]]}, looks like {labels[finding.rows[0]]}"


def test_labels_that_cannot_be_learned(arrays):
    images, _ = arrays
    uneven = np.where(np.arange(len(images)) < 90, 0, 1)
    assert [each.check for each in kt.doctor((images, uneven))] == ["imbalance", "few"]
    numbers = np.linspace(0, 1, len(images), dtype="float32")
    numbers[2] = np.inf
    finding = only(kt.doctor((images, numbers)), "not_finite")
    assert finding.rows == (2,)
    assert "equal" in only(kt.doctor((images, np.ones(len(images), "float32"))), "constant").what


def test_groups(arrays):
    images, labels = arrays
    cameras = np.where(labels == 1, "new", "old")
    findings = kt.doctor((images, labels), groups=cameras)
    assert "nearly tells the label" in only(findings, "groups").what
    assert [row["images"] for row in findings.about["groups"]] == [48, 48]
    assert "Images by group" in findings.to_html()
    spread = np.arange(len(images)) // 2 % 2
    assert list(kt.doctor((images, labels), groups=spread)) == []
    with pytest.raises(kt.InputError, match=r"`groups` must have an entry for each of the 96"):
        kt.doctor((images, labels), groups=[1, 2])


@pytest.mark.parametrize("kind", ["dataset", "pair", "images"])
def test_what_fit_takes(arrays, kind):
    images, labels = arrays
    images = images.copy()
    images[30] = images[8]
    forms = {
        "dataset": tf.data.Dataset.from_tensor_slices((images, labels)).batch(7),
        "pair": ((images[:20], labels[:20]), (images[20:], labels[20:])),
        "images": images,
    }
    finding = only(kt.doctor(forms[kind]), "copies")
    assert finding.count == 1
    names = {"pair": ("train[8]", "validation[10]")}.get(kind, ("images[8]", "images[30]"))
    assert finding.files == names


def test_bad_input(tmp_path, arrays):
    with pytest.raises(kt.InputError, match=r"`data` must be a folder that exists"):
        kt.doctor(tmp_path / "absent")
    with pytest.raises(kt.InputError, match=r"`data` must be a folder with images"):
        kt.doctor(tmp_path)
    with pytest.raises(kt.InputError, match=r"only a model"):
        kt.doctor(kt.backbone("tiny", weights=None))
    with pytest.raises(kt.InputError, match=r"`check` must be a known name.*'copies'"):
        kt.doctor(arrays, check=["copys"])
    with pytest.raises(kt.InputError, match=r"`model` must be a Keras model. Given: str"):
        kt.doctor("tiny", arrays)
    with pytest.raises(kt.InputError, match=r"must end"):
        kt.doctor(tf.data.Dataset.from_tensors(arrays).repeat())
    save = kt.doctor(arrays, check=["copies"]).save
    with pytest.raises(kt.InputError, match=r"`path` must end in .html or .json"):
        save(tmp_path / "a.txt")


def test_every_check_speaks_of_itself():
    assert all(function.__doc__ for function in CHECKS.values())


def test_boxes(arrays):
    images = arrays[0][:30]
    boxes = np.zeros((30, 3, 6), "float32")
    boxes[..., 4] = -1
    boxes[:, 0] = [2, 2, 20, 24, 0, 0]
    assert list(kt.doctor((images, boxes))) == []

    boxes[4, 1] = [8, 8, 8, 12, 0, 0]  # no width
    boxes[5, 1] = [9, 12, 3, 20, 0, 0]  # the other way round
    boxes[6, 1] = [20, 20, 40, 30, 0, 0]
    boxes[7, 1:] = [[3, 3, 6, 6, 0, 0], [-9, 2, 5, 9, 0, 0]]
    boxes[8, 1] = [99, 99, 99, 99, -1, 0]  # padding
    found = {each.check: each for each in kt.doctor((images, boxes))}
    assert found.keys() == {"degenerate_boxes", "outside_boxes", "tiny_boxes"}
    assert found["degenerate_boxes"].rows == (4, 5)
    assert found["outside_boxes"].rows == (6, 7)
    assert found["tiny_boxes"].rows == (7,)
    assert found["degenerate_boxes"].captions[0] == "8, 8, 8, 12"


def test_boxes_that_a_source_left_out(arrays):
    boxes = [{"boxes": [[2, 2, 9, 9]], "labels": ["cat"]} for _ in range(30)]
    boxes[11] = {"boxes": [[2, 2, 9, 9], [5, 5, 5, 9]], "labels": ["cat", "dog"]}
    data = kt.data.from_arrays(arrays[0][:30], boxes, validation=None, corrupt="skip")
    findings = kt.doctor(data, check=["left_out", "degenerate_boxes"])
    assert only(findings, "left_out").what.endswith("left out 1 box without area: index 11 (box 1)")


def test_masks(arrays):
    images = arrays[0][:30]
    masks = np.zeros((30, 32, 32), "uint8")
    masks[:, 8:20, 8:20] = 1
    masks[3, :4] = 255
    data = kt.data.from_arrays(
        images, masks, targets="mask", class_names=["ground", "pet"], validation=None
    )
    assert list(kt.doctor(data)) == []
    data.targets["train"][2, 0, :2] = [2, 7]
    data.targets["train"][5] = 255
    empty, unknown = sorted(kt.doctor(data), key=lambda each: each.check)
    assert (empty.check, empty.rows) == ("empty_masks", (5,))
    assert (unknown.check, unknown.rows) == ("unknown_values", (2,))
    assert unknown.details["values"] == [2, 7]


def test_a_model_without_a_graph(arrays):
    class Own(keras.Model):
        def call(self, inputs):
            return inputs[:, 0, 0, :2]

    findings = kt.doctor(Own(), arrays)
    assert {each.check for each in findings} <= {"labels"}


def test_batches_in_another_order_every_time(arrays):
    dataset = tf.data.Dataset.from_tensor_slices(arrays).shuffle(96).batch(8)
    finding = only(kt.doctor(dataset, labels=True), "labels")
    assert finding.severity == "note"
    assert "the same order in every pass" in finding.what


def test_images_of_other_sensors(tmp_path):
    """Of 12 bits in 16, all files look black; what the network sees does not."""
    for at in range(24):
        values = np.asarray(planted.photo(at).convert("L")).astype("uint16") * 16
        file = tmp_path / ("cat", "dog")[at % 2] / f"{at}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(values).save(file)
    data = kt.data.from_folder(
        tmp_path, image_size=64, channels=1, value_range="measure", validation=None
    )
    assert list(kt.doctor(data)) == []


def test_records_have_other_files(tmp_path):
    planted.make_clean(tmp_path / "photos", splits=("train",), each=20)
    data = kt.data.from_folder(tmp_path / "photos", image_size=64)
    kt.data.write_records(data, tmp_path / "records")
    found = kt.doctor(kt.data.from_records(tmp_path / "records"))
    assert list(found) == []
    assert found.about["splits"] == {"train": 32, "validation": 8}


@pytest.mark.realdata
def test_degenerate_boxes_of_real_blood_cells(real_data):
    if not hasattr(kt.data, "from_voc"):
        pytest.skip("kt.data.from_voc is absent")
    data = kt.data.from_voc(real_data / "bccd", image_size=64, corrupt="skip", cache="off")
    findings = kt.doctor(data, check=["left_out", "degenerate_boxes"])
    finding = only(findings, "left_out")
    names = {pathlib.Path(file).stem for file in finding.files}
    assert names == {"BloodImage_00338", "BloodImage_00343"}
