"""Scores of found boxes, as COCO defines them: average precision over overlaps, classes and sizes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["best_threshold", "detection_scores", "match"]

# How many of `COCOeval.stats`, in their order, are called what.
SUMMARY = {
    0: "map", 1: "map50", 2: "map75", 3: "map_small", 4: "map_medium", 5: "map_large", 8: "recall",
}  # fmt: skip


def detection_scores(
    targets: Sequence[np.ndarray], found: Sequence[np.ndarray], names: Sequence[str]
) -> dict:
    """Scores of found boxes, as a dict that goes into JSON as it is, by the definitions of COCO.

    `map` is the average precision at overlaps of 0.5, 0.55 ... 0.95, the mean over classes; `map50` and `map75` are at
    one overlap; `map_small`, `map_medium` and `map_large` of objects of less than 32 x 32 pixels, up to 96 x 96, and
    more; `recall` is the mean share of objects among the 100 surest boxes of an image. None where no object counts.
    `classes` has `ap`, `ap50`, `recall` and `support`, the number of objects, of each class, and `curve`: the
    precision at 101 recalls from 0 to 1, for an overlap of 0.5.

    Args:
        targets: For each image its objects, (n, 6): box, class id (-1 for none), whether it is to be ignored.
        found: For each image its found boxes, (n, 6): box, class id (-1 for none), score.
        names: Of the classes.

    Example:
        >>> box = np.array([[0, 0, 9, 9, 0, 0.0]])
        >>> scores = detection_scores([box], [box + [0, 0, 0, 0, 0, 0.5]], ["cat"])
        >>> scores["map"], scores["classes"]["cat"]["support"]
        (1.0, 1)
    """
    from faster_coco_eval import (
        COCO,
        COCOeval_faster,
    )  # takes a while, and only evaluation needs it

    truth, answers = COCO(_truth(targets, names)), _answers(found)
    judge = COCOeval_faster(truth, truth.loadRes(answers), iouType="bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()

    scores: dict = {name: _known(judge.stats[at]) for at, name in SUMMARY.items()}
    precision, recall = judge.eval["precision"], judge.eval["recall"]
    classes = {}
    for number, name in enumerate(names):
        own = precision[
            :, :, number, 0, -1
        ]  # (overlaps, recalls): of all sizes, 100 boxes an image
        support = sum(int(((rows[:, 4] == number) & (rows[:, 5] == 0)).sum()) for rows in targets)
        classes[str(name)] = {
            "ap": _mean(own),
            "ap50": _mean(own[0]),
            "recall": _mean(recall[:, number, 0, -1]),
            "support": support,
            "curve": [round(float(value), 4) for value in own[0]] if support else None,
        }
    return {**scores, "support": len(targets), "classes": classes}


def match(
    targets: np.ndarray, found: np.ndarray, *, overlap: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Gives each found box, the surest first, the object of its class that it overlaps most, if enough.

    Args:
        targets: Objects of one image, (n, 6), without padding.
        found: Found boxes of the image, (m, 6), without padding.
        overlap: The least IoU.

    Returns:
        For each found box the number of its object, -1 where it has none; and for each whether it lies on an object
        to be ignored.

    Example:
        >>> box = np.array([[0, 0, 9, 9, 0, 0.0]])
        >>> match(box, box)[0].tolist()
        [0]
    """
    owners, on_ignored = np.full(len(found), -1), np.zeros(len(found), bool)
    free = targets[:, 5] == 0
    for at in np.argsort(-found[:, 5], kind="stable"):
        overlaps = _overlaps(found[at, :4], targets[:, :4])
        of_class = targets[:, 4] == found[at, 4]
        choices = np.where(of_class & free, overlaps, -1.0)
        if len(choices) and choices.max() >= overlap:
            owners[at] = int(choices.argmax())
            free[owners[at]] = False
        else:
            on_ignored[at] = bool((of_class & (targets[:, 5] > 0) & (overlaps >= overlap)).any())
    return owners, on_ignored


def best_threshold(
    scores: np.ndarray, is_right: np.ndarray, objects: int, *, default: float
) -> float:
    """Returns the score from which on found boxes have the best F1; `default` where none is right.

    It lies in the middle between two scores, so that rounding changes no answer.

    Args:
        scores: Of all found boxes.
        is_right: Whether each has an object.
        objects: How many there are.
        default: What to return without any right box.

    Example:
        >>> best_threshold(np.array([0.9, 0.8, 0.2]), np.array([True, True, False]), 2, default=0.3)
        0.5
    """
    if not is_right.any():
        return default
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(is_right[order])
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + objects)
    following = np.append(ordered[1:], 0.0)
    f1[ordered == following] = 0.0  # equal scores get one answer
    best = int(np.argmax(f1))
    middle = round(float(ordered[best] + following[best]) / 2, 6)
    return min(max(middle, 1e-6), 1 - 1e-6)  # a threshold is neither 0 nor 1


def _overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    both = np.maximum(high - low, 0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    return both / np.maximum((box[2:] - box[:2]).prod() + areas - both, 1e-9)


def _truth(targets: Sequence[np.ndarray], names: Sequence[str]) -> dict:
    """Returns the objects in COCO's form."""
    annotations: list[dict] = []
    for image, rows in enumerate(targets, 1):
        for x1, y1, x2, y2, number, ignored in rows[rows[:, 4] >= 0].tolist():
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(number) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": int(ignored > 0),
                }
            )
    return {
        "images": [{"id": number} for number in range(1, len(targets) + 1)],
        "categories": [{"id": number, "name": str(name)} for number, name in enumerate(names, 1)],
        "annotations": annotations,
    }


def _answers(found: Sequence[np.ndarray]) -> list[dict]:
    answers = []
    for image, rows in enumerate(found, 1):
        for x1, y1, x2, y2, number, score in rows[rows[:, 4] >= 0].tolist():
            box = [x1, y1, x2 - x1, y2 - y1]
            category = int(number) + 1
            answers.append(
                {"image_id": image, "category_id": category, "bbox": box, "score": score}
            )
    return answers


def _known(value: float) -> float | None:
    """Returns None for COCO's -1: nothing to measure."""
    return None if value < 0 else float(value)


def _mean(values: Any) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if known.size else None
