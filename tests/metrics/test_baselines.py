import math

import numpy as np
import pytest

from keras_transfer.metrics import baselines


@pytest.mark.parametrize(("examples", "share"), [(8, 0.5), (40, 0.15), (200, 0.6)])
def test_a_share_is_beaten_where_the_binomial_tail_is_small(examples, share):
    for right in range(examples + 1):
        tail = sum(
            math.comb(examples, k) * share**k * (1 - share) ** (examples - k)
            for k in range(right, examples + 1)
        )
        assert baselines.is_share_above(right, examples, share) == (tail < 1 / 40)


def test_smaller_errors_are_called_so_at_most_once_in_40_where_they_are_not():
    rng = np.random.default_rng(0)
    pairs = rng.normal(size=(4000, 2, 12))
    called = [baselines.are_errors_smaller(*pair) for pair in pairs]
    assert np.mean(called) == pytest.approx(1 / 40, abs=0.01)  # four standard errors
    assert baselines.are_errors_smaller([1.0, 1.0], [2.0, 2.0])
    assert not baselines.are_errors_smaller([1.0], [2.0])


def test_scores_rank_at_most_once_in_40_where_they_know_nothing():
    rng = np.random.default_rng(1)
    called = []
    for _ in range(400):
        targets = (rng.random((20, 2)) < 0.3).astype("float64")
        targets[0] = 1
        targets[1, 0] = np.nan
        called.append(baselines.do_scores_rank(targets, rng.random((20, 2))))
    assert np.mean(called) < 1 / 40 + 0.03


def test_sorted_files_do_not_make_equal_scores_rank():
    targets = np.repeat([[1.0], [0.0]], 30, axis=0)
    assert not baselines.do_scores_rank(targets, np.full((60, 1), 0.5))
    assert baselines.do_scores_rank(targets, targets + np.linspace(0, 0.9, 60)[:, None])
