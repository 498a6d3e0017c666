"""`data.show`: a sheet of labelled images."""

import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import checks

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype="uint8")


def test_a_sheet_has_the_labels_of_its_pictures(tmp_path):
    data = kt.data.from_arrays(IMAGES, ["cat", "dog", "owl"] * 2, validation=None)
    sheet = data.show(count=4, seed=3)
    rows = np.random.default_rng(3).permutation(6)[:4]
    assert sheet.captions == [["cat", "dog", "owl"][data.targets["train"][row]] for row in rows]
    shown = [axes.images[0].get_array() for axes in sheet.figure.axes]
    for picture, row in zip(shown, rows, strict=True):
        np.testing.assert_array_equal(picture, IMAGES[row])
    assert sheet._repr_png_().startswith(b"\x89PNG")
    sheet.save(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    with pytest.raises(checks.InputError, match="`path` must be a file"):
        sheet.save(tmp_path / "sheet.xyz")


def test_changed_copies_stand_beside_the_picture():
    data = kt.data.from_arrays(IMAGES, ["cat", "dog", "owl"] * 2, validation=None)
    sheet = data.show(count=2, augment="strong")
    pictures = [axes.images[0].get_array() for axes in sheet.figure.axes]
    assert len(pictures) == 12
    assert len(sheet.captions) == 2
    assert not np.array_equal(pictures[0], pictures[1])


def test_every_kind_of_target_has_a_caption():
    labels = {"kind": ["cat", None, "dog"] * 2, "age": np.arange(6) / 2, "tags": [["red"], []] * 3}
    data = kt.data.from_arrays(IMAGES, labels, validation=None)
    captions = data.show(count=6).captions
    assert "kind: no label\nage: 0.5\ntags: no tag" in captions
    assert "kind: dog\nage: 1\ntags: red" in captions


def test_notebooks_show_summary_and_pictures():
    data = kt.data.from_arrays(IMAGES[..., :1], np.arange(6) / 2, channels=1)
    page = data._repr_html_()
    assert "data:image/png;base64," in page
    assert "batches of 32" in page
    with pytest.raises(checks.InputError, match="`split` must be one of"):
        data.show("test")


def test_boxes_masks_and_images_are_drawn_over_their_pictures():
    boxes = [{"boxes": [[1, 1, 4, 4], [2, 3, 8, 8]], "labels": ["cat", "dog"], "ignored": [0, 1]}]
    labels = {"box": [*boxes * 5, None], "seg": IMAGES[..., 0] % 3, "same": IMAGES}
    data = kt.data.from_arrays(IMAGES, labels, validation=None)
    sheet = data.show(count=6)
    places = [place for place in sheet.figure.axes if place.images]
    drawn = dict(zip(sheet.captions, places, strict=True))
    without = next(text for text in drawn if "no label" in text)
    for caption, place in drawn.items():
        assert len(place.patches) == (0 if caption == without else 2)
        _, mask = place.images
        assert mask.get_array().shape == (8, 8, 4)
        assert len(place.child_axes) == 1
    place = next(place for caption, place in drawn.items() if caption != without)
    assert [text.get_text() for text in place.texts] == ["cat", "dog"]
    first, second = place.patches
    assert (first.get_xy(), first.get_width(), second.get_linestyle()) == ((0.5, 0.5), 3, "--")
