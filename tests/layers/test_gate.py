import keras
import numpy as np
import pytest

from keras_transfer import layers
from keras_transfer.core import checks

RNG = np.random.default_rng(0)


def inputs(*places):
    return [RNG.normal(size=shape).astype("float32") for shape in [(3, 5), *[(3, *places, 4)] * 2]]


@pytest.mark.parametrize("places", [(), (2, 2)], ids=["vectors", "maps"])
def test_it_is_the_mean_by_softmax_shares(places):
    layer, given = layers.Gate(), inputs(*places)
    layer(given)
    kernel, bias = RNG.normal(size=(5, 2)), RNG.normal(size=2)
    layer.set_weights([kernel, bias])
    found = np.asarray(layer(given))
    for row in range(3):
        logits = given[0][row] @ kernel + bias
        shares = np.exp(logits) / np.exp(logits).sum()
        expected = shares[0] * given[1][row] + shares[1] * given[2][row]
        np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-5)


def test_a_single_expert_leaves_no_choice():
    with pytest.raises(checks.InputError, match="experts to choose among. Given: 1"):
        layers.Gate()(inputs(2, 2)[:2])


def test_it_comes_again_from_its_config():
    layer, given = layers.Gate(name="gate"), inputs()
    expected = np.asarray(layer(given))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    again(given)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(np.asarray(again(given)), expected)
    assert tuple(layer.compute_output_shape([(3, 5), (3, 4), (3, 4)])) == expected.shape


def test_it_computes_in_the_policys_type():
    layer = layers.Gate(dtype="mixed_float16")
    assert layer([keras.Input((5,)), keras.Input((4,)), keras.Input((4,))]).dtype == "float16"
    assert layer.kernel.dtype == "float32"
