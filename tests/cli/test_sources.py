import argparse
import csv
import json

import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.cli import main, sources, train
from keras_transfer.core import checks


def read(*words):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return parser.parse_args([*map(str, words), "--out", "run"])


@pytest.mark.parametrize(
    ("files", "path", "form"),
    [
        (["cat/1.png", "dog/1.png"], ".", "folders"),
        (["labels.csv"], "labels.csv", "table"),
        (["labels.parquet"], "labels.parquet", "table"),
        (["instances.json"], "instances.json", "coco"),
        (["Annotations/1.xml", "JPEGImages/1.jpg"], ".", "voc"),
        (["1.jpg", "1.xml"], ".", "voc"),
        (["train/1.jpg", "train/1.xml", "valid/2.jpg"], ".", "voc"),
        (["data.yaml"], "data.yaml", "yolo"),
        (["data.yaml", "train/images/1.jpg"], ".", "yolo"),
        (["images/1.jpg", "labels/1.txt"], ".", "yolo"),
        (["images/1.jpg", "masks/1.png"], ".", "masks"),
    ],
)
def test_forms_are_told_by_their_files(tmp_path, files, path, form):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert sources.recognise(read(tmp_path / path)) == form


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a.csv"], "--image-column must say what is in a table. Given: none. Such as --image-column file."),
        (["a.csv", "--image-column", "file"], "--targets must say what is in a table"),
        (["a.csv", "--image-column", "file", "--targets", "breed"], "--targets must be pairs like breed=category"),
        (["a.csv", "--image-column", "file", "--targets", "{"], "--targets must be pairs like breed=category"),
        (["a.csv", "--masks", "masks"], "--masks belongs to pictures with masks. Given: "),
        (["a.json"], "--root must be the folder of the pictures"),
        (["a.json", "--targets", "a=number"], "--targets belongs to a table"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_told(tmp_path, words, told):
    (tmp_path / words[0]).touch()
    with pytest.raises(checks.InputError) as caught:
        sources.check(read(tmp_path / words[0], *words[1:]))
    assert told in str(caught.value)


def test_kinds_of_targets():
    assert sources.kinds_of(read("photos")) == "category"
    assert sources.kinds_of(read("photos", "--masks", "masks")) == "mask"


def test_targets_may_be_json(tmp_path):
    (tmp_path / "a.csv").touch()
    targets = {"head": {"boxes": ["a", "b", "c", "d"], "label": "kind"}, "age": "number"}
    found = sources.kinds_of(read(tmp_path / "a.csv", "--targets", json.dumps(targets)))
    assert found == {"head": "boxes", "age": "number"}
    one = sources.kinds_of(read(tmp_path / "a.csv", "--targets", "age=number"))
    assert one == "number"


@pytest.fixture
def table(tmp_path):
    scenes = kt.data.render_scenes(48, image_size=32)
    with open(tmp_path / "labels.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "size", "objects", "part"])
        for at, pixels in enumerate(scenes["images"]):
            Image.fromarray(pixels).save(tmp_path / f"{at}.png")
            count = scenes["count"][at]
            rows.writerow(
                [f"{at}.png", ("few", "many")[int(count > 2)], count, ("train", "val")[at % 4 == 0]]
            )
    return tmp_path


def test_a_table_is_trained_on_by_the_command(table, capsys):
    out = table / "run"
    words = [
        "train", f"{table}/labels.csv", "--image-column", "file", "--targets", "size=category", "objects=number",
        "--split-column", "part", "--out", f"{out}", "--backbone", "tiny", "--image-size", "32", "--epochs", "1", "1",
        "--quiet", "--batch-size", "12", "--no-refit",
    ]  # fmt: skip
    assert main.main(words) == 0
    assert f"'{table}/labels.csv' is a table" in capsys.readouterr().out
    model = kt.load_model(out / "model.keras")
    assert sorted(kt.model_classes(model)) == ["size"]
    report = json.loads((out / "report.json").read_text())
    assert np.isfinite(report["size"]["accuracy"])
    assert kt.predict(model, [table / "0.png"])
    wrong = [*words[:4], "--image-column", "fiel", *words[4:], "--overwrite"]
    assert main.main(wrong) == 2
    error = capsys.readouterr().err
    assert "keras-transfer: --image-column must be a column of" in error
    assert "Close names: 'file'" in error
