"""Boxes: what may be given, how they are scaled, and which cannot be."""

import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.data.targets import boxes, encoding, pictures

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 16, 32, 3), np.uint8)
CELLS = [
    {"boxes": [[2, 4, 10, 8], [0, 0, 32, 16]], "labels": ["red", "white"]},
    None,
    {"boxes": [], "labels": []},
    {"boxes": [[1, 1, 3, 3]], "labels": ["white"], "ignored": [True]},
]
ROWS = [
    [[1, 4, 5, 8, 0, 0], [0, 0, 16, 16, 1, 0]],
    [[0, 0, 0, 0, -1, 0]] * 2,
    [[0, 0, 0, 0, -1, 0]] * 2,
    [[0.5, 1, 1.5, 3, 1, 1], [0, 0, 0, 0, -1, 0]],
]


def one(corners, label="red"):
    return [{"boxes": [corners], "labels": [label]}] * 4


def test_boxes_are_scaled_with_their_pictures_and_padded():
    data = kt.data.from_arrays(IMAGES, CELLS, image_size=16, validation=None)
    assert data.class_names == ["red", "white"]
    np.testing.assert_array_equal(data.targets["train"], ROWS)
    images, targets, weights = next(iter(data.ordered("train")))
    np.testing.assert_array_equal(targets, ROWS)
    assert images.shape == (4, 16, 16, 3)
    assert weights.numpy().tolist() == [1, 0, 1, 1]
    lines = data.summary().splitlines()
    assert [line.split() for line in lines[1:5]] == [
        ["red", "1"], ["white", "2"], ["(ignored)", "1"], ["(images", "without)", "1"],
    ]  # fmt: skip


def test_scaling_there_and_back_returns_the_numbers():
    rng = np.random.default_rng(1)
    for _ in range(50):
        own, size = rng.integers(8, 600, (2, 2))
        corners = np.sort(rng.random((7, 2, 2)), axis=1).reshape(7, 4)
        corners *= np.tile(own[::-1], 2)
        label = {"boxes": corners, "labels": rng.integers(0, 3, 7)}
        sizes = pictures.Pictures(tuple(size), own[None])
        (found,), _ = boxes.encode([label], names=["a", "b", "c"], sizes=sizes)
        np.testing.assert_allclose(boxes.scaled(found, own / size)[:, :4], corners, atol=1e-4)
        assert (found[:, :4] <= np.tile(size[::-1], 2) + 1e-4).all()


BAD = {
    "reversed": (one([10, 4, 2, 8]), {}, r"index 0: box 0 \[10, 4, 2, 8\] is reversed"),
    "outside": (one([10, 4, 36, 8]), {}, "lies outside its picture of 32 x 16 pixels"),
    "xywh": (one([25, 4, 6, 8]), {}, "looks like x, y, width, height"),
    "middle": (one([30, 3, 4, 6]), {}, "looks like the middle, width, height"),
    "yxyx": (one([2, 20, 14, 30]), {}, "looks like y1, x1, y2, x2"),
    "shares": (one([0.1, 0.2, 0.5, 0.9]), {}, "They look like shares of the picture"),
    "not finite": (one([0, np.nan, 5, 5]), {}, "is not finite"),
    "no area": (one([3, 3, 3, 9]), {}, r'index 0 \(box 0\).* `corrupt="skip"`'),
    "unknown class": (one([0, 0, 5, 5], "rde"), {"class_names": ["red"]}, "Close names: 'red'"),
    "no corners": (one([0, 0, 5]), {}, "must be rows of 4 numbers. Given: shape"),
    "no label": ([{"boxes": [[0, 0, 5, 5]], "labels": []}] * 4, {}, "1 boxes, 0 labels"),
    "another key": ([{"boxes": [], "classes": []}] * 4, {}, r"Given: \['boxes', 'classes'\]"),
    "gap in ids": (one([0, 0, 5, 5], 2), {}, "ids up to 2 without 0"),
    "two kinds": ([CELLS[0], *one([0, 0, 5, 5], 1)[1:]], {}, "must be of one kind"),
    "none": ([{"boxes": [], "labels": []}] * 4, {}, "images without objects"),
    "all blank": ([None] * 4, {"targets": "boxes"}, "must hold a label of some image"),
    "too few": (CELLS[:3], {}, "3 for 4 pictures"),
}


