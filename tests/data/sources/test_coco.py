import json
import pathlib

import numpy as np
import pytest
from errors import told
from PIL import Image

import keras_transfer as kt

SETTINGS = {"image_size": 20, "validation": None}


def content():
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 60, "height": 40},
            {"id": 3, "file_name": "sub/b.png", "width": 60, "height": 40},
            {"id": 9, "file_name": "c.png"},
        ],
        "categories": [
            {"id": 90, "name": "dog"}, {"id": 0, "name": "thing"}, {"id": 17, "name": "cat"},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 90, "bbox": [6, 8, 24, 12], "iscrowd": 0},
            {
                "id": 2, "image_id": 7, "category_id": 17, "bbox": [0, 0, 60, 40], "iscrowd": 1,
                "segmentation": {"counts": "x"},
            },
            {"id": 3, "image_id": 9, "category_id": 17, "bbox": [3, 2, 0, 5], "iscrowd": 0},
            {"id": 4, "image_id": 9, "category_id": 17, "bbox": [3, 2, 3, 2]},
        ],
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    for seed, name in enumerate(("a.png", "sub/b.png", "c.png")):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    return tmp_path


def read(folder, text=None, **options):
    path = folder / "instances.json"
    path.write_text(json.dumps(content()) if text is None else text)
    return kt.data.from_coco(path, images=folder, **{**SETTINGS, **options})


def test_boxes_crowds_and_pictures_without_objects(folder, capsys):
    data = read(folder)
    assert data.class_names == ["cat", "dog"]  # in the order of 17 and 90
    none = [0, 0, 0, 0, -1, 0]
    np.testing.assert_allclose(
        data.targets["train"],
        [[[2, 4, 10, 10, 1, 0], [0, 0, 20, 20, 0, 1]], [none, none], [[1, 1, 2, 2, 0, 0], none]],
        rtol=1e-6,
    )
    assert data.weights is None
    printed = capsys.readouterr().out
    assert "no box is a 'thing': this category is no class" in printed
    assert "left out 1 box without area: c.png (annotation 3)" in printed
    assert "left out 1 outline (segmentation) in" in printed


def test_splits_may_have_files_of_their_own(folder):
    more = content()
    for row in more["images"]:
        row["file_name"] = f"more/{row['file_name']}"
    (folder / "more" / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.png", "c.png"):
        Image.new("RGB", (60, 40), len(name)).save(folder / "more" / name)
    (folder / "held.json").write_text(json.dumps(more))
    data = read(folder, test=(folder / "held.json", folder))
    assert {split: len(files) for split, files in data.files.items()} == {"train": 3, "test": 3}
    np.testing.assert_array_equal(data.targets["test"], data.targets["train"])
    more["categories"][0]["name"] = "cow"
    (folder / "held.json").write_text(json.dumps(more))
    told(
        lambda: read(folder, test=(folder / "held.json", folder)),
        "all files must have the same categories",
    )


def test_chosen_classes_keep_their_order_and_must_have_all(folder):
    assert read(folder, classes=["thing", "dog", "cat"]).class_names == ["thing", "dog", "cat"]
    told(
        lambda: read(folder, classes=["dog", "cat"]),
        "`classes` must have all categories. Given: 'thing'",
    )


def without(key):
    made = content()
    del made[key]
    return json.dumps(made)


def changed(part, row, **entries):
    made = content()
    made[part][row].update(entries)
    return json.dumps(made)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (json.dumps(content())[:-40], "`annotations` must be a COCO file with images, annotations, categories. "),
        ("[" * 100_000, "which is no whole JSON"),
        ("[]", "Given: a list in"),
        (json.dumps({**content(), "images": []}), "a COCO file must name pictures. Given: none in"),
        (without("categories"), "Given: no list of categories in"),
        (changed("categories", 0, id=17), "must have an id and a name of its own. Given: 17, 'cat' twice"),
        (changed("images", 0, file_name="../a.png"), "1 annotation is not: ../a.png ('../a.png' is no path inside"),
        (changed("images", 0, file_name="d.png"), "1 annotation is not: d.png (there is no file"),
        (changed("images", 0, id=3), "the id 3 or the name is there twice"),
        (changed("images", 0, id=[1]), "a.png (no id, or no file_name)"),
        (changed("annotations", 0, image_id=5), "annotation 1 (no picture has the id 5)"),
        (changed("annotations", 0, category_id=5), "a.png (annotation 1: no category has the id 5)"),
        (changed("annotations", 0, category_id={}), "a.png (annotation 1: no category has the id {})"),
        (changed("annotations", 0, bbox=None), "a.png (annotation 1: no bbox of numbers)"),
        (changed("annotations", 0, bbox=[1, 2, 3]), "a.png (annotation 1: 3 numbers for a box)"),
        (changed("annotations", 0, bbox=[1, 2, -3, 4]), "a.png (annotation 1: a box of negative size: 1, 2, -3, 4)"),
        (changed("annotations", 0, bbox=[1, 2, float("nan"), 4]), "a.png (annotation 1: a box that is not finite"),
        (changed("annotations", 0, bbox=[1, 2, 10**400, 4]), "a.png (annotation 1: int too large"),
        (changed("annotations", 0, bbox=[1, 2, 90, 4]), "a.png: box 0 [1, 2, 91, 6] lies outside"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told(folder, text, expected):
    told(lambda: read(folder, text), expected)


def test_pictures_with_wrong_annotations_are_left_out(folder):
    data = read(folder, changed("annotations", 0, bbox=[1, 2, -3, 4]), corrupt="skip")
    assert [pathlib.Path(name).name for name in data.files["train"]] == ["b.png", "c.png"]
