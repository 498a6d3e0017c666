import json
import math

import numpy as np
import pytest

from keras_transfer import metrics
from keras_transfer.core import checks
from keras_transfer.metrics import regression


def test_small_example_by_hand():
    # errors 1, 0, -2: absolute sum 3, squared sum 5; the targets 1, 2, 6 (mean 3) vary by 4 + 1 + 9 = 14
    scores = metrics.regression_scores([1.0, 2.0, 6.0], [2.0, 2.0, 4.0])
    expected = {
        "mae": 1.0,
        "rmse": math.sqrt(5 / 3),
        "r2": 1 - 5 / 14,
        "bias": -1 / 3,
        "support": 3,
    }
    del scores["intervals"]
    assert scores == pytest.approx(expected)


def test_several_outputs_are_means_over_each():
    rng = np.random.default_rng(0)
    targets, values = rng.normal(size=(2, 20, 3))
    scores = metrics.regression_scores(targets, values)
    single = [metrics.regression_scores(targets[:, i], values[:, i]) for i in range(3)]
    for key in ("mae", "rmse", "r2", "bias"):
        assert scores[key] == pytest.approx(sum(each[key] for each in single) / 3)
        assert [output[key] for output in scores["outputs"]] == [each[key] for each in single]


def test_scores_equal_a_slow_loop_over_the_definitions():
    targets, values = np.random.default_rng(1).normal(size=(2, 50))
    scores = metrics.regression_scores(targets, values[:, None])
    errors = [value - target for target, value in zip(targets, values, strict=True)]
    mean = sum(targets) / 50
    expected = {
        "mae": sum(map(abs, errors)) / 50,
        "rmse": math.sqrt(sum(error * error for error in errors) / 50),
        "r2": 1
        - sum(error * error for error in errors) / sum((target - mean) ** 2 for target in targets),
        "bias": sum(errors) / 50,
        "support": 50,
    }
    del scores["intervals"]
    assert scores == pytest.approx(expected)


@pytest.mark.parametrize("targets", [[2.0], [2.0, 2.0]])
def test_variance_explained_is_none_where_there_is_no_variance(targets):
    scores = metrics.regression_scores(targets, [3.0] * len(targets))
    assert scores["r2"] is None
    assert scores["mae"] == 1.0


def test_result_goes_into_json_unchanged():
    scores = metrics.regression_scores(np.arange(6).reshape(3, 2), np.ones((3, 2), "float32"))
    assert json.loads(json.dumps(scores)) == scores


@pytest.mark.parametrize(
    ("targets", "values", "message"),
    [
        ([1.0, 2.0], [[1.0, 2.0]], r"shape of the outputs, \(1, 2\)\. Given: \(2, 1\)"),
        (
            [1.0, math.nan],
            [1.0, 2.0],
            "targets must be finite. Given: nan at index 1. .*weight of 0",
        ),
        ([1.0, 2.0], [1.0, math.inf], "outputs must be finite. Given: inf at index 1."),
        (["a"], [1.0], "targets must be numbers"),
        ([], [], "at least one example"),
    ],
)
def test_wrong_input_is_an_error(targets, values, message):
    with pytest.raises(checks.InputError, match=message):
        metrics.regression_scores(targets, values)


def test_errors_count_from_the_first_example_of_the_batch():
    with pytest.raises(checks.InputError, match="nan at index 33"):
        regression.number_rows(np.array([[0.0, 1.0], [2.0, math.nan]]), name="targets", first=32)


def test_intervals_are_those_of_the_means_over_outputs():
    rng = np.random.default_rng(0)
    targets = rng.normal(1000, 1, size=(80, 2))
    values = targets + rng.normal(size=(80, 2))
    scores = metrics.regression_scores(targets, values)
    errors = abs(values - targets).mean(axis=1)
    assert scores["intervals"]["mae"] == pytest.approx(metrics.mean_interval(errors))
    for name, (low, high) in scores["intervals"].items():
        assert low < scores[name] < high
    assert sorted(scores["intervals"]) == ["bias", "mae", "r2", "rmse"]
    assert "r2" not in metrics.regression_scores([1.0, 1.0, 1.0], [1.0, 2.0, 1.5])["intervals"]
