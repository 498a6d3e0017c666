"""Scores of masks against scikit-learn and a slow loop."""

import numpy as np
import pytest
from sklearn import metrics as reference

from keras_transfer.metrics import segmentation


def draw(seed, shape=(3, 12, 12), classes=4):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes - 1, shape).astype("uint8")  # the last class is only answered
    truth[rng.random(shape) < 0.1] = 255
    return truth, rng.integers(0, classes, shape).astype("uint8")


def test_scores_equal_those_of_scikit_learn():
    truth, answers = draw(1)
    known = truth != 255
    counts = segmentation.confusion(truth, answers, 4)
    scores = segmentation.segmentation_scores(counts, list("abcd"))
    labels = {"labels": [0, 1, 2], "average": None, "zero_division": 0}
    iou = reference.jaccard_score(truth[known], answers[known], **labels)
    dice = reference.f1_score(truth[known], answers[known], **labels)
    np.testing.assert_allclose([scores["classes"][name]["iou"] for name in "abc"], iou)
    np.testing.assert_allclose([scores["classes"][name]["dice"] for name in "abc"], dice)
    assert scores["classes"]["d"]["iou"] is None  # no mask has it
    assert scores["mean_iou"] == pytest.approx(iou.mean())
    assert scores["accuracy"] == reference.accuracy_score(truth[known], answers[known])


def test_the_metric_in_odd_batches_is_the_score_of_all():
    """A missing mask has weight 0; ignored pixels do not count; classes that nobody has are no part of the mean."""
    truth, answers = draw(2, shape=(7, 12, 12))
    weights = np.array([1, 1, 0, 1, 1, 0, 1], "float32")
    metric = segmentation.MeanIoU(5)
    for part in (slice(0, 3), slice(3, 4), slice(4, 7)):
        metric.update_state(truth[part], np.eye(5)[answers[part]], weights[part])
    kept = weights > 0
    counts = segmentation.confusion(truth[kept], answers[kept], 5)
    both, either = np.diagonal(counts), counts.sum(0) + counts.sum(1) - np.diagonal(counts)
    present = either > 0
    assert float(metric.result()) == pytest.approx((both[present] / either[present]).mean())


def test_borders_equal_the_loop():
    rng = np.random.default_rng(3)
    truth, answer = np.zeros((2, 16, 16), "uint8")
    truth[4:11, 5:12], answer[5:12, 5:10] = 1, 1
    truth[rng.random(truth.shape) < 0.03] = 255

    def border(mask, number):
        inside = (mask == number) & (truth != 255)
        places = set()
        for y, x in np.argwhere(inside):
            near = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            near = [(a, b) for a, b in near if 0 <= a < 16 and 0 <= b < 16]
            if not all(inside[place] for place in near):
                places.add((int(y), int(x)))
        return places

    counts = segmentation.border_counts(truth, answer, 2)
    for number in (0, 1):
        own, other = border(truth, number), border(answer, number)
        for place, (one, two) in enumerate([(own, other), (other, own)]):
            met = [p for p in one if any(abs(p[0] - q[0]) + abs(p[1] - q[1]) <= 1 for q in two)]
            assert counts[number, 2 * place :].tolist()[:2] == [len(one), len(met)]


def test_nothing_known():
    scores = segmentation.segmentation_scores(np.zeros((2, 2), int), ["a", "b"])
    assert scores["mean_iou"] is None
    assert scores["accuracy"] is None
