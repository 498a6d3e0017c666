"""`keras-transfer features` as a user runs it."""

import json

import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.cli import main

TINY = ["--backbone", "tiny", "--quiet"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("cli_features") / "photos"
    rng = np.random.default_rng(0)
    for at in range(7):
        file = root / ("cat" if at < 4 else "dog") / f"{at}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(file)
    return root


def fails(capsys, *arguments):
    """Runs the command, which must end with code 2 and one line; returns that line."""
    assert main.main(["features", *map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("keras-transfer: ")
    return line


def test_a_folder_becomes_arrays_with_labels(photos, tmp_path, capsys):
    out = tmp_path / "out"
    options = [
        "--layers",
        "P2",
        "representation",
        "--pooling",
        "avg",
        "--batch-size",
        "3",
        "--out",
        str(out),
    ]
    assert main.main(["features", str(photos), *TINY, *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("keras_transfer: features of 7 images: ")
    assert lines[-3:] == [
        "block2_relu  7 x 64  float32",
        "representation  7 x 256  float32",
        "classes: cat, dog",
    ]
    features = kt.features.load(out)
    assert features.targets.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert features.class_names == ["cat", "dog"]
    assert features.files == [str(path) for path in sorted(photos.rglob("*.png"))]
    images = kt.data.load_images(features.files, 32)
    expected = kt.features.extract(
        kt.backbone("tiny"),
        images,
        layers=["P2", "representation"],
        pooling="avg",
        batch_size=3,
        verbose=0,
    )
    for path, array in expected.items():
        np.testing.assert_array_equal(features[path], array)


def test_files_and_folders_in_the_order_given(photos, tmp_path):
    chosen = [photos / "dog", photos / "cat" / "2.png"]
    options = [
        "--weights",
        "none",
        "--image-size",
        "40x32",
        "--dtype",
        "float16",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main.main(["features", *map(str, chosen), *TINY, *options]) == 0
    features = kt.features.load(tmp_path / "out")
    assert features.files == [
        str(photos / name) for name in ("dog/4.png", "dog/5.png", "dog/6.png", "cat/2.png")
    ]
    assert features.targets is None
    assert features["representation"].shape == (4, 5, 4, 256)
    assert features["representation"].dtype == np.float16
    assert features.about["source"]["weights"] is None


def test_the_networks_own_arguments(photos, tmp_path):
    options = [
        "--backbone",
        "MobileNetV2",
        "--backbone-argument",
        "alpha=0.35",
        "--weights",
        "none",
        "--quiet",
    ]
    more = ["--image-size", "32", "--layers", "block_2_add", "--out", str(tmp_path / "out")]
    assert main.main(["features", str(photos), *options, *more]) == 0
    manifest = json.loads((tmp_path / "out" / "features.json").read_text())
    assert manifest["about"]["source"]["arguments"] == {"alpha": 0.35}
    assert list(manifest["layers"]) == ["block_2_add"]


def test_grey_and_transparent_images(photos, tmp_path):
    for channels, mode in (("1", "mean"), ("4", "tile")):
        options = [
            "--channels",
            channels,
            "--channel-mode",
            mode,
            "--out",
            str(tmp_path / channels),
        ]
        assert main.main(["features", str(photos), *TINY, *options]) == 0
        trunk = kt.backbone("tiny", channels=int(channels), channel_mode=mode)
        images = kt.data.load_images(sorted(photos.rglob("*.png")), 32, channels=int(channels))
        expected = kt.features.extract(trunk, images, verbose=0)
        np.testing.assert_array_equal(
            np.asarray(kt.features.load(tmp_path / channels)), np.asarray(expected)
        )


def test_files_that_cannot_be_read(photos, tmp_path, capsys):
    folder = tmp_path / "photos"
    for at in (1, 2):
        file = folder / f"{at}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes((photos / "cat" / f"{at}.png").read_bytes())
    (folder / "3.png").write_bytes(b"")
    line = fails(capsys, folder, *TINY, "--out", tmp_path / "out")
    assert "3.png (the file is empty)" in line
    assert not (tmp_path / "out").exists()
    assert (
        main.main(
            ["features", str(folder), *TINY, "--skip-corrupt", "--out", str(tmp_path / "out")]
        )
        == 0
    )
    assert "1 of 3 files cannot be read: " in capsys.readouterr().out
    assert len(kt.features.load(tmp_path / "out").files) == 2


def test_earlier_features_are_kept_without_overwrite(photos, tmp_path, capsys):
    command = ["features", str(photos / "cat"), *TINY, "--out", str(tmp_path / "out")]
    assert main.main(command) == 0
    assert "which holds features" in fails(capsys, *command[1:])
    assert main.main([*command, "--overwrite", "--layers", "P2"]) == 0
    assert list(kt.features.load(tmp_path / "out")) == ["block2_relu"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backbone", "MobilNetV2"], "Close names: 'MobileNetV2'"),
        ([*TINY, "--layers", "blok2*"], "--layers must match a layer"),
        ([*TINY, "--layers", "P7"], "with P2, P3"),
        ([*TINY, "--backbone-argument", "alpha"], "--backbone-argument must be NAME=VALUE"),
        ([*TINY, "--image-size", "16"], "must be at least 32"),
    ],
)
def test_bad_options(arguments, message, photos, tmp_path, capsys):
    assert message in fails(capsys, photos, *arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_such_folder(tmp_path, capsys):
    assert "IMAGES must be files or folders that exist" in fails(
        capsys, tmp_path / "no", *TINY, "--out", tmp_path / "out"
    )
