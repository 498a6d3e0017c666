import os
import pathlib

import numpy as np
import pytest
from errors import told
from PIL import Image

import keras_transfer as kt

SETTINGS = {"image_size": (4, 6), "validation": None}
IDS = np.random.default_rng(0).integers(0, 3, (3, 8, 12), dtype=np.uint8)
IDS[:, 0, :] = 255
NAMES = ("road", "sky", "car")
COLOURS = ((128, 64, 128), (70, 130, 180), (0, 0, 142))


def draw(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def save(path, ids, form="values"):
    path.parent.mkdir(parents=True, exist_ok=True)
    if form == "colours":
        table = np.zeros((256, 3), np.uint8)
        table[:3] = COLOURS
        Image.fromarray(table[ids]).save(path)
        return
    image = Image.fromarray(ids)
    if form == "palette":
        image = image.convert("P")
        image.putdata(ids.ravel().tolist())
        image.putpalette(np.random.default_rng(1).integers(0, 256, 768).tolist())
    image.save(path)


@pytest.fixture
def folders(tmp_path):
    images, masks = tmp_path / "images", tmp_path / "masks"
    for at, ids in enumerate(IDS):
        draw(images / f"{at}.jpg", at)
        save(masks / f"{at}.png", ids)
    return images, masks


@pytest.mark.parametrize("form", ["values", "palette", "colours"])
@pytest.mark.parametrize("cache", ["memory", "off"])
def test_masks_of_values_palettes_and_colours(folders, form, cache):
    images, masks = folders
    for at, ids in enumerate(IDS):
        save(masks / f"{at}.png", ids, form)
    classes, ignored = NAMES, 255
    if form == "colours":
        classes, ignored = dict(zip(NAMES, COLOURS, strict=True)), (0, 0, 0)
    data = kt.data.from_masks(
        images, masks, classes=classes, ignored=ignored, cache=cache, **SETTINGS
    )
    assert data.class_names == list(NAMES)
    _, found = next(iter(data.ordered("train")))
    np.testing.assert_array_equal(found, IDS[:, 1::2, 1::2])  # the nearest pixels


def test_folders_of_splits_and_pairs_of_folders(folders, tmp_path):
    images, masks = folders
    for at, split in enumerate(("train", "train", "val")):
        draw(tmp_path / "split" / "images" / split / f"{at}.png", at)
        save(tmp_path / "split" / "masks" / split / f"{at}.png", IDS[at])
    held = (tmp_path / "split" / "images" / "train", tmp_path / "split" / "masks" / "train")
    data = kt.data.from_masks(
        tmp_path / "split" / "images", tmp_path / "split" / "masks", classes=NAMES, image_size=4
    )
    assert {split: len(files) for split, files in data.files.items()} == {
        "train": 2,
        "validation": 1,
    }
    data = kt.data.from_masks(images, masks, classes=NAMES, test=held, **SETTINGS)
    assert {split: len(files) for split, files in data.files.items()} == {"train": 3, "test": 2}


def test_names_may_have_an_ending_of_their_own(folders, capsys):
    images, masks = folders
    for at in range(2):
        (masks / f"{at}.png").rename(masks / f"{at}_mask.png")
    (masks / "2.png").unlink()
    told(lambda: kt.data.from_masks(images, masks, classes=NAMES), "Give `suffix='_mask'`.")
    for at in range(2):
        (masks / f"{at}_mask.png").rename(images / f"{at}_mask.png")
    data = kt.data.from_masks(images, images, classes=NAMES, suffix="_mask", **SETTINGS)
    assert [pathlib.Path(name).name for name in data.files["train"]] == ["0.jpg", "1.jpg"]
    assert "1 image has no mask and is left out" in capsys.readouterr().out


def test_masks_that_cannot_be_are_told_or_left_out(folders):
    images, masks = folders
    save(masks / "1.png", IDS[1] * 2)
    options = {"classes": NAMES, **SETTINGS}
    told(lambda: kt.data.from_masks(images, masks, **options), "1.jpg: ")
    save(masks / "2.png", IDS[2][:4])
    data = kt.data.from_masks(images, masks, **options, corrupt="skip")
    assert [pathlib.Path(name).name for name in data.files["train"]] == ["0.jpg"]
    save(masks / "other.png", IDS[0])
    told(
        lambda: kt.data.from_masks(images, masks, **options),
        "every mask must have a picture of its name",
        "none for other.png",
    )


@pytest.mark.realdata
@pytest.mark.parametrize("source", ["folders", "table"])
def test_camvid_small(source):
    folder = pathlib.Path(os.environ["KERAS_TRANSFER_DATA"]) / "camvid_small"
    names = [
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ]
    if source == "folders":
        pairs = [(folder / split, folder / f"{split}annot") for split in ("train", "test")]
        data = kt.data.from_masks(
            *pairs[0],
            test=pairs[1],
            classes=names,
            ignored=11,
            image_size=(36, 48),
            validation=None,
        )
        found, own_names = data.targets, data.class_names
    else:
        targets = {"mask": {"mask": "mask", "classes": names, "ignored": 11}}
        data = kt.data.from_csv(
            folder / "index.csv",
            image="image",
            split="split",
            targets=targets,
            image_size=(36, 48),
            validation=None,
        )
        found = {split: columns["mask"] for split, columns in data.targets.items()}
        own_names = data.class_names["mask"]
    assert own_names == names
    for split, count in (("train", 24), ("test", 12)):
        values = np.asarray(found[split])
        assert values.shape == (count, 36, 48)
        expected = []
        for file in sorted((folder / f"{split}annot").iterdir()):
            expected.append(np.array(Image.open(file))[5::10, 5::10])
        expected = np.stack(expected)
        np.testing.assert_array_equal(values, np.where(expected == 11, 255, expected))
