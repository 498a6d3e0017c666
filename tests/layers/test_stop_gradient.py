import keras
import numpy as np
import tensorflow as tf

from keras_transfer import layers, testing


def test_contract():
    testing.check_layer(layers.StopGradient(), np.ones((2, 3), "float32"))


def test_values_pass_and_gradients_do_not():
    x = tf.Variable([[1.0, 2.0]])
    with tf.GradientTape() as tape:
        y = layers.StopGradient()(x) * 2 + x
    np.testing.assert_array_equal(np.asarray(y), [[3.0, 6.0]])
    np.testing.assert_array_equal(np.asarray(tape.gradient(y, x)), [[1.0, 1.0]])


def test_it_computes_in_the_policys_type():
    assert layers.StopGradient(dtype="mixed_float16")(keras.Input((2,))).dtype == "float16"
