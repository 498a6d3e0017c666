import json
import math

import numpy as np
import pytest
import sklearn.metrics

from keras_transfer import metrics
from keras_transfer.core import checks
from keras_transfer.metrics import classification

NAMES = ["cat", "dog", "owl"]


def probabilities(answers, classes=3, confidence=0.8):
    rows = np.full((len(answers), classes), (1 - confidence) / (classes - 1))
    rows[np.arange(len(answers)), answers] = confidence
    return rows


def random_case(examples=200, classes=7, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.ones(classes), examples)
    return rng.integers(0, classes, examples), rows, [f"class {i}" for i in range(classes)]


def test_small_example_by_hand():
    # true      cat cat dog dog dog owl
    # answered  cat dog dog dog cat owl
    scores = metrics.classification_scores(
        [0, 0, 1, 1, 1, 2], probabilities([0, 1, 1, 1, 0, 2]), NAMES
    )
    assert scores["confusion"] == [[1, 1, 0], [1, 2, 0], [0, 0, 1]]
    assert scores["accuracy"] == pytest.approx(4 / 6)
    assert scores["classes"]["cat"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert scores["classes"]["dog"] == pytest.approx(
        {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3}
    )
    assert scores["classes"]["owl"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}
    assert (
        scores["precision"]
        == scores["recall"]
        == scores["f1"]
        == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    )
    assert scores["ece"] == pytest.approx(0.8 - 4 / 6)  # every answer is 0.8 sure
    assert scores["support"] == 6
    assert "top_5" not in scores


def test_of_equal_probabilities_the_first_classes_are_the_best_five():
    """Answers of 8 bits, or a model that answers the same for all classes, have many equal ones."""
    rows = np.array([[0.25] * 4 + [0.0] * 4, [0.125] * 8])
    rows = np.repeat(rows, 8, axis=0)
    targets = np.tile(np.arange(8), 2)
    scores = metrics.classification_scores(targets, rows, list("abcdefgh"))
    assert scores["top_5"] == 5 / 8
    assert scores["accuracy"] == 1 / 8


def test_scores_equal_a_slow_loop_over_the_definitions():
    targets, rows, names = random_case()
    scores = metrics.classification_scores(targets, rows, names)
    pairs = [
        (int(target), max(range(len(row)), key=row.__getitem__))
        for target, row in zip(targets, rows, strict=True)
    ]
    sums = {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    for i, name in enumerate(names):
        hits = sum(pair == (i, i) for pair in pairs)
        precision = hits / sum(answer == i for _, answer in pairs)
        recall = hits / sum(target == i for target, _ in pairs)
        expected = {
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / (precision + recall),
        }
        sums = {key: sums[key] + expected[key] / len(names) for key in sums}
        support = sum(target == i for target, _ in pairs)
        assert scores["classes"][name] == pytest.approx({**expected, "support": support})
        assert scores["confusion"][i] == [pairs.count((i, j)) for j in range(len(names))]
    assert {key: scores[key] for key in sums} == pytest.approx(sums)
    five_best = [sorted(range(len(row)), key=lambda j: -row[j])[:5] for row in rows]
    assert scores["top_5"] == pytest.approx(
        np.mean([t in best for t, best in zip(targets, five_best, strict=True)])
    )


def test_calibration_error_equals_a_slow_loop_over_the_bins():
    _, rows, names = random_case(seed=1)
    sure = rows.max(axis=1) > np.median(rows.max(axis=1))
    targets = (rows.argmax(axis=1) + sure) % len(
        names
    )  # right where unsure, wrong where sure: gaps of both signs
    gap = 0.0
    for k in range(15):
        inside = [i for i in range(len(rows)) if k / 15 < rows[i].max() <= (k + 1) / 15]
        if inside:
            confidence = sum(rows[i].max() for i in inside) / len(inside)
            accuracy = sum(rows[i].argmax() == targets[i] for i in inside) / len(inside)
            gap += len(inside) / len(rows) * abs(confidence - accuracy)
    assert metrics.classification_scores(targets, rows, names)["ece"] == pytest.approx(gap)


def test_interval_holds_the_shares_that_the_score_test_does_not_reject():
    scores = metrics.classification_scores([0] * 10, probabilities([0] * 9 + [1]), NAMES)
    low, high = scores["intervals"]["accuracy"]
    for share in (low, high):  # Wilson: |0.9 - p| = z * sqrt(p (1 - p) / n) at both ends
        assert abs(0.9 - share) == pytest.approx(
            1.959964 * math.sqrt(share * (1 - share) / 10), rel=1e-6
        )


def test_streamed_in_odd_batches_scores_are_the_same_and_those_of_scikit_learn():
    targets, rows, names = random_case(examples=300, classes=7, seed=3)
    rows = rows.round(2)  # many equal scores
    rows /= rows.sum(axis=1, keepdims=True)
    whole = metrics.classification_scores(targets, rows, names)
    tally = classification.ClassTally(names)
    for part in np.split(np.arange(300), [1, 2, 9, 9, 250]):
        tally.add(targets[part], rows[part])
    assert tally.scores() == whole

    answers = rows.argmax(axis=1)
    expected = sklearn.metrics.precision_recall_fscore_support(targets, answers, average="macro")
    assert [whole[name] for name in ("precision", "recall", "f1")] == pytest.approx(expected[:3])
    assert whole["accuracy"] == sklearn.metrics.accuracy_score(targets, answers)
    assert whole["confusion"] == sklearn.metrics.confusion_matrix(targets, answers).tolist()
    area = sklearn.metrics.roc_auc_score(targets, rows, multi_class="ovr")
    precision = sklearn.metrics.average_precision_score(targets, rows)
    assert (whole["auc"], whole["average_precision"]) == pytest.approx((area, precision))
    for name, value in whole.items():
        if name in whole["intervals"]:
            low, high = whole["intervals"][name]
            assert low < value < high, name
    assert set(whole["intervals"]) >= {"accuracy", "f1", "auc", "average_precision", "top_5"}


def test_reliability_adds_up_to_the_calibration_error():
    targets, rows, names = random_case()
    scores = metrics.classification_scores(targets, rows, names)
    gaps = [
        row["support"] * abs(row["confidence"] - row["accuracy"]) for row in scores["reliability"]
    ]
    assert sum(gaps) / len(targets) == pytest.approx(scores["ece"])


def test_the_threshold_of_sure_answers_is_the_lowest_that_is_right_often_enough():
    targets, rows, names = random_case(seed=4)
    targets = np.where(rows.max(axis=1) > 0.4, rows.argmax(axis=1), targets)
    tally = classification.ClassTally(names)
    tally.add(targets, rows)
    point = tally.operating_points("precision", 0.9)["answers"]
    confidence, right = rows.max(axis=1), rows.argmax(axis=1) == targets
    shares = [right[confidence >= value].mean() for value in np.sort(confidence)]
    lowest = np.sort(confidence)[[share >= 0.9 for share in shares].index(True)]
    assert point["threshold"] == lowest
    assert point["share"] == (confidence >= lowest).mean()
    assert point["precision"] == right[confidence >= lowest].mean()


def test_order_of_examples_does_not_matter():
    targets, rows, names = random_case(seed=2)
    order = np.random.default_rng(0).permutation(len(targets))
    before = metrics.classification_scores(targets, rows, names)
    after = metrics.classification_scores(targets[order], rows[order], names)
    assert after["classes"] == before["classes"]
    assert after["ece"] == pytest.approx(before["ece"])


def test_class_without_examples_has_no_scores_and_counts_only_where_it_was_answered():
    # owl never occurs: unanswered it leaves the means alone, answered it has precision 0 and counts, as in scikit-learn
    scores = metrics.classification_scores([0, 1], probabilities([0, 1]), NAMES)
    assert scores["classes"]["owl"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert scores["precision"] == 1.0
    scores = metrics.classification_scores([0, 1], probabilities([0, 2]), NAMES)
    assert scores["classes"]["dog"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert scores["f1"] == pytest.approx(1 / 3)


def test_result_goes_into_json_unchanged():
    scores = metrics.classification_scores(*random_case())
    assert json.loads(json.dumps(scores)) == scores


@pytest.mark.parametrize(
    ("targets", "rows", "names", "message"),
    [
        (
            [0, 3],
            probabilities([0, 1]),
            NAMES,
            r"targets must be class ids in \[0, 3\)\. Given: 3 at index 1",
        ),
        ([0, -1], probabilities([0, 1]), NAMES, r"Given: -1 at index 1\. .*weight of 0"),
        ([0, 0.5], probabilities([0, 1]), NAMES, r"Given: 0\.5 at index 1"),
        (np.eye(4)[:2], probabilities([0, 1]), NAMES, r"shape \(2,\), or .*Given: \(2, 4\)"),
        ([0, 1, 2], probabilities([0, 1]), NAMES, r"shape \(2,\), or .*Given: \(3,\)"),
        (["cat", "dog"], probabilities([0, 1]), NAMES, "must be class ids. Given: values of type"),
        (
            [0, 1],
            probabilities([0, 1], classes=4),
            NAMES,
            r"shape \(examples, 3\)\. Given: \(2, 4\)",
        ),
        ([0, 1], [[1.0, 0, 0], [3.0, -1, 2]], NAMES, r"Given: \[3, -1, 2\] at index 1\. .*softmax"),
        (
            [0, 1],
            [[1.0, 0, 0], [math.nan, 0, 0]],
            NAMES,
            "Given: .*nan.* at index 1. Training diverged",
        ),
        ([0, 1], probabilities([0, 1]), ["cat", "cat", "owl"], "'cat' more than once"),
        ([], np.empty((0, 3)), NAMES, "at least one example"),
    ],
)
def test_wrong_input_is_an_error(targets, rows, names, message):
    with pytest.raises(checks.InputError, match=message):
        metrics.classification_scores(targets, rows, names)


def test_column_of_class_ids_is_taken_as_a_vector():
    assert classification.class_ids(
        np.array([[1], [0]], "uint8"), examples=2, classes=2
    ).tolist() == [1, 0]


def test_errors_count_from_the_first_example_of_the_batch():
    with pytest.raises(checks.InputError, match="7 at index 65"):
        classification.class_ids(np.array([0, 7]), examples=2, classes=3, first=64)
    with pytest.raises(checks.InputError, match="at index 64"):
        classification.probability_rows(np.array([[2.0, 2.0]]), classes=2, first=64)


def test_most_confused_pairs():
    matrix = [[9, 2, 0], [5, 9, 0], [1, 0, 9]]
    assert classification.confused(matrix, ["a", "b", "c"]) == [
        ("b", "a", 5),
        ("a", "b", 2),
        ("c", "a", 1),
    ]
    assert classification.confused(matrix, ["a", "b", "c"], limit=1) == [("b", "a", 5)]
    assert classification.confused([[1, 0], [0, 1]], ["a", "b"]) == []
