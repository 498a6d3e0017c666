"""`kt.predict`: from files and arrays to labels."""

import json
import os

import keras
import networks
import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.core import checks

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype="uint8")


@pytest.fixture(scope="module")
def model():
    return kt.build_model(networks.small(), kt.tasks.Classification(["cat", "dog", "owl"]))


@pytest.fixture
def folder(tmp_path):
    for number, image in enumerate(PIXELS):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    return tmp_path


def test_files_arrays_and_pil_images_agree(model, folder):
    files = sorted(folder.iterdir())
    expected = model.predict(PIXELS, verbose=0)
    given = {
        "files": files,
        "an array": PIXELS,
        "arrays": list(PIXELS),
        "PIL": [Image.open(file) for file in files],
    }
    for kind, images in given.items():
        predictions = kt.predict(model, images, top=2)
        np.testing.assert_allclose(predictions.outputs, expected, rtol=1e-5, err_msg=kind)
        names = ["cat", "dog", "owl"]
        assert predictions.labels == [names[best] for best in expected.argmax(1)]
        first = predictions[0]
        best = np.argsort(-expected[0])[:2]
        assert list(first["probabilities"]) == [names[at] for at in best]
        assert first["probabilities"][first["label"]] == pytest.approx(expected[0].max(), abs=1e-5)
        assert first.get("file") == (str(files[0]) if kind == "files" else None)


def test_one_file_and_one_picture(model, folder):
    assert kt.predict(model, PIXELS[0]).labels == kt.predict(model, str(folder / "0.png")).labels


def test_pictures_of_other_sizes_and_palettes(model):
    picture = Image.fromarray(PIXELS[0]).resize((50, 40)).convert("P")
    assert len(kt.predict(model, [picture, np.zeros((8, 9), "uint8")])) == 2


def test_it_prints_a_line_an_image_and_a_table_in_notebooks(model, folder):
    predictions = kt.predict(model, folder)
    lines = str(predictions).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"{folder / '0.png'}  {predictions[0]['label']}")
    page = predictions._repr_html_()
    assert page.count("<img") == 3
    assert predictions[0]["label"] in page


def test_several_tasks_have_a_dict_each():
    tasks = {
        "kind": kt.tasks.Classification(["cat", "dog"]),
        "age": kt.tasks.Regression(),
        "tags": kt.tasks.MultiLabel(["red", "round"], thresholds=0.01),
    }
    model = kt.build_model(networks.small(), tasks)
    predictions = kt.predict(model, PIXELS)
    outputs = model.predict(PIXELS, verbose=0)
    assert predictions[1]["age"]["value"] == pytest.approx(float(outputs["age"][1, 0]))
    assert set(predictions[0]["tags"]["probabilities"]) == {"red", "round"}
    assert set(predictions.labels) == {"kind", "age", "tags"}
    assert "kind: " in str(predictions)
    assert kt.model_classes(model) == {"kind": ["cat", "dog"], "tags": ["red", "round"]}


def plain(activation=None):
    images = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(images))
    return keras.Model(images, keras.layers.Dense(3, activation=activation)(x))


def test_a_model_of_ones_own():
    model = plain("softmax")
    probabilities = model.predict(PIXELS, verbose=0)
    assert kt.predict(model, PIXELS).labels == [str(best) for best in probabilities.argmax(1)]
    assert "value" in kt.predict(plain(), PIXELS)[0], "logits of an unknown loss are numbers"
    logits = plain()
    logits.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    shares = kt.predict(logits, PIXELS)[0]["probabilities"]
    assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
    assert kt.model_classes(model) is None


def test_what_cannot_be_labelled(model, tmp_path):
    with pytest.raises(checks.InputError, match="`images` must be a folder or a file that exists"):
        kt.predict(model, [tmp_path / "absent.jpg"])
    with pytest.raises(checks.InputError):
        kt.predict(model, [])
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(checks.InputError, match="must be a readable image"):
        kt.predict(model, tmp_path)


def test_the_names_of_one_task(model):
    assert kt.model_classes(model) == ["cat", "dog", "owl"]


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
def test_answers_go_into_tables_alike_at_once_and_batch_by_batch(model, folder, tmp_path, ending):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    read = {
        ".csv": pandas.read_csv,
        ".parquet": pandas.read_parquet,
        ".jsonl": lambda path: pandas.read_json(path, lines=True),
    }[ending]
    files = sorted(folder.glob("*.png"))
    predictions = kt.predict(model, files)
    predictions.save(tmp_path / f"whole{ending}")
    count = kt.evaluation.predict_to_file(model, files, tmp_path / f"parts{ending}", batch_size=2)
    assert count == 3
    whole, parts = read(tmp_path / f"whole{ending}"), read(tmp_path / f"parts{ending}")
    assert whole["file"].tolist() == parts["file"].tolist() == [str(file) for file in files]
    assert whole["label"].tolist() == parts["label"].tolist() == predictions.labels
    best = [max(row["probabilities"].values()) for row in predictions]
    assert whole["probability"].tolist() == pytest.approx(best)
    assert parts["probability"].tolist() == pytest.approx(best, abs=1e-5)
    assert json.loads(whole["probabilities"][0]) == predictions[0]["probabilities"]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_names_that_are_no_utf_8_have_escapes(tmp_path, ending):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    name = os.fsdecode(b"caf\xe9")
    rows = [{"file": name, "label": name, "probabilities": {name: 1.0}}]
    kt.evaluation.Predictions(rows, tasks=["kind"]).save(tmp_path / f"a{ending}")
    read = {".csv": pandas.read_csv, ".parquet": pandas.read_parquet}[ending]
    table = read(tmp_path / f"a{ending}")
    assert table["file"][0] == table["label"][0] == "caf\\udce9"


def test_tables_of_several_tasks_have_the_name_before_each_column(tmp_path):
    rows = [
        {
            "breed": {"label": "pug", "probabilities": {"pug": 1.0}},
            "box": {"label": "1 dog", "boxes": [[0, 1, 2, 3]], "labels": ["dog"], "scores": [0.9]},
            "age": {"value": 3.0},
        }
    ]
    kt.evaluation.Predictions(rows, tasks=["breed", "box", "age"]).save(tmp_path / "a.csv")
    titles, line = (tmp_path / "a.csv").read_text().splitlines()
    expected = "breed/label,breed/probability,breed/probabilities,box/label,box/boxes,box/labels"
    assert titles == f"file,{expected},box/scores,age/value"
    assert line.startswith('image 0,pug,1.0,"{""pug"": 1.0}",1 dog,"[[0, 1, 2, 3]]"')


def test_a_table_that_cannot_be_written_is_told_before_anything_runs(model, tmp_path):
    with pytest.raises(checks.InputError, match="`path` must end in .csv or .parquet or .jsonl"):
        kt.evaluation.predict_to_file(model, "no such folder", tmp_path / "a.xls")
    (tmp_path / "file").write_text("")
    with pytest.raises(checks.InputError, match="can be written to"):
        kt.evaluation.predict_to_file(model, "no such folder", tmp_path / "file" / "a.csv")
