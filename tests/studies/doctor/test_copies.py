"""Copies and near copies, against a comparison of all pairs."""

import importlib.util
import pathlib

import numpy as np
from PIL import ImageEnhance

import keras_transfer as kt
from keras_transfer.studies.doctor import base, copies, pictures

spec = importlib.util.spec_from_file_location(
    "planted", pathlib.Path(__file__).parent / "planted.py"
)
planted = importlib.util.module_from_spec(spec)
spec.loader.exec_module(planted)


def case(images, splits=None):
    names = [str(at) for at in range(len(images))]
    looks = pictures.Pictures(names)
    for at, image in enumerate(images):
        looks.add(at, image.tobytes(), image, image.size)
    splits = np.array([""] * len(images) if splits is None else splits)
    return base.Case(looks, splits, {}, {})


def groups(found):
    return [set(group) for each in found for group in each.details["groups"]]


def test_near_copies_are_those_that_all_pairs_show():
    images = []
    for seed in range(60):
        image = planted.photo(seed)
        images.append(image)
        if seed % 3 == 0:
            images.append(image.resize((40, 40)).resize((64, 64)))
        if seed % 5 == 0:
            images.append(ImageEnhance.Contrast(image).enhance(0.7))
    one = case(images)
    vectors = one.pictures.thumbs.reshape(len(images), -1).astype(float)
    alike = np.corrcoef(vectors) >= copies.SAME
    expected = {frozenset(map(str, np.flatnonzero(row))) for row in alike if row.sum() > 1}
    assert len(expected) == 28  # 20 + 12 - 4
    assert {frozenset(group) for group in groups(copies.check(one))} == expected


def test_a_group_is_told_once():
    images = [
        planted.photo(1),
        planted.photo(1),
        planted.photo(2),
        planted.photo(2).resize((50, 50)),
    ]
    found = list(copies.check(case(images)))
    assert groups(found) == [{"0", "1"}, {"2", "3"}]
    assert [each.severity for each in found] == ["warning", "note"]
    found = list(copies.check(case(images, ["train", "test", "train", "train"])))
    assert [each.severity for each in found] == ["error", "note"]
    # A copy and a near copy of it: the copies, then the near copy with one of them.
    images = [planted.photo(1), planted.photo(1), planted.photo(1).resize((50, 50))]
    assert list(map(len, groups(copies.check(case(images))))) == [2, 2]


def test_many_equal_pictures_take_no_longer():
    images = np.zeros((3000, 8, 8, 3), "uint8")
    images[:] = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    (finding,) = kt.doctor(images, check=["copies"])
    assert finding.count == 2999
    assert len(finding.files) == 3000


def test_pictures_without_shapes_are_no_copies():
    flat = [planted.photo(1).point(lambda value: 100 + (value > 250)) for _ in range(2)]
    flat[1].putpixel((0, 0), (0, 0, 0))
    assert list(copies.check(case(flat))) == []
    assert list(copies.check(case([]))) == []
