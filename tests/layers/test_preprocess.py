import keras
import numpy as np
import pytest

from keras_transfer import layers, testing
from keras_transfer.core import checks

PIXEL = np.array([[[[255.0, 0.0, 123.68]]]], "float32")


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("inside", [255.0, 0.0, 123.68]),
        ("tf", [1.0, -1.0, 123.68 / 127.5 - 1]),
        ("0-1", [1.0, 0.0, 123.68 / 255]),
        ("torch", [(1 - 0.485) / 0.229, -0.456 / 0.224, (123.68 / 255 - 0.406) / 0.225]),
        ("caffe", [123.68 - 103.939, -116.779, 255 - 123.68]),  # blue first
    ],
)
def test_modes_by_hand(mode, expected):
    np.testing.assert_allclose(
        np.asarray(layers.Preprocess(mode)(PIXEL))[0, 0, 0], expected, rtol=1e-5
    )


@pytest.mark.parametrize("mode", layers.preprocess.MODES)
def test_contract(mode):
    testing.check_layer(layers.Preprocess(mode), np.full((2, 3, 3, 3), 7.0, "float32"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"channels": 1}, [(51 / 255 - 0.449) / 0.226]),
        (
            {"channels": 2, "channel_mode": "tile"},
            [(51 / 255 - 0.485) / 0.229, (102 / 255 - 0.456) / 0.224],
        ),
        (
            {"channels": 4, "channel_mode": "zero-extra", "plane": 2.0},
            [
                (0.2 - 0.485) / 0.229,
                (0.4 - 0.456) / 0.224,
                (0.6 - 0.406) / 0.225,
                (0.8 - 0.449) / 0.226,
                2.0,
            ],
        ),
    ],
)
def test_other_channels_by_hand(options, expected):
    """The means of mean and deviation over the colours are 0.449 and 0.226."""
    pixels = np.array([[[[51.0, 102.0, 153.0, 204.0][: options["channels"]]]]], "float32")
    layer = layers.Preprocess("torch", **options)
    np.testing.assert_allclose(np.asarray(layer(pixels))[0, 0, 0], expected, rtol=1e-5)
    testing.check_layer(layer, np.repeat(pixels, 3, axis=1))


def test_other_channels_are_never_turned_round():
    """The first of them is red, whose mean is the last that "caffe" has."""
    layer = layers.Preprocess("caffe", channels=4, channel_mode="tile")
    expected = [-123.68, -116.779, -103.939, -123.68]
    np.testing.assert_allclose(
        np.asarray(layer(np.zeros((1, 1, 1, 4))))[0, 0, 0], expected, rtol=1e-6
    )


def test_a_file_from_before_there_were_channels_loads():
    config = {"name": "preprocess", "mode": "tf"}
    assert layers.Preprocess.from_config(config).channels == 3


def test_bytes_equal_floats():
    pixels = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3), dtype="uint8")
    layer = layers.Preprocess("caffe")
    np.testing.assert_array_equal(
        np.asarray(layer(pixels)), np.asarray(layer(pixels.astype("float32")))
    )


def test_stays_float32_under_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    assert layers.Preprocess("tf")(PIXEL).dtype == "float32"


def test_unknown_mode():
    with pytest.raises(
        checks.InputError, match="`channel_mode` must be one of 'mean', 'tile', 'zero-extra'"
    ):
        layers.Preprocess("tf", channels=4, channel_mode="copy")
    with pytest.raises(checks.InputError, match="`mode` must be one of"):
        layers.Preprocess("imagenet")
