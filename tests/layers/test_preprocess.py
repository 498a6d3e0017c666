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
    np.testing.assert_allclose(np.asarray(layers.Preprocess(mode)(PIXEL))[0, 0, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("mode", layers.preprocess.MODES)
def test_contract(mode):
    testing.check_layer(layers.Preprocess(mode), np.full((2, 3, 3, 3), 7.0, "float32"))


def test_bytes_equal_floats():
    pixels = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3), dtype="uint8")
    layer = layers.Preprocess("caffe")
    np.testing.assert_array_equal(np.asarray(layer(pixels)), np.asarray(layer(pixels.astype("float32"))))


def test_stays_float32_under_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    assert layers.Preprocess("tf")(PIXEL).dtype == "float32"


def test_unknown_mode():
    with pytest.raises(checks.InputError, match="`mode` must be one of"):
        layers.Preprocess("imagenet")
