import numpy as np
import pytest

from keras_transfer import layers, testing

X = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype("float32")


def test_contract():
    testing.check_layer(layers.CornerResize((9, 7)), X)


@pytest.mark.parametrize("size", [(9, 7), (5, 4), (3, 2), (1, 6)])
def test_values_are_those_of_tensorflow(size):
    import tensorflow as tf

    expected = tf.compat.v1.image.resize(X, size, method="bilinear", align_corners=True)
    np.testing.assert_allclose(layers.CornerResize(size)(X), expected, atol=1e-6)
