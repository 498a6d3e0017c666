"""Masks: arrays and files, what their values mean, and which cannot be."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.data import pipeline
from keras_transfer.data.targets import encoding, masks, pictures

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (4, 12, 20, 3), np.uint8)
IDS = RNG.integers(0, 3, (4, 12, 20))
NAMES = ["road", "sky", "tree"]
COLOURS = np.array([(128, 64, 128), (0, 0, 255), (9, 99, 9)], np.uint8)
SIZES = pictures.Pictures((12, 20), np.tile([12, 20], (4, 1)))


def slow_nearest(values, size):
    """The pixel under the middle of each new one."""
    result = np.empty(size, values.dtype)
    for down in range(size[0]):
        for across in range(size[1]):
            row = (down + 0.5) * values.shape[0] / size[0]
            column = (across + 0.5) * values.shape[1] / size[1]
            result[down, across] = values[int(row), int(column)]
    return result


@pytest.mark.parametrize("size", [(12, 20), (6, 10), (7, 9), (24, 40), (30, 5)])
def test_masks_are_resized_by_the_nearest_pixel(size):
    expected = [slow_nearest(mask, size) for mask in IDS]
    data = kt.data.from_arrays(IMAGES, IDS, image_size=size, class_names=NAMES, validation=None)
    np.testing.assert_array_equal(data.targets["train"], expected)
    # TensorFlow resizes the picture; its nearest pixel is the same one.
    resized = tf.image.resize(IDS[..., None], size, method="nearest")[..., 0]
    np.testing.assert_array_equal(data.targets["train"], resized)


def test_masks_may_be_missing_in_part_or_all():
    labels = [IDS[0], None, np.ma.masked_array(IDS[2], IDS[2] == 1), IDS[3]]
    data = kt.data.from_arrays(IMAGES, {"seg": labels}, class_names={"seg": NAMES}, validation=None)
    found = data.targets["train"]["seg"]
    assert found.dtype == np.uint8
    assert (found[1] == 255).all()
    np.testing.assert_array_equal(found[2], np.where(IDS[2] == 1, 255, IDS[2]))
    assert data.weights["train"]["seg"].tolist() == [1, 0, 1, 1]
    assert "(ignored)" in data.summary()
    share = (IDS[3] == 2).sum() + (IDS[0] == 2).sum() + (IDS[2] == 2).sum()
    row = next(line.split() for line in data.summary().splitlines() if line.startswith("tree"))
    assert row[1] == f"{share / IDS[:3].size:.1%}"


BAD = {
    "no class": (
        np.where(IDS == 2, 7, IDS),
        {"class_names": NAMES},
        r"7 at row \d+, column \d+ is no class",
    ),
    "below 0": (np.where(IDS == 2, -1, IDS), {}, "give 255 to pixels that do not count"),
    "another size": (IDS[:, :6], {}, "20 x 6 pixels, and its picture has 20 x 12"),
    "one class": (IDS * 0, {}, "at least two classes besides 255. Given: only 0"),
    "grey values": (IDS * 100, {}, "must count from 0, without a gap"),
    "too few": (IDS[:3], {}, "3 for 4 pictures"),
    "of another kind": (IDS, {"targets": "maks"}, "Close names: 'mask'"),
    "names of many": (IDS, {"targets": {"a": "mask"}}, "`targets` must be a kind"),
}


@pytest.mark.parametrize("case", BAD)
def test_masks_that_cannot_be_are_refused(case):
    labels, options, message = BAD[case]
    with pytest.raises(checks.InputError, match=message) as caught:
        kt.data.from_arrays(IMAGES, labels, validation=None, **options)
    assert "\n" not in str(caught.value)


def save(folder, pictures_of):
    paths = []
    for number, picture in enumerate(pictures_of):
        paths.append(folder / f"{number}.png")
        picture.save(paths[-1])
    return paths


def with_palette(ids, colours):
    picture = Image.fromarray(ids.astype(np.uint8)).convert("L").convert("P")
    picture.putdata(ids.ravel().tolist())
    picture.putpalette(colours.ravel().tolist())
    return picture


def grey(values):
    return Image.fromarray(np.asarray(values, np.uint8))


VALUES = dict(zip(NAMES, (1, 51, 101), strict=True))
BY_COLOUR = dict(zip(NAMES, map(tuple, COLOURS.tolist()), strict=True))
FILES = {
    "grey": (grey, NAMES),
    "values": (lambda ids: grey(50 * ids + 1), VALUES),
    "palette": (lambda ids: with_palette(ids, COLOURS[[0, 0, 0]]), NAMES),
    "colours of a palette": (lambda ids: with_palette(ids, COLOURS), BY_COLOUR),
    "colours": (lambda ids: Image.fromarray(COLOURS[ids]), BY_COLOUR),
    "16 bits": (lambda ids: Image.fromarray(ids.astype(np.uint16)), NAMES),
    "found": (grey, None),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_files_of_every_sort_are_class_ids(case, tmp_path):
    draw, classes = FILES[case]
    paths = [*save(tmp_path, map(draw, IDS[:3])), None]
    found = {}
    for keep in (True, False):
        column, names = masks.read_files(paths, sizes=SIZES, classes=classes, keep=keep)
        assert names == (NAMES if classes else ["0", "1", "2"])
        assert (column.shape, column.dtype, len(column)) == ((4, 12, 20), np.uint8, 4)
        np.testing.assert_array_equal(column, [*IDS[:3], np.full((12, 20), 255)])
        np.testing.assert_array_equal(column[1], IDS[1])
        picked = column[np.array([2, 0])]
        counts = [np.bincount(IDS[row].ravel(), minlength=3) for row in (2, 0)]
        np.testing.assert_array_equal(masks.pixels_of(picked, 3), counts)
        examples = pipeline.Examples.of(IMAGES, {"seg": column}).pick(np.array([3, 2, 0]))
        for batch in pipeline.batches(examples, size=(12, 20), batch_size=3):
            np.testing.assert_array_equal(batch[1]["seg"], np.asarray(column)[[3, 2, 0]])
        for batch in pipeline.places(examples, batch_size=3):
            np.testing.assert_array_equal(batch[1]["seg"], np.asarray(column)[[3, 2, 0]])
        found[keep] = encoding.digest_of(column)
    assert found[True] == found[False]


WRONG_FILES = {
    "unknown value": (lambda: grey(IDS[0] + 7), NAMES, r"has the value \d, which is no class"),
    "unknown colour": (lambda: grey(IDS[0] * 0 + 7), BY_COLOUR, r"colour \(7, 7, 7\)"),
    "colours": (lambda: Image.fromarray(IMAGES[0]), NAMES, "has colours, and the classes are values"),
    "another size": (lambda: grey(IDS[0, :9, :9]), NAMES, "9 x 9 pixels, and its picture has 20 x 12"),
    "a gap": (lambda: grey(IDS[0] * 60), None, "count from 0, without a gap"),
    "no ids": (lambda: grey(IDS[0] // 2 * 255), None, "besides 255. Given: only 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_FILES)
def test_files_that_cannot_be_are_named(case, tmp_path):
    draw, classes, message = WRONG_FILES[case]
    paths = save(tmp_path, [draw()] * 4)
    with pytest.raises(checks.InputError, match=message) as caught:
        masks.read_files(paths, sizes=SIZES, classes=classes)
    assert "\n" not in str(caught.value)
    if classes is not None:
        assert str(paths[0]) in str(caught.value)
        faults = pictures.Faults(is_refused=False)
        masks.read_files(paths, sizes=SIZES, classes=classes, faults=faults)
        assert sorted(faults.reasons) == [0, 1, 2, 3]
