"""A network of two blocks for 8 x 8 images, small enough to be traced many times."""

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.training import freezing


def network():
    """Two blocks with a residual in the second; its random weights pass for pretrained ones."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 128, offset=-1, name="rescaling")(inputs)
    x = keras.layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False, name="block1_conv")(x)
    x = keras.layers.ReLU(name="block1_relu")(keras.layers.BatchNormalization(name="block1_bn")(x))
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="block2_conv")(x)
    y = keras.layers.ReLU(name="block2_relu")(x)
    y = keras.layers.Conv2D(8, 3, padding="same", name="block2_end")(y)
    return keras.Model(inputs, keras.layers.Add(name="block2_add")([x, y]), name="network")


@pytest.fixture
def build():
    """Makes a compiled model of the network and a head, training from a layer on, with batch norm in inference mode."""

    def make(task=None, *, train="block2_conv", rate=0.01, **options):
        keras.utils.set_random_seed(0)
        model = kt.build_model(network(), task or kt.tasks.Classification(3))
        freezing.set_trainable(model, freezing.pick(model, train))
        kt.compile(model, optimizer=keras.optimizers.SGD(rate), **options)
        return model

    return make


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3)).astype("float32")


@pytest.fixture
def labels():
    return np.array([0, 1, 2, 0, 1, 2, 0, 1])
