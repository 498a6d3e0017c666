import json

import numpy as np
import pytest
from sklearn import metrics as reference

from keras_transfer import metrics
from keras_transfer.core import checks
from keras_transfer.metrics import tags

NAMES = ["red", "round", "large"]
RNG = np.random.default_rng(0)
TARGETS = (RNG.random((60, 3)) < [0.5, 0.2, 0.8]).astype("float64")
ANSWERS = np.clip(TARGETS * 0.3 + RNG.random((60, 3)) * 0.7, 0, 1)


def test_scores_of_each_tag_are_those_of_scikit_learn():
    limits = [0.5, 0.4, 0.6]
    scores = metrics.tag_scores(TARGETS, ANSWERS, NAMES, thresholds=limits)
    for column, name in enumerate(NAMES):
        truth, answers = TARGETS[:, column], ANSWERS[:, column]
        said, row = answers >= limits[column], scores["classes"][name]
        assert row["precision"] == pytest.approx(reference.precision_score(truth, said))
        assert row["recall"] == pytest.approx(reference.recall_score(truth, said))
        assert row["f1"] == pytest.approx(reference.f1_score(truth, said))
        assert row["average_precision"] == pytest.approx(
            reference.average_precision_score(truth, answers)
        )
        assert (row["threshold"], row["support"]) == (limits[column], truth.sum())
    said = limits <= ANSWERS
    assert scores["map"] == pytest.approx(reference.average_precision_score(TARGETS, ANSWERS))
    assert scores["f1"] == pytest.approx(reference.f1_score(TARGETS, said, average="macro"))
    assert scores["accuracy"] == pytest.approx((said == TARGETS).mean())
    assert scores["exact"] == pytest.approx(reference.accuracy_score(TARGETS, said))
    assert json.loads(json.dumps(scores)) == scores


def test_an_unknown_tag_is_the_same_as_leaving_it_out():
    unknown = TARGETS.copy()
    unknown[:20, 0] = np.nan
    scores = metrics.tag_scores(unknown, ANSWERS, NAMES)["classes"]
    left = metrics.tag_scores(TARGETS[20:], ANSWERS[20:], NAMES)["classes"]
    assert scores["red"] == left["red"]
    assert scores["round"] == metrics.tag_scores(TARGETS, ANSWERS, NAMES)["classes"]["round"]


def test_a_tag_of_no_example_has_no_scores():
    scores = metrics.tag_scores([[1, 0]], [[0.9, 0.9]], ["a", "b"])
    assert scores["classes"]["b"]["f1"] is None
    assert scores["f1"] == 1.0
    none = metrics.tag_scores([[0, np.nan]], [[0.9, 0.9]], ["a", "b"])
    assert (none["map"], none["accuracy"]) == (None, 0.0)


def test_thresholds_have_the_best_f1_of_all():
    limits = tags.best_thresholds(TARGETS, ANSWERS)
    for column, limit in enumerate(limits):
        truth, answers = TARGETS[:, column], ANSWERS[:, column]
        every = [reference.f1_score(truth, answers >= each) for each in answers]
        assert reference.f1_score(truth, answers >= limit) == pytest.approx(max(every))
        assert limit not in answers


def test_thresholds_of_equal_probabilities_and_of_tags_that_do_not_differ():
    targets = np.array([[1, 1, np.nan], [1, 1, 1], [0, 1, 0], [0, 1, 0]], "float64")
    answers = np.array([[0.6, 0.9, 0.9], [0.4, 0.8, 0.8], [0.4, 0.1, 0.2], [0.2, 0.2, 0.1]])
    assert tags.best_thresholds(targets, answers).tolist() == pytest.approx([0.3, 0.5, 0.5])


def test_accuracy_while_training_counts_known_tags_only():
    targets = np.array([[1, 0, np.nan], [0.75, 1, 0], [0, 0, 0]], "float32")
    answers = np.array([[0.9, 0.6, 0.1], [0.5, 0.2, 0.1], [0.9, 0.9, 0.9]], "float32")
    assert float(metrics.TagAccuracy()(targets, answers)) == pytest.approx(3 / 8)
    assert float(metrics.TagAccuracy()(targets, answers, [1, 1, 0])) == pytest.approx(3 / 5)


@pytest.mark.parametrize(
    ("targets", "answers", "message"),
    [
        ([[1, 0]], [[0.5]], "outputs must have a column for each of 2 tags"),
        ([1, 0], [[0.5, 0.5]], "targets must have a column"),
        ([[1, 2]], [[0.5, 0.5]], "0, 1 or NaN. Given: 2 at index 0"),
        ([[1, 0]], [[0.5, 1.5]], "probabilities. Given: 1.5 at index 0"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "at least one example"),
    ],
)
def test_bad_input(targets, answers, message):
    with pytest.raises(checks.InputError, match=message):
        metrics.tag_scores(targets, answers, ["a", "b"])


def test_intervals_are_around_the_scores_and_those_of_shares():
    rng = np.random.default_rng(0)
    targets = (rng.random((90, 3)) < 0.4).astype(float)
    probabilities = np.clip(0.3 * targets + 0.6 * rng.random((90, 3)), 0, 1)
    targets[rng.random((90, 3)) < 0.1] = np.nan
    scores = metrics.tag_scores(targets, probabilities, ["a", "b", "c"])
    for name, (low, high) in scores["intervals"].items():
        assert low < scores[name] < high, name
    expected = {"map", "auc", "precision", "recall", "f1", "accuracy", "exact"}
    assert set(scores["intervals"]) == expected
    right = ((probabilities >= 0.5) == (targets == 1)) | np.isnan(targets)
    exact = metrics.wilson_interval(int(right.all(axis=1).sum()), 90)
    assert scores["intervals"]["exact"] == pytest.approx(exact)
