"""`keras-transfer convert` as a user runs it."""

import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.cli import main, sources
from keras_transfer.data.records import index


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for at in range(20):
        file = tmp_path / "photos" / ("cat" if at < 10 else "dog") / f"{at}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(file)
    return tmp_path / "photos"


def test_photos_become_records(photos, tmp_path, capsys):
    records = tmp_path / "records"
    convert = [
        "convert",
        str(photos),
        str(records),
        "--image-size",
        "32",
        "--test",
        "0.2",
        "--seed",
        "1",
    ]
    assert main.main(convert) == 0
    assert "20 examples are in 3 files of records" in capsys.readouterr().out
    data = kt.data.from_folder(photos, image_size=32, test=0.2, seed=1)
    back = kt.data.from_records(records)
    assert (back.digest, back.class_names) == (data.digest, ["cat", "dog"])
    for one, other in zip(back.train, data.train, strict=True):
        np.testing.assert_array_equal(one[0], other[0])

    assert index.FILE == sources.RECORDS
    assert main.main(convert) == 2
    line = capsys.readouterr().err
    assert "RECORDS must be a new folder" in line
    assert "--overwrite" in line
    assert main.main(["convert", str(photos), str(photos / "cat" / "0.png")]) == 2

    train = ["train", str(records), "--backbone", "tiny", "--quiet", "--out", str(tmp_path / "run")]
    assert main.main([*train, "--image-size", "64"]) == 2
    assert "images of records must fit the network" in capsys.readouterr().err
    assert main.main([*train, "--epochs", "1", "1", "--cache", "off", "--no-refit"]) == 0
    assert (tmp_path / "run" / "report.json").is_file()
