import keras
import numpy as np
import pytest

from keras_transfer import layers
from keras_transfer.core import checks

RNG = np.random.default_rng(0)
INPUTS = [RNG.normal(size=(2, 4, 4, 3)).astype("float32") for _ in range(3)]


@pytest.mark.parametrize(("weights", "channels"), [("channel", 3), ("all", 1)])
def test_it_is_the_sum_of_its_definition(weights, channels):
    layer = layers.CrossStitch(weights=weights)
    layer(INPUTS)
    matrix = RNG.normal(size=(3, 3, channels)).astype("float32")
    assert layer.matrix.shape == matrix.shape
    layer.matrix.assign(matrix)
    found = layer(INPUTS)
    for k in range(3):
        expected = np.zeros((2, 4, 4, 3))
        for j in range(3):
            for c in range(3):
                expected[..., c] += matrix[k, j, c % channels] * INPUTS[j][..., c]
        np.testing.assert_allclose(np.asarray(found[k]), expected, rtol=1e-5, atol=1e-6)


def test_it_starts_near_its_own_trunk():
    layer = layers.CrossStitch()
    layer(INPUTS)
    expected = np.where(np.eye(3) > 0, 0.9, 0.05)[..., None].repeat(3, axis=-1)
    np.testing.assert_allclose(np.asarray(layer.matrix.value), expected, rtol=1e-6)


@pytest.mark.parametrize("inputs", [INPUTS, INPUTS[:1]], ids=["apart", "alone"])
def test_an_identity_changes_nothing(inputs):
    for found, expected in zip(layers.CrossStitch(own=1.0)(inputs), inputs, strict=True):
        np.testing.assert_array_equal(np.asarray(found), expected)


def test_it_comes_again_from_its_config():
    layer = layers.CrossStitch(own=0.7, weights="all", name="stitch")
    expected = layer(INPUTS)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    again(INPUTS)
    assert again.get_config() == layer.get_config()
    again.set_weights(layer.get_weights())
    for one, other in zip(again(INPUTS), expected, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_it_computes_in_the_policys_type():
    layer = layers.CrossStitch(dtype="mixed_bfloat16")
    assert [tensor.dtype for tensor in layer([keras.Input((2,)), keras.Input((2,))])] == [
        "bfloat16"
    ] * 2
    assert layer.matrix.dtype == "float32"


def test_bad_arguments():
    with pytest.raises(checks.InputError, match="`weights` must be one of"):
        layers.CrossStitch(weights="row")
