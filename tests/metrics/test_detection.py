"""Scores of boxes against pycocotools, and the matching against its rules."""

import contextlib
import io

import numpy as np
import pytest

from keras_transfer.metrics import detection


def draw(seed, *, images=4, classes=3):
    """Objects, some to be ignored, and found boxes near some of them; one image has neither."""
    rng = np.random.default_rng(seed)
    targets, found = [], []
    for _ in range(images):
        count = int(rng.integers(0, 6))
        corners = np.sort(rng.uniform(0, 200, (count, 2, 2)), axis=1)
        boxes = corners.reshape(count, 4)
        boxes[:, 2:] += 2
        ids = rng.integers(0, classes, (count, 1))
        ignored = rng.random((count, 1)) < 0.2
        targets.append(np.hstack([boxes, ids, ignored]))
        near = np.repeat(boxes, 2, axis=0) + rng.normal(0, 6, (2 * count, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        guesses = np.where(rng.random((2 * count, 1)) < 0.8, np.repeat(ids, 2, axis=0), 0)
        found.append(np.hstack([near, guesses, rng.random((2 * count, 1))]))
    return targets, found


def reference(targets, found, names):
    coco, evaluate = (
        pytest.importorskip("pycocotools.coco"),
        pytest.importorskip("pycocotools.cocoeval"),
    )
    truth = coco.COCO()
    truth.dataset = detection._truth(targets, names)
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        judge = evaluate.COCOeval(truth, truth.loadRes(detection._answers(found)), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats


def test_scores_equal_those_of_pycocotools():
    names = ["a", "b", "c"]
    for seed in range(200):
        targets, found = draw(seed)
        if not sum(map(len, found)):
            continue
        scores, stats = (
            detection.detection_scores(targets, found, names),
            reference(targets, found, names),
        )
        for at, key in detection.SUMMARY.items():
            expected = None if stats[at] < 0 else stats[at]
            assert scores[key] == (None if expected is None else pytest.approx(expected, abs=1e-9))
        by_class = [row["ap"] for row in scores["classes"].values() if row["ap"] is not None]
        if by_class:
            assert np.mean(by_class) == pytest.approx(scores["map"])


def test_nothing_found_and_nothing_there():
    targets, _ = draw(3)
    none = [np.zeros((0, 6)) for _ in targets]
    assert detection.detection_scores(targets, none, ["a", "b", "c"])["map"] == 0
    assert detection.detection_scores(none, none, ["a"])["map"] is None


def test_a_chosen_threshold_is_one_that_a_task_takes():
    scores, is_right = np.array([1 - 1e-7, 1 - 2e-7]), np.array([True, False])
    chosen = detection.best_threshold(scores, is_right, 1, default=0.3)
    assert 0.9 < chosen < 1


def test_each_object_is_found_once_and_the_surest_box_wins():
    targets = np.array([[0, 0, 10, 10, 0, 0], [50, 50, 60, 60, 1, 1]], float)
    found = np.array(
        [
            [0, 0, 10, 9, 0, 0.5],
            [0, 0, 10, 10, 0, 0.9],
            [0, 0, 10, 10, 1, 0.8],  # of another class
            [50, 50, 60, 60, 1, 0.3],  # on an ignored one
        ]
    )
    owners, on_ignored = detection.match(targets, found)
    assert owners.tolist() == [-1, 0, -1, -1]
    assert on_ignored.tolist() == [False, False, False, True]
