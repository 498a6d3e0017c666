import numpy as np
import pytest
import tensorflow as tf

from keras_transfer.balancing import base


def draws_of(tasks, seed, steps, **options):
    """The numbers of several steps, one row a step."""

    @tf.function(autograph=False)
    def draw(step):
        return base.draws(tf.ones(tasks, tf.bool), seed, step, **options)

    return np.array([draw(tf.constant(step)) for step in range(steps)])


@pytest.mark.compiled
def test_draws_are_even_and_independent():
    """Over steps, seeds and tasks; bounds at four standard errors of 1600 uniform numbers."""
    numbers = np.array([draws_of(4, seed, 20) for seed in range(20)])
    assert ((numbers > 0) & (numbers < 1)).all()
    assert len(np.unique(numbers)) > 1595
    np.testing.assert_allclose(numbers.mean(), 0.5, atol=4 * 0.2887 / 1600**0.5)
    np.testing.assert_allclose(numbers.std(), 0.2887, atol=0.02)
    for axis in range(3):
        one, next_one = (
            np.moveaxis(numbers, axis, 0)[part].ravel()
            for part in (slice(None, -1), slice(1, None))
        )
        assert abs(np.corrcoef(one, next_one)[0, 1]) < 4 / len(one) ** 0.5


@pytest.mark.compiled
def test_orders_of_pairs_are_all_as_likely():
    """Each of the 2 orders of the other two tasks in half of the steps, for each task."""
    drawn = draws_of(3, 0, 300, pairs=True)
    for task, (one, other) in enumerate([(1, 2), (0, 2), (0, 1)]):
        share = np.mean(drawn[:, task, one] < drawn[:, task, other])
        np.testing.assert_allclose(share, 0.5, atol=4 * 0.5 / 300**0.5)


def test_shares_of_nothing():
    share, count = base.shares(tf.constant([1.0, 2.0]), tf.constant([False, False]))
    assert np.isfinite(share).all()
    assert float(count) == 0


@pytest.mark.parametrize("pairs", [False, True])
def test_unknown_tasks_shift_no_draws(pairs):
    known = np.array([False, True, False, True, True])
    found = base.draws(tf.constant(known), 1, tf.constant(2), pairs=pairs).numpy()
    expected = base.draws(tf.ones(3, tf.bool), 1, tf.constant(2), pairs=pairs)
    np.testing.assert_array_equal(found[np.ix_(*[known] * found.ndim)], expected)
