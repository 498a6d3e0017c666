"""Images to predict: pictures are resized as pictures are, measurements by the nearest pixel."""

import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.data import pipeline
from keras_transfer.data.targets import images, pictures

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (4, 12, 16, 3), np.uint8)
DEPTHS = RNG.random((4, 12, 16)).astype(np.float32) * 9
SIZES = pictures.Pictures((6, 8), np.tile([12, 16], (4, 1)))


def test_arrays_are_resized_with_their_pictures():
    labels = {"same": PICTURES, "depth": [*DEPTHS[:3], None]}
    data = kt.data.from_arrays(PICTURES, labels, image_size=(6, 8), validation=None)
    found, targets, weights = next(iter(data.ordered("train")))
    np.testing.assert_array_equal(targets["same"], found)
    assert targets["same"].dtype == "uint8"
    assert targets["depth"].dtype == "float32"
    np.testing.assert_array_equal(targets["depth"][:3, ..., 0], DEPTHS[:3, 1::2, 1::2])
    assert not targets["depth"][3].numpy().any()
    assert weights["depth"].numpy().tolist() == [1, 1, 1, 0]


FILES = {
    "pictures": (lambda values, path: Image.fromarray(values).save(path), ".png", PICTURES),
    "16 bits": (lambda values, path: Image.fromarray(values).save(path), ".png", np.uint16(DEPTHS * 1000)),
    "floats": (lambda values, path: Image.fromarray(values).save(path), ".tif", DEPTHS),
    "arrays": (lambda values, path: np.save(path, values), ".npy", np.stack([DEPTHS, -DEPTHS], -1)),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_files_are_what_they_hold(case, tmp_path):
    write, ending, values = FILES[case]
    paths = [tmp_path / f"{number}{ending}" for number in range(3)]
    for path, value in zip(paths, values, strict=False):
        write(value, path)
    every = values[..., None] if values.ndim == 3 else values
    if values.dtype == np.uint8:
        expected = kt.data.load_images(paths, (6, 8), channels=every.shape[-1])
    else:
        expected = every[:3, 1::2, 1::2].astype(np.float32)
    blank = np.zeros_like(expected[:1])
    expected = np.concatenate([expected, blank])
    for keep in (True, False):
        column = images.read_files([*paths, None], sizes=SIZES, keep=keep)
        assert column.dtype == expected.dtype
        np.testing.assert_array_equal(column, expected)
        examples = pipeline.Examples.of(PICTURES[:, :6, :8], column)
        (batch,) = pipeline.batches(examples, size=(6, 8), batch_size=4)
        np.testing.assert_array_equal(batch[1], expected)
        assert images.holds(column, None)


def test_files_of_other_kinds_than_the_first_are_named(tmp_path):
    paths = [tmp_path / "a.npy", tmp_path / "b.npy", tmp_path / "c.png"]
    np.save(paths[0], DEPTHS[0])
    np.save(paths[1], np.where(DEPTHS[0] < 1, np.nan, DEPTHS[0]))
    Image.fromarray(PICTURES[0]).save(paths[2])
    with pytest.raises(
        checks.InputError, match="b.npy' .not finite at row .*c.png' .3 channels"
    ) as wrong:
        images.read_files(paths, sizes=pictures.Pictures((6, 8)))
    assert "\n" not in str(wrong.value)


BAD = {
    "not finite": (np.where(DEPTHS < 1, np.nan, DEPTHS), {}, "not finite at row"),
    "of classes": (PICTURES, {"class_names": ["a", "b"]}, "images, which have no classes"),
    "several sizes": ([*DEPTHS[:3], DEPTHS[3, :5]], {}, "16 x 5 pixels, and the first has 16 x 12"),
    "too few": (DEPTHS[:3], {}, "3 for 4 pictures"),
}


@pytest.mark.parametrize("case", BAD)
def test_images_that_cannot_be_are_refused(case):
    labels, options, message = BAD[case]
    with pytest.raises(checks.InputError, match=message):
        kt.data.from_arrays(PICTURES, labels, validation=None, **options)
