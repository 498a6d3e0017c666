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


def test_baseline_is_the_mean_of_the_targets():
    ages, task = np.arange(0.0, 60.0, 10.0)[:, None], tasks.Regression()
    near = task.baseline(ages, ages + np.array([[1.0], [-1.0], [1.0], [0.0], [2.0], [0.0]]))
    assert near == {"answer": "the mean", "scores": {"mae": 15.0}, "is_beaten": True}
    errors = np.array([[14.0], [-6.0], [9.0], [-9.0], [14.0], [-20.0]])
    assert not task.baseline(ages, ages + errors)["is_beaten"]
    assert task.baseline(np.ones((6, 1)), ages) is None


def test_warning_says_whether_chance_could_be_the_reason():
    scores = {"mae": 9.5, "support": 4}
    baseline = {"answer": "the mean", "scores": {"mae": 10.0}, "is_beaten": False}
    assert tasks.Regression().baseline_warning({**scores, "baseline": baseline}) == (
        "Not clearly better than always answering the mean: mean absolute error 9.500 against 10.000 "
        "on 4 images, which may be chance."
    )
    assert tasks.Regression().baseline_warning(scores) == ""
