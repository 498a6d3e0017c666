import numpy as np
import pytest

from keras_transfer import tasks
from keras_transfer.core import checks


def test_spread_by_hand():
    deviation, mean = tasks.Regression(2).spread(np.array([[0.0, 5.0], [2.0, 5.0]]))
    assert deviation.tolist() == [1.0, 1.0]  # the second has none
    assert mean.tolist() == [1.0, 5.0]


def test_loss_is_in_units_of_the_spread():
    assert tasks.Regression().loss(np.array([0.0, 20.0])).scale == [10.0]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.array([1.0, np.nan]), r"finite numbers. Given: \[nan\] at index 1"),
        (np.array(["1", "2"]), "number"),
        (np.ones((2, 3)), "1 number"),
    ],
)
def test_bad_targets(targets, message):
    with pytest.raises(checks.InputError, match=message):
        tasks.Regression().encode(targets)
