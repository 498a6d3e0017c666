import numpy as np
import pytest

from keras_transfer import losses
from keras_transfer.core import checks

COUNTS = [1000, 100, 10]


def test_balanced_by_hand():
    """n / (classes * count) = 1110 / (3 * count)."""
    np.testing.assert_allclose(losses.balanced_weights(COUNTS), [0.37, 3.7, 37.0])


def test_effective_by_hand():
    """E(n) = 1 + beta + ... + beta**(n - 1); weights 1 / E(n), scaled to a mean of 1 over the examples."""
    beta = 0.99
    effective = [sum(beta**power for power in range(count)) for count in COUNTS]
    weights = np.array([1 / each for each in effective])
    weights *= sum(COUNTS) / sum(
        weight * count for weight, count in zip(weights, COUNTS, strict=True)
    )
    np.testing.assert_allclose(losses.effective_weights(COUNTS, beta=beta), weights, rtol=1e-12)


@pytest.mark.parametrize("weigh", losses.WEIGHTS.values())
def test_the_mean_over_the_examples_is_one(weigh):
    np.testing.assert_allclose(np.average(weigh(COUNTS), weights=COUNTS), 1.0)


def test_effective_lies_between_none_and_balanced():
    np.testing.assert_allclose(losses.effective_weights(COUNTS, beta=0.0), [1.0, 1.0, 1.0])
    balanced = losses.balanced_weights(COUNTS)
    np.testing.assert_allclose(losses.effective_weights(COUNTS, beta=1 - 1e-9), balanced, rtol=1e-5)
    between = losses.effective_weights(COUNTS)
    assert 1 < between[2] / between[0] < balanced[2] / balanced[0]


@pytest.mark.parametrize("weigh", losses.WEIGHTS.values())
def test_a_class_without_examples_is_finite(weigh):
    assert np.isfinite(weigh([5, 0])).all()


def test_beta_is_a_share():
    with pytest.raises(checks.InputError, match="beta"):
        losses.effective_weights(COUNTS, beta=1.0)
