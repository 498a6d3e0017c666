import os
import pathlib
import re

import numpy as np
import pytest
from errors import told
from PIL import Image

import keras_transfer as kt

SIZE = (40, 60)  # height, width
SETTINGS = {"image_size": (20, 20), "validation": None}
BOMB = """<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY x "lol"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;&x;&x;"><!ENTITY z "&y;&y;&y;&y;&y;&y;&y;&y;">]>
<annotation><object><name>&z;</name></object></annotation>"""


def draw(path, seed=0, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def box(name, corners, difficult=0):
    names = ("xmin", "ymin", "xmax", "ymax")
    text = "".join(f"<{key}>{value}</{key}>" for key, value in zip(names, corners, strict=True))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{text}</bndbox></object>"


def annotation(*objects, size=SIZE):
    head = f"<size><width>{size[1]}</width><height>{size[0]}</height></size>"
    return f"<annotation>{head}{''.join(objects)}</annotation>"


CONTENTS = {
    "a": annotation(box("cat", (6, 8, 30, 20)), box("dog", (0, 0, 60, 40), difficult=1)),
    "b": annotation(),
    "c": annotation(box("cat", (5, 5, 5, 9)), box("cat", (0.5, 1.5, 2.5, 3.5))),
}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "set"
    (root / "Annotations").mkdir(parents=True)
    for seed, (name, text) in enumerate(CONTENTS.items()):
        draw(root / "JPEGImages" / f"{name}.png", seed)
        (root / "Annotations" / f"{name}.xml").write_text(text)
    return root


def test_boxes_are_scaled_with_their_pictures(folder, capsys):
    data = kt.data.from_voc(folder, **SETTINGS)
    assert data.class_names == ["cat", "dog"]
    assert [pathlib.Path(name).stem for name in data.files["train"]] == ["a", "b", "c"]
    none = [0, 0, 0, 0, -1, 0]
    np.testing.assert_allclose(
        data.targets["train"],
        [
            [[2, 4, 10, 10, 0, 0], [0, 0, 20, 20, 1, 1]],
            [none, none],
            [[0.5 / 3, 0.75, 2.5 / 3, 1.75, 0, 0], none],
        ],
        rtol=1e-6,
    )
    assert "left out 1 box without area: c.xml, object 1" in capsys.readouterr().out


def test_lists_say_which_split_a_picture_is_in(folder, capsys):
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("c 1\n")
    data = kt.data.from_voc(folder, image_size=20)
    assert {split: len(files) for split, files in data.files.items()} == {
        "train": 1,
        "validation": 1,
    }
    printed = capsys.readouterr().out
    assert "say which images are which: 1 train, 1 validation" in printed
    assert "left out 1 file in no list" in printed
    told(lambda: kt.data.from_voc(folder, validation=0.3), "`validation` must not be given twice")
    (lists / "test.txt").write_text("a\n")
    told(
        lambda: kt.data.from_voc(folder),
        "a picture must be in one list of",
        "'a' in 'train', 'test'",
    )
    (lists / "test.txt").write_text("\n")
    told(lambda: kt.data.from_voc(folder), "a list of a split must name pictures. Given: none in")
    (lists / "test.txt").write_text("x\n")
    told(
        lambda: kt.data.from_voc(folder), "every picture in the lists of", "1 without, such as 'x'"
    )


def test_files_may_lie_side_by_side_and_in_folders_of_splits(folder, tmp_path):
    for split, name in (("train", "a"), ("train", "c"), ("valid", "b")):
        draw(tmp_path / "flat" / split / f"{name}.png", ord(name))
        (tmp_path / "flat" / split / f"{name}.xml").write_text(CONTENTS[name])
    data = kt.data.from_voc(tmp_path / "flat", image_size=20)
    assert {split: len(files) for split, files in data.files.items()} == {
        "train": 2,
        "validation": 1,
    }
    data = kt.data.from_voc(tmp_path / "flat" / "train", **SETTINGS)
    assert len(data.files["train"]) == 2


def test_pictures_without_annotation_are_left_out_and_annotations_need_pictures(folder, capsys):
    draw(folder / "JPEGImages" / "d.png")
    assert len(kt.data.from_voc(folder, **SETTINGS).files["train"]) == 3
    assert "1 image has no annotation and is left out" in capsys.readouterr().out
    (folder / "Annotations" / "e.xml").write_text(CONTENTS["a"])
    told(
        lambda: kt.data.from_voc(folder),
        "every annotation must have a picture of its name",
        "none for e.xml",
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB, "it declares entities, which are never read"),
        (CONTENTS["a"][:-30], "no whole XML"),
        ("", "no whole XML"),
        ('<?xml version="1.0" encoding="no-such"?><annotation/>', "no whole XML"),
        (annotation(box("cat", (6, 8, 3, 20))), "object 1: a box that ends before it begins: 6, 8, 3, 20"),
        (annotation(box("cat", (6, 8, "x", 20))), "object 1: could not convert string to float: 'x'"),
        (annotation(box("cat", (6, 8, "nan", 20))), "object 1: a box that is not finite"),
        (annotation(box("", (6, 8, 9, 20))), "object 1: no name"),
        (annotation("<object><name>cat</name></object>"), "object 1: no bndbox with xmin"),
        (annotation(box("cow", (6, 8, 9, 20))), "object 1: 'cow' is no class (Known: 'cat', 'dog')"),
    ],
)  # fmt: skip
def test_annotations_that_cannot_be_are_told_or_left_out(folder, content, reason):
    (folder / "Annotations" / "b.xml").write_text(content)
    options = {**SETTINGS, "classes": ["cat", "dog"]}
    told(lambda: kt.data.from_voc(folder, **options), f"1 annotation is not: b.xml ({reason}")
    if content is BOMB:
        data = kt.data.from_voc(folder, **options, corrupt="skip")
        assert [pathlib.Path(name).stem for name in data.files["train"]] == ["a", "c"]