@pytest.mark.parametrize("case", BAD)
def test_boxes_that_cannot_be_are_refused(case):
    labels, options, message = BAD[case]
    with pytest.raises(checks.InputError, match=message) as caught:
        kt.data.from_arrays(IMAGES, labels, validation=None, **options)
    assert "\n" not in str(caught.value)


def test_wrong_boxes_cost_their_image_and_those_without_area_only_themselves(capsys):
    labels = [
        *CELLS[:2],
        *one([10, 4, 2, 8])[:1],
        {"boxes": [[1, 1, 1 + 1e-9, 4], [0, 0, 4, 4]], "labels": ["red", "red"]},
    ]
    data = kt.data.from_arrays(IMAGES, labels, validation=None, corrupt="skip")
    assert len(data.targets["train"]) == 3
    assert data.targets["train"][2, :, 4].tolist() == [0, -1]
    text = capsys.readouterr().out
    assert "left out 1 box without area: index 3 (box 0)" in text
    assert (
        "left out 1 image with targets that cannot be: index 2: box 0 [10, 4, 2, 8] is reversed"
        in text
    )
    np.testing.assert_array_equal(next(iter(data.ordered("train")))[0], IMAGES[[0, 1, 3]])


def test_splits_and_mixtures_have_boxes_of_one_length():
    many = {"boxes": [[0, 0, 4, 4]] * 5, "labels": ["red"] * 5}
    held = (IMAGES[:1] // 2, [many])
    first = kt.data.from_arrays(IMAGES, CELLS, validation=held, class_names=["red", "white"])
    assert {part.shape for part in first.targets.values()} == {(4, 5, 6), (1, 5, 6)}
    second = kt.data.from_arrays(IMAGES, ["cat", "dog"] * 2, validation=None)
    mixed = kt.data.mix({"cells": first, "pets": second})
    assert mixed.targets["train"]["cells"].shape == (8, 5, 6)
    assert (mixed.targets["train"]["cells"][4:, :, 4] == -1).all()
    assert mixed.weights["train"]["cells"].tolist() == [1, 0, 1, 1, 0, 0, 0, 0]
    joined = first.joined()
    assert joined.targets["train"].shape == (5, 5, 6)
    np.testing.assert_array_equal(joined.targets["train"][:4], first.targets["train"])


def test_a_record_has_the_boxes_without_padding():
    encoded = np.array(ROWS, np.float32)
    for image in encoded:
        packed = boxes.pack(image)
        assert len(packed) == 24 * (image[:, 4] >= 0).sum()
        np.testing.assert_array_equal(boxes.unpack(tf.constant(packed), (2, 6), tf.float32), image)


def test_kinds_are_told_by_form():
    spec = tf.TensorSpec
    kinds = {
        "boxes": spec((None, 3, 6), tf.float32),
        "mask": spec((None, 8, 8), tf.uint8),
        "image": spec((None, 8, 8, 1), tf.float32),
        "category": spec((None,), tf.int64),
        "number": spec((None, 6), tf.float32),
    }
    for kind, one_spec in kinds.items():
        assert encoding.kind_of_spec(one_spec) is encoding.KINDS[kind]


def test_splits_share_out_rare_objects():
    images = np.random.default_rng(2).integers(0, 256, (40, 8, 8, 3), np.uint8)
    common, rare = (
        {"boxes": [[0, 0, 4, 4]], "labels": ["a"]},
        {"boxes": [[0, 0, 4, 4]], "labels": ["b"]},
    )
    labels = [rare if row % 10 == 0 else common for row in range(40)]
    for seed in range(3):
        data = kt.data.from_arrays(images, labels, validation=0.25, seed=seed)
        for split, wanted in (("train", [27, 3]), ("validation", [9, 1])):
            assert boxes.count(data.targets[split], data.class_names).tolist() == wanted
