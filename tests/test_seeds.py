"""The suite's own way to set seeds (`conftest.py`) has the effect of TensorFlow's."""

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import random_seed


def draw():
    """Returns numbers of everything that has a global seed."""
    order = tf.data.Dataset.range(20).shuffle(20)
    passes = [list(order.as_numpy_iterator()) for _ in range(2)]
    return [*passes, np.random.rand(3).tolist(), np.asarray(keras.random.normal((3,))).tolist()]


def test_equal_seeds_draw_equal_numbers_and_others_do_not():
    found = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        found.append(draw())
    assert found[0] == found[1]
    for one, other in zip(found[0], found[2], strict=True):
        assert one != other


def test_a_seed_gives_what_it_gives_with_tensorflows_own_function():
    keras.utils.set_random_seed(3)
    found = draw()
    keras.utils.set_random_seed(3)
    random_seed.set_seed(3)
    assert found == draw()