def test_boxes_outside_of_their_picture_are_told_or_left_out(folder):
    (folder / "Annotations" / "b.xml").write_text(annotation(box("cat", (6, 8, 90, 20))))
    told(lambda: kt.data.from_voc(folder, **SETTINGS), "b.png: box 0 [6, 8, 90, 20] lies outside")
    data = kt.data.from_voc(folder, **SETTINGS, corrupt="skip")
    assert [pathlib.Path(name).stem for name in data.files["train"]] == ["a", "c"]


def test_another_size_than_the_annotation_says_is_noted(folder, capsys):
    (folder / "Annotations" / "b.xml").write_text(annotation(size=(80, 60)))
    kt.data.from_voc(folder, **SETTINGS)
    expected = "1 image has another size than their annotations say, such as b.png of 60x40 pixels, not 60x80"
    assert expected in capsys.readouterr().out


@pytest.mark.realdata
def test_bccd(capsys):
    folder = pathlib.Path(os.environ["KERAS_TRANSFER_DATA"]) / "bccd"
    data = kt.data.from_voc(folder, image_size=32)
    assert {split: len(files) for split, files in data.files.items()} == {
        "train": 205, "validation": 87, "test": 72,
    }  # fmt: skip
    ids = np.concatenate([targets[..., 4].ravel() for targets in data.targets.values()]).astype(int)
    assert data.class_names == ["Platelets", "RBC", "WBC"]
    assert np.bincount(ids[ids >= 0]).tolist() == [361, 4155 - 2, 372]
    printed = capsys.readouterr().out
    degenerate = "BloodImage_00338.xml, object 13, BloodImage_00343.xml, object 4"
    assert f"left out 2 boxes without area: {degenerate}" in printed
    assert re.search("205 train, 87 validation, 72 test", printed)
