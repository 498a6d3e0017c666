import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.balancing import algebra


def test_solve_equals_numpy(vectors):
    for each in vectors:
        matrix = each @ each.T
        right = np.random.default_rng(0).normal(size=(2, len(each)))
        found = algebra.solve(tf.constant(matrix), *right)
        np.testing.assert_allclose(found, np.linalg.solve(matrix, right.T).T, rtol=1e-8, atol=1e-10)


def test_parallel_gradients_can_be_solved_for():
    matrix, lengths = algebra.cosines(
        tf.constant([[1.0, 2.0], [2.0, 4.0]]), tf.constant([True, True])
    )
    (found,) = algebra.solve(matrix, tf.ones(2, tf.float64))
    np.testing.assert_allclose(found, [0.5, 0.5], rtol=1e-5)
    np.testing.assert_allclose(lengths, [1, 2])


@pytest.mark.compiled
def test_the_smallest_gain_cannot_be_raised(vectors):
    """Optimality: all gain at least t, exactly t where m > 0, and m is as far out as allowed."""
    steepest = tf.function(algebra.steepest, autograph=False)
    for each in vectors:
        for radius in (0.1, 0.5, 0.9, 3.0):
            known = tf.ones(len(each), tf.bool)
            limit = tf.constant(radius, tf.float64)
            m = steepest(tf.constant(each @ each.T), known, limit)[0].numpy()
            mean = each.mean(axis=0)
            gains = each @ (mean + m @ each)
            scale = np.linalg.norm(each, axis=1).max() ** 2
            np.testing.assert_allclose(
                np.linalg.norm(m @ each), radius * np.linalg.norm(mean), rtol=1e-3
            )
            assert (m >= 0).all()
            np.testing.assert_allclose(gains[m > 1e-6], gains.min(), atol=1e-3 * scale)
