import numpy as np
import pytest
from errors import told
from PIL import Image

import keras_transfer as kt

SETTINGS = {"image_size": 20, "validation": None}
LINES = {
    "a": "1 0.5 0.5 0.5 0.25\n\n0 0.25 0.75 0.5 0.5 0.9\n",
    "b": "",
    "c": "0 0.1 0.1 0.3 0.1 0.3 0.5 0.1 0.5\n",
}
NONE = [0, 0, 0, 0, -1, 0]
EXPECTED = [
    [[5, 7.5, 15, 12.5, 1, 0], [0, 10, 10, 20, 0, 0]],
    [NONE, NONE],
    [[2, 2, 6, 10, 0, 0], NONE],
]


def draw(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(ord(path.stem)).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def fill(images, labels, names="abc"):
    for name in names:
        draw(images / f"{name}.png")
        labels.mkdir(parents=True, exist_ok=True)
        (labels / f"{name}.txt").write_text(LINES[name])


def test_lines_become_boxes(tmp_path, capsys):
    fill(tmp_path / "images", tmp_path / "labels")
    data = kt.data.from_yolo(tmp_path, classes=["cat", "dog"], **SETTINGS)
    assert data.class_names == ["cat", "dog"]
    np.testing.assert_allclose(data.targets["train"], EXPECTED, rtol=1e-5)
    assert "1 outline is read as the box around it" in capsys.readouterr().out
    (tmp_path / "labels" / "b.txt").unlink()
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    data = kt.data.from_yolo(tmp_path, **SETTINGS)
    np.testing.assert_allclose(data.targets["train"], EXPECTED, rtol=1e-5)
    assert (
        "1 image has no label file: as YOLO has it, no object is there" in capsys.readouterr().out
    )


@pytest.mark.parametrize("layout", ["images/{}", "{}/images", "side by side"])
def test_layouts(tmp_path, layout):
    for split, names in (("train", "ac"), ("val", "b")):
        if layout == "side by side":
            fill(tmp_path / split, tmp_path / split, names)
        else:
            inside = layout.format(split)
            fill(tmp_path / inside, tmp_path / inside.replace("images", "labels"), names)
    (tmp_path / "data.yaml").write_text("names: {0: cat, 1: dog}\n")
    data = kt.data.from_yolo(tmp_path, image_size=20)
    np.testing.assert_allclose(data.targets["train"], [EXPECTED[0], EXPECTED[2]], rtol=1e-5)
    assert len(data.files["validation"]) == 1
    settings = "path: /on/another/machine\ntrain: {0}\nval: {1}\nnames: [cat, dog]\n"
    folder = "{}" if layout == "side by side" else layout
    text = settings.format(folder.format("train"), f"../{folder.format('val')}")
    (tmp_path / "data.yaml").write_text(text)
    assert kt.data.from_yolo(tmp_path / "data.yaml", image_size=20).digest == data.digest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 0.5 0.5 0.5 0.5", "line 1: 2 is no class of 2"),
        ("0.5 0.5 0.5 0.5 0.5", "line 1: 0.5 is no class of 2"),
        ("-1 0.5 0.5 0.5 0.5", "line 1: -1 is no class of 2"),
        ("nan 0.5 0.5 0.5 0.5", "line 1: nan is no class of 2"),
        ("\n1 0.5 0.5 0.5", "line 2: 4 numbers instead of 5"),
        ("1 0.5 0.5 0.5 x", "line 1: '1 0.5 0.5 0.5 x' are no numbers"),
        ("1 30 20 10 10", "line 1: numbers must be shares of the picture, from 0 to 1"),
        ("1 0.5 0.5 inf 0.5", "line 1: numbers must be shares of the picture, from 0 to 1"),
        ("1 0.9 0.5 0.5 0.5", "a.png: box 0 [39, 10, 69, 30] lies outside"),
        ("1 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "line 1: 8 numbers instead of 5"),
    ],
)
def test_lines_that_cannot_be_are_told(tmp_path, text, expected):
    fill(tmp_path / "images", tmp_path / "labels")
    (tmp_path / "labels" / "a.txt").write_text(text)
    options = {"classes": ["cat", "dog"], **SETTINGS}
    told(lambda: kt.data.from_yolo(tmp_path, **options), expected)


def test_pictures_with_wrong_lines_are_left_out(tmp_path):
    fill(tmp_path / "images", tmp_path / "labels")
    (tmp_path / "labels" / "c.txt").write_text("1 0.5")
    data = kt.data.from_yolo(tmp_path, classes=["cat", "dog"], **SETTINGS, corrupt="skip")
    np.testing.assert_allclose(data.targets["train"], EXPECTED[:2], rtol=1e-5)


GROWING = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("names: [cat", "which is no YAML"),
        ("- cat", "Given: a list in"),
        ("train: images", "the names of the classes must be known. Given: none in"),
        ("names: 3", "the names of the classes must be known. Given: a int"),
        (
            "names: {0: cat, 2: dog}",
            "classes in 'names' must be numbered from 0. Given: numbers [0, 2]",
        ),
        ("names: [cat]\ntrain: ../../elsewhere", "folders that data.yaml names must exist"),
        (f"names: [cat]\ntrain: {'a' * 5000}", "folders that data.yaml names must exist"),
        ("names: [cat]\nval: images", "data.yaml must name a folder to train on"),
        ("names: !!python/object/apply:os.system ['false']", "which is no YAML"),
        (GROWING + "names: *i", "it has aliases, which are never followed"),
        ("[" * 3000, "which is no YAML (it has too many lists in lists)"),
    ],
)
def test_settings_that_cannot_be_are_told(tmp_path, text, expected):
    fill(tmp_path / "images", tmp_path / "labels")
    (tmp_path / "data.yaml").write_text(text)
    told(lambda: kt.data.from_yolo(tmp_path, **SETTINGS), expected)


def test_a_folder_without_label_files_is_an_error(tmp_path):
    draw(tmp_path / "images" / "a.png")
    told(
        lambda: kt.data.from_yolo(tmp_path, classes=["cat"]), "there must be text files with boxes"
    )
    (tmp_path / "images" / "a.png").unlink()
    told(lambda: kt.data.from_yolo(tmp_path, classes=["cat"]), "there must be pictures for train")


def test_lists_of_pictures(tmp_path):
    fill(tmp_path / "images", tmp_path / "labels")
    (tmp_path / "train.txt").write_text("./images/a.png\nimages/c.png\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [cat, dog]\n")
    data = kt.data.from_yolo(tmp_path, **SETTINGS)
    np.testing.assert_allclose(data.targets["train"], [EXPECTED[0], EXPECTED[2]], rtol=1e-5)
    (tmp_path / "train.txt").write_text("../a.png\n")
    told(lambda: kt.data.from_yolo(tmp_path), "lists must name pictures", "'../a.png' is no path")
