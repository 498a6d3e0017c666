"""Statistics of batch normalisation, estimated again."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.core import checks


def model_of():
    layers = [
        keras.layers.BatchNormalization(name="low", trainable=False),
        keras.layers.Dropout(0.5, name="drop"),
        keras.layers.Dense(3, name="dense"),
        keras.layers.BatchNormalization(name="top", momentum=0.9),
    ]
    return keras.Sequential([keras.Input((4,)), *layers])


def settings(model):
    norms = [model.get_layer(name) for name in ("low", "top")]
    return [(each.momentum, each.trainable) for each in norms] + [model.get_layer("drop").rate]


def test_statistics_are_those_of_all_examples():
    """Those of unequal batches: by the law of total variance, not the mean over batches."""
    model, rows = model_of(), np.random.default_rng(0).normal(3.0, 2.0, (10, 4)).astype("float32")
    before = settings(model)
    batches = tf.data.Dataset.from_tensor_slices(rows).batch(6)
    assert kt.training.recalibrate(model, batches) == ["top"]
    low, dense, top = (model.get_layer(name) for name in ("low", "dense", "top"))
    outputs = dense(low(rows, training=False)).numpy()
    np.testing.assert_allclose(top.moving_mean, outputs.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(top.moving_variance, outputs.var(axis=0), rtol=1e-4)
    np.testing.assert_array_equal(low.moving_mean, np.zeros(4))
    assert settings(model) == before


def test_data_without_images_are_an_error_and_change_nothing():
    model = model_of()
    before = settings(model)
    with pytest.raises(checks.InputError, match="`dataset` must have images"):
        kt.training.recalibrate(model, np.zeros((0, 4), "float32"))
    assert settings(model) == before
    np.testing.assert_array_equal(model.get_layer("top").moving_variance, np.ones(3))
