"""Pairs of a spoiled picture and the picture itself."""

import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import checks

SCENES = kt.data.scenes(12, image_size=32, validation=0.25)


def pairs(way, **options):
    data = kt.data.spoil(SCENES, way, **options)
    spoiled, clean = next(iter(data.ordered("validation")))
    return np.asarray(spoiled), np.asarray(clean), data


def test_targets_are_the_pictures_and_splits_stay():
    spoiled, clean, data = pairs("noise", amount=10)
    images, _ = next(iter(SCENES.ordered("validation")))
    np.testing.assert_array_equal(clean, images)
    inside = (clean > 40) & (clean < 215)  # not cut off
    assert np.std((spoiled - clean)[inside]) == pytest.approx(10, rel=0.05)
    assert data.class_names is None
    again, _, same = pairs("noise", amount=10)
    np.testing.assert_array_equal(spoiled, again)
    assert data.digest == same.digest
    assert (pairs("noise", amount=10, seed=1)[0] != spoiled).any()


def test_grey_has_the_light_of_the_picture():
    spoiled, clean, _ = pairs("grey")
    np.testing.assert_allclose(spoiled[..., 0], clean @ [0.299, 0.587, 0.114], atol=0.51)
    np.testing.assert_array_equal(spoiled[..., 0], spoiled[..., 2])


def test_a_hole_is_one_grey_square():
    spoiled, clean, _ = pairs("holes", amount=0.25)
    for image, whole in zip(spoiled, clean, strict=True):
        rows, columns = np.nonzero((image != whole).any(axis=-1))
        assert len(rows) > 200  # of 256; some pixels were grey before
        assert np.ptp(rows) < 16
        assert np.ptp(columns) < 16
        assert (image[rows, columns] == 128).all()


def test_small_pictures_are_means_and_train_an_enlarger():
    spoiled, clean, _ = pairs("small")
    mean = clean.reshape(len(clean), 16, 2, 16, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(spoiled, mean, atol=0.51)
    large = kt.data.spoil(kt.data.scenes(32, image_size=64), "small")
    model = kt.build_model("tiny", kt.tasks.ImageToImage(scale=2, width=8))
    kt.fine_tune(model, large, epochs=(1, 1), verbose=0)
    assert model.output_shape == (None, 64, 64, 3)


@pytest.mark.parametrize(
    ("way", "amount", "message"),
    [
        ("rain", None, "`way` must be a known name. Given: 'rain'"),
        ("noise", -1, "`amount`"),
        ("small", 3, "divides height and width. Given: 3 for pictures of 32 x 32"),
    ],
)
def test_bad_arguments(way, amount, message):
    with pytest.raises(checks.InputError, match=message):
        kt.data.spoil(SCENES, way, amount=amount)
    with pytest.raises(checks.InputError, match="`data` must be from kt.data"):
        kt.data.spoil(np.zeros((2, 8, 8, 3)))
