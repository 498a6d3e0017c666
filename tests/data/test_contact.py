"""The sheet of small pictures that a report shows."""

import io

import numpy as np
from PIL import Image

from keras_transfer.data import contact
from keras_transfer.pages import overlays

IMAGES = np.full((3, 16, 8, 3), 90, "float32")


def test_boxes_masks_and_target_pictures_stand_in_their_places():
    boxes = np.array([[[2, 4, 6, 12, 1, 0], [0, 0, 0, 0, -1, 0]]], "float32").repeat(3, axis=0)
    masks = np.zeros((3, 16, 8), np.uint8)
    masks[:, :8] = 255
    depth = np.linspace(5, 9, 16, dtype="float32")[None, :, None, None] * np.ones(
        (3, 1, 8, 1), "float32"
    )
    targets = {"boxes": boxes, "mask": masks, "depth": depth}
    names = {"boxes": ["cat", "dog"], "mask": ["sky"]}
    plain = contact.paint(IMAGES[0], {}, None, 0)
    assert plain.shape == (176, 88, 3)
    painted = contact.paint(IMAGES[0], targets, names, 0)
    assert painted.shape == (176, 176, 3)
    scale = 11
    np.testing.assert_array_equal(
        painted[12 * scale - 1, 3 * scale], overlays.colour(1)
    )  # the lower edge
    assert (
        painted[-5, 5] == (plain[-5, 5] // 2 + np.array(overlays.colour(0)) // 2)
    ).all()  # the class
    assert (painted[5, 80] < plain[5, 80]).all()  # unknown pixels are dark
    assert painted[0, 100, 0] == 0
    assert painted[-1, 100, 0] == 255
    unknown = contact.paint(IMAGES[0], targets | {"boxes": boxes * [1, 1, 1, 1, 1, 1]}, None, 0)
    assert unknown.shape == painted.shape


def test_a_target_picture_may_be_larger_than_the_image():
    painted = contact.paint(np.zeros((8, 12, 3)), np.zeros((1, 16, 24, 3), "uint8"), None, 0)
    assert painted.shape == (117, 2 * 176, 3)


def test_labels_are_told_in_words():
    names = {"kind": ["cat", "dog", "owl"], "numbers": ["sky", "road"]}
    targets = {
        "kind": np.array([[0.62, 0.36, 0.02], [0.0, 1.0, 0.0]]),
        "age": np.array([3.25, 0.0]),
        "mask": np.zeros((2, 4, 4), np.uint8),
        "numbers": np.zeros((2, 4, 4), np.float32),
    }
    weights = {"kind": np.ones(2), "age": np.array([1.0, 0.0]), "mask": np.array([1.0, 0.0])}
    assert contact.describe(targets, names, weights, 0) == ["kind: 0.62 cat, 0.36 dog", "age: 3.25"]
    assert contact.describe(targets, names, weights, 1) == [
        "kind: 1.00 dog",
        "age: no label",
        "mask: no label",
    ]


def test_a_sheet_has_so_many_pictures_and_any_channels():
    for channels in (1, 3, 4):
        images = np.zeros((9, 8, 8, channels), "uint8")
        sheet = Image.open(io.BytesIO(contact.png(images, np.arange(9) / 2, most=6)))
        assert sheet.size == (4 * 182 + 6, 2 * (176 + 14 + 6) + 6)
