import math

import numpy as np
import pytest
from scipy import stats

from keras_transfer import metrics
from keras_transfer.core import checks

REPEATS = 500


def coverage(make, truth):
    """How often the interval of a new sample holds the truth."""
    hits = 0
    for seed in range(REPEATS):
        low, high = make(np.random.default_rng([seed, 1]))
        hits += low <= truth <= high
    return hits / REPEATS


def test_bootstrap_intervals_hold_the_truth_as_often_as_they_say():
    owners = np.repeat(np.arange(40), 4)

    def skewed(rng):
        return metrics.mean_interval(rng.exponential(size=80))

    def paired(rng):
        easy = rng.random(300) < 0.7  # right in both
        first, second = easy | (rng.random(300) < 0.5), easy | (rng.random(300) < 0.3)
        return metrics.difference_interval(first, second)

    def grouped(rng):
        values = np.repeat(rng.normal(size=40), 4) + 0.5 * rng.normal(size=160)
        return metrics.mean_interval(values, groups=owners)

    def right_together(rng):
        chances = np.repeat(rng.beta(4, 1, size=40), 8)
        return metrics.share_interval(rng.random(320) < chances, groups=np.repeat(range(40), 8))

    def not_linear(rng):
        squares = rng.normal(size=200) ** 2
        rows = np.stack([squares, np.ones(200)], axis=1)
        return metrics.bootstrap_interval(lambda sums: np.sqrt(sums[:, 0] / sums[:, 1]), rows)

    cases = {"skewed": (skewed, 1.0), "paired": (paired, 0.3 * 0.2), "grouped": (grouped, 0.0),
             "right together": (right_together, 0.8),
             "not linear": (not_linear, 1.0)}  # fmt: skip
    shares = {name: coverage(*case) for name, case in cases.items()}
    assert all(0.93 <= share <= 0.97 for share in shares.values()), shares


def test_groups_that_are_ignored_make_intervals_too_narrow():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=40), 25)
    alone, grouped = (
        np.ptp(metrics.mean_interval(values, groups=groups))
        for groups in (None, np.repeat(np.arange(40), 25))
    )
    assert grouped / alone == pytest.approx(5, rel=0.15)  # sqrt(25) images that say the same


def test_a_share_of_groups_that_are_right_as_a_whole_is_that_of_so_many_images():
    is_right = np.arange(60) % 4 > 0
    shares = np.repeat(is_right, 9), np.arange(540) // 9
    low, high = metrics.share_interval(shares[0], groups=shares[1])
    alone = metrics.share_interval(is_right)
    assert (low, high) == pytest.approx(alone, abs=0.01)
    assert low < alone[0]  # Student's quantile
    all_right = metrics.share_interval(np.ones(540), groups=shares[1])
    assert all_right[1] == 1
    assert all_right[0] == pytest.approx(metrics.wilson_interval(60, 60)[0], abs=0.01)
    assert metrics.share_interval(np.ones(9), groups=np.zeros(9)) is None
    assert metrics.share_interval(is_right) == metrics.wilson_interval(45, 60)


def test_the_interval_of_a_million_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).exponential(size=1_000_000)
    low, high = metrics.mean_interval(values)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert (low, high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.15 * half
    )


def test_wilson_equals_scipy():
    for right, examples in ((0, 5), (3, 5), (5, 5), (90, 100), (999, 1000)):
        expected = stats.binomtest(right, examples).proportion_ci(0.95, method="wilson")
        found = metrics.wilson_interval(right, examples)
        assert found == pytest.approx((expected.low, expected.high))
    assert metrics.wilson_interval(0, 0) is None


def test_resampling_and_sums_draw_alike():
    values = np.random.default_rng(0).normal(size=60)
    by_counts = metrics.resampled_intervals(lambda counts: {"mean": counts @ values / 60}, 60)[
        "mean"
    ]
    assert by_counts == pytest.approx(metrics.mean_interval(values), abs=0.02)


def test_what_says_nothing_has_no_interval():
    assert metrics.mean_interval([]) is None
    assert metrics.mean_interval([1.0]) is None
    assert metrics.mean_interval([np.nan, np.nan, np.nan]) is None
    assert metrics.mean_interval([1.0, 2.0], groups=["a", "a"]) is None
    assert metrics.mean_interval([2.0, 2.0, 2.0]) is None
    assert metrics.mean_interval([2.0, 3.0, np.nan]) is not None


def test_bad_arguments_are_told():
    with pytest.raises(checks.InputError, match="`groups` must have one value for each of 3 im"):
        metrics.mean_interval([1.0, 2.0, 3.0], groups=["a"])
    with pytest.raises(checks.InputError, match="same images"):
        metrics.difference_interval([1.0, 2.0], [1.0])
    with pytest.raises(checks.InputError, match="`level` must be a number above 0 and below 1"):
        metrics.mean_interval([1.0, 2.0], level=95)
    with pytest.raises(checks.InputError, match="`right` must be a whole number"):
        metrics.wilson_interval(7, 5)
