import keras
import numpy as np

from keras_transfer import layers, tasks, testing


def test_contract():
    testing.check_layer(layers.TaskOutput(tasks.Classification(3)), np.ones((2, 3), "float32"))
    testing.check_layer(layers.TaskOutput(tasks.Regression(2)), np.ones((2, 2), "float32"))


def test_unit_is_taken_once():
    layer = layers.TaskOutput(tasks.Regression())
    layer.build((None, 1))
    assert not layer.unit_is_known()
    layer.take_unit(np.array([10.0, 20.0, 30.0]))
    # mean 20, deviation sqrt(200 / 3)
    np.testing.assert_allclose(
        np.asarray(layer(np.array([[0.0], [1.0]], "float32")))[:, 0], [20, 20 + (200 / 3) ** 0.5]
    )
    layer.take_unit(np.array([1000.0, 2000.0]))
    np.testing.assert_allclose(float(layer(np.zeros((1, 1), "float32"))[0, 0]), 20)


def test_float32_out_of_float16():
    keras.mixed_precision.set_global_policy("mixed_float16")
    assert layers.TaskOutput(tasks.Classification(3))(np.ones((1, 3), "float16")).dtype == "float32"
