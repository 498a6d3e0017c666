"""How data sets run."""

import numpy as np
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.machine import streams


def test_what_is_made_of_it_is_untuned_too():
    dataset = (
        streams.untuned(tf.data.Dataset.range(8))
        .map(lambda number: number + 1)
        .batch(3)
        .prefetch(1)
    )
    assert dataset.options().autotune.enabled is False
    assert [batch.tolist() for batch in dataset.as_numpy_iterator()] == [
        [1, 2, 3],
        [4, 5, 6],
        [7, 8],
    ]
    assert tf.data.Dataset.range(8).options().autotune.enabled is not False


def test_data_sets_of_the_package_are_untuned():
    data = kt.data.from_arrays(
        np.zeros((6, 8, 8, 3), "uint8"), np.arange(6) % 2, validation=0.5, batch_size=2
    )
    changed = kt.data.Augment(flip=True).apply(data.train, seed=0)
    for dataset in (data.train, data.validation, changed):
        assert dataset.options().autotune.enabled is False
