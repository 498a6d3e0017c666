import numpy as np
import pytest
import sklearn.metrics

from keras_transfer.core import checks
from keras_transfer.metrics import ranking


def random_case(examples=400, columns=3, seed=0):
    rng = np.random.default_rng(seed)
    truth = (rng.random((examples, columns)) < 0.3).astype(int)
    scores = 1 / (1 + np.exp(-rng.normal(size=truth.shape) - 1.5 * truth))
    truth[rng.random(truth.shape) < 0.1] = -1  # not known
    return truth, scores.round(2).astype("float32")


def collect(truth, scores):
    curves = ranking.Ranking(truth.shape[1])
    for rows in np.array_split(np.arange(len(truth)), 7):
        curves.add(truth[rows], scores[rows])
    return curves


def expected_scores(truth, scores):
    areas, precisions = [], []
    for has, column in zip(truth.T, scores.T, strict=True):
        known = has >= 0
        areas.append(sklearn.metrics.roc_auc_score(has[known], column[known]))
        precisions.append(sklearn.metrics.average_precision_score(has[known], column[known]))
    return {"auc": np.mean(areas), "average_precision": np.mean(precisions)}


def test_areas_are_those_of_scikit_learn_exact_and_in_steps(monkeypatch):
    truth, scores = random_case()
    expected = expected_scores(truth, scores)
    assert collect(truth, scores).scores() == pytest.approx(expected)
    monkeypatch.setattr(ranking, "KEPT", 100)
    counted = collect(truth, scores)
    assert counted._kept == 0
    assert counted.scores() == pytest.approx(expected, abs=2e-4)
    exact = collect(*random_case(examples=33)).operating_point(0, "recall", 0.5)
    assert exact["recall"] >= 0.5


def test_intervals_of_areas_draw_examples_as_a_slow_loop_does():
    truth, scores = random_case(examples=150)
    found = collect(truth, scores).intervals()
    rng = np.random.default_rng(5)
    drawn = []
    for _ in range(400):
        rows = rng.integers(len(truth), size=len(truth))
        drawn.append(list(expected_scores(truth[rows], scores[rows]).values()))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    assert found["auc"] == pytest.approx((low[0], high[0]), abs=0.012)
    assert found["average_precision"] == pytest.approx((low[1], high[1]), abs=0.025)


def test_intervals_of_many_examples_are_narrow_and_around_the_score():
    truth, scores = random_case(examples=40_000, columns=1)
    curves = collect(truth, scores)
    few = np.ptp(collect(truth[:400], scores[:400]).intervals()["auc"])
    low, high = curves.intervals()["auc"]
    assert low < curves.scores()["auc"] < high
    assert few / (high - low) == pytest.approx(10, rel=0.25)


@pytest.mark.parametrize(("measure", "least"), [("precision", 0.8), ("recall", 0.9)])
def test_the_operating_point_is_the_best_of_all_thresholds(measure, least):
    truth, scores = random_case(seed=1)
    point = collect(truth, scores).operating_point(1, measure, least)
    known = truth[:, 1] >= 0
    has, column = truth[known, 1] == 1, scores[known, 1]
    found = []
    for threshold in np.unique(column):
        said = column >= threshold
        values = {"precision": has[said].mean(), "recall": said[has].mean()}
        other = values["recall" if measure == "precision" else "precision"]
        if values[measure] >= least:
            found.append((other, values))
    best = max(other for other, _ in found)
    assert point[measure] >= least
    assert best == pytest.approx(point["recall" if measure == "precision" else "precision"])


def test_what_cannot_be_ranked_has_no_scores():
    curves = ranking.Ranking(1)
    curves.add(np.array([[1], [1]]), np.array([[0.5], [0.6]]))
    assert curves.scores() == {"auc": None, "average_precision": None}
    assert curves.intervals() == {"auc": None, "average_precision": None}
    empty = ranking.Ranking(1)
    assert empty.operating_point(0, "precision", 0.9) is None


@pytest.mark.parametrize(
    "at", ["precison=0.9", "precision", "recall=2", 0.95, "f1=0.5", "recall=nan"]
)
def test_bad_operating_points_are_told(at):
    with pytest.raises(checks.InputError, match="`at` must be a precision or recall"):
        ranking.read_operating_point(at)
