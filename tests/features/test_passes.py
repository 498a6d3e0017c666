"""Results come in the order of the items, whatever finishes first."""

import time

import numpy as np
import pytest

from keras_transfer.core import checks
from keras_transfer.features import passes


def test_results_keep_their_order():
    def work(number):
        time.sleep(0.01 * (number % 2))
        return number**2

    assert list(passes.run(work, range(7))) == [(number, number**2) for number in range(7)]


def test_the_first_item_runs_alone():
    """A function of TensorFlow traces in its first call."""
    running, most = [], []

    def work(number):
        running.append(number)
        time.sleep(0.02)
        most.append(len(running))
        running.remove(number)
        return number

    list(passes.run(work, range(4)))
    assert most[0] == 1
    assert max(most) > 1


def test_an_error_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        list(passes.run(lambda number: 1 / (number - 2), range(5)))


def test_values_that_half_precision_cannot_hold():
    assert passes.narrow("pool", np.ones(2, "float32"), "float32").dtype == "float32"
    assert passes.narrow("pool", np.array([1.0, np.inf], "float32"), "float16").dtype == "float16"
    with pytest.raises(checks.InputError, match="`dtype` must hold the features.*'pool'.*100000"):
        passes.narrow("pool", np.array([1e5], "float32"), "float16")
