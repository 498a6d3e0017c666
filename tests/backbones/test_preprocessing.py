import keras
import numpy as np
import pytest
from keras import ops

from keras_transfer import layers
from keras_transfer.backbones import preprocessing
from keras_transfer.backbones.catalogue import FAMILIES
from keras_transfer.core import checks


@keras.saving.register_keras_serializable("tests_preprocessing")
def halved(pixels):
    return pixels / 2


@pytest.mark.parametrize("mode", layers.preprocess.MODES)
def test_modes_stand_for_themselves(mode):
    assert preprocessing.resolve(mode) == preprocessing.describe(mode) == mode
    made = preprocessing.make(mode, channels=1, channel_mode="mean", name="own")
    assert (made.mode, made.channels, made.name) == (mode, 1, "own")
    assert preprocessing.CHOICES.count(repr(mode)) == 1


@pytest.mark.parametrize("family", [*sorted(set(FAMILIES) - {"tiny"}), "imagenet_utils"])
def test_a_function_of_keras_is_the_mode_it_computes(family):
    """By what it does to pixels; what the function's file says is not looked at."""
    function = getattr(keras.applications, family).preprocess_input
    mode = preprocessing.resolve(function)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 4, 4, 3)).astype("float32")
    expected = np.asarray(function(ops.convert_to_tensor(pixels)))
    found = np.asarray(preprocessing.make(mode, channels=3)(pixels))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_function_becomes_a_layer_that_is_described_by_its_name():
    layer = preprocessing.resolve(halved, name="mine")
    assert isinstance(layer, layers.PreprocessFunction)
    assert layer.name == "mine"
    assert preprocessing.describe(layer) == "tests_preprocessing>halved"
    assert preprocessing.make(layer, channels=3) is layer


def test_a_layer_is_taken_as_it_is():
    layer = keras.layers.Rescaling(1 / 255)
    assert preprocessing.resolve(layer) is layer
    assert preprocessing.describe(layer) == "Rescaling"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [("cafe", "Given: 'cafe'. Close: 'caffe'"), (None, "Given: None"), (7, "Given: 7")],
)
def test_what_it_cannot_be(wrong, message):
    with pytest.raises(checks.InputError, match=f"`preprocess` must be .*{message}") as raised:
        preprocessing.resolve(wrong)
    assert "\n" not in str(raised.value)
