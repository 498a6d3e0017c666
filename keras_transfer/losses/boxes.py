"""How far two boxes are apart, and which candidate is to learn which object.

Boxes are `x1, y1, x2, y2`; all is computed for whole batches, with static shapes.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

__all__ = ["OVERLAPS", "Assignment", "assign", "ciou", "giou", "pairwise_iou"]

SMALL = 1e-7
CANDIDATES = 13  # places that learn an object at most (Feng et al. 2021)
SCORE_POWER, OVERLAP_POWER = 1.0, 6.0
FIRST = 2.0  # added to the overlap of an object's first choice
PRIOR = 1e-9  # what nearness counts where no candidate overlaps an object yet


def giou(targets: Any, boxes: Any) -> Any:
    """Returns the generalised IoU, from -1 to 1, of pairs of boxes (Rezatofighi et al. 2019).

    Example:
        >>> one, other = ops.array([[0.0, 0.0, 2.0, 2.0]]), ops.array([[1.0, 0.0, 3.0, 2.0]])
        >>> round(float(giou(one, other)[0]), 4)  # 1/3, and no empty place in the hull
        0.3333
    """
    overlap, union = _overlap_and_union(targets, boxes)
    sides = _hull(targets, boxes)
    hull = sides[..., 0] * sides[..., 1]
    return overlap / (union + SMALL) - (hull - union) / (hull + SMALL)


def ciou(targets: Any, boxes: Any) -> Any:
    """Returns the complete IoU of pairs of boxes, which also wants equal centres and aspects (Zheng et al. 2020).

    Example:
        >>> box = ops.array([[0.0, 0.0, 2.0, 4.0]])
        >>> round(float(ciou(box, box)[0]), 4)
        1.0
    """
    overlap, union = _overlap_and_union(targets, boxes)
    iou = overlap / (union + SMALL)
    diagonal = ops.sum(ops.square(_hull(targets, boxes)), axis=-1)
    between = (targets[..., :2] + targets[..., 2:] - boxes[..., :2] - boxes[..., 2:]) / 2
    distance = ops.sum(ops.square(between), axis=-1)

    angles = []
    for each in (targets, boxes):
        width, height = each[..., 2] - each[..., 0], each[..., 3] - each[..., 1]
        angles.append(ops.arctan2(width, ops.maximum(height, SMALL)))
    aspect = (4 / math.pi**2) * ops.square(angles[0] - angles[1])
    share = ops.stop_gradient(aspect / (1 - iou + aspect + SMALL))
    return iou - distance / (diagonal + SMALL) - share * aspect


OVERLAPS: dict[str, Callable] = {"giou": giou, "ciou": ciou}


def pairwise_iou(some: Any, others: Any) -> Any:
    """Returns the IoU of each of (..., m, 4) boxes with each of (..., n, 4), (..., m, n).

    Example:
        >>> boxes = ops.array([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0]])
        >>> (100 * pairwise_iou(boxes, boxes)).numpy().round().tolist()
        [[100.0, 33.0], [33.0, 100.0]]
    """
    overlap, union = _overlap_and_union(some[..., :, None, :], others[..., None, :, :])
    return overlap / (union + SMALL)


class Assignment(NamedTuple):
    """What each candidate of each image learns; (batch, candidates) unless said otherwise.

    Attributes:
        objects: The number of its object, 0 where it has none.
        is_positive: Whether it has one, as 0 or 1.
        quality: How sure it should be of the object's class, 0 where it has none.
        is_ignored: Whether it lies in a box that is neither object nor background, as 0 or 1.
    """

    objects: Any
    is_positive: Any
    quality: Any
    is_ignored: Any


def assign(targets: Any, boxes: Any, places: Any, strides: Any, probabilities: Any) -> Assignment:
    """Chooses for each object the candidates that are best at it by now (Feng et al. 2021, "TOOD").

    An object chooses among the places inside its box, and those of the finest map that are at most one stride from its
    centre, so that a box smaller than a stride has places, too. It takes the 13 with the largest
    `probability * IoU^6`; one that two objects want goes to the one it overlaps more, but the first choice of an object
    goes before the other choices of others, so that a small object in a large one keeps a place. How sure a candidate
    should be is that number, scaled so that the best candidate of an object should be as sure as it overlaps.

    Args:
        targets: Objects (batch, m, 6): box, class id (-1 for no object), whether it is to be ignored.
        boxes: Of the candidates (batch, n, 4).
        places: Of the candidates (batch, n, 2).
        strides: Of the candidates (batch, n).
        probabilities: Of the candidates (batch, n, classes).
    """
    truth, ids, ignored = targets[..., :4], targets[..., 4], targets[..., 5] > 0
    is_object = (ids >= 0) & ~ignored
    classes = probabilities.shape[-1]
    one_hot = ops.one_hot(ops.cast(ids, "int32"), classes, dtype=boxes.dtype)
    scores = ops.matmul(one_hot, ops.swapaxes(probabilities, 1, 2))  # (batch, m, n)
    overlap = pairwise_iou(truth, boxes)

    offsets = places[:, None] - ((truth[..., :2] + truth[..., 2:]) / 2)[:, :, None]
    reach = ((truth[..., 2:] - truth[..., :2]) / 2)[:, :, None]
    finest = ops.min(strides, axis=1)[:, None, None, None]
    is_finest = ops.equal(strides[:, None, :, None], finest)
    reach = ops.where(is_finest, ops.maximum(reach, finest), reach)
    is_near = ops.all(ops.abs(offsets) < reach, axis=-1)

    fit = ops.power(scores, SCORE_POWER) * ops.power(overlap, OVERLAP_POWER)
    nearness = ops.exp(-ops.sum(ops.square(offsets / strides[:, None, :, None]), axis=-1))
    is_choice = is_near & is_object[..., None]
    rank = ops.where(is_choice, fit + PRIOR * nearness, -1.0)
    count = min(CANDIDATES, rank.shape[-1])
    limit = ops.top_k(rank, count)[0][..., -1:]
    is_chosen = is_choice & (rank >= limit)

    is_first = is_chosen & (rank >= ops.max(rank, axis=-1, keepdims=True))
    claim = ops.where(is_chosen, overlap + FIRST * ops.cast(is_first, overlap.dtype), -1.0)
    objects = ops.argmax(claim, axis=1)
    is_positive = ops.cast(ops.any(is_chosen, axis=1), boxes.dtype)
    won = ops.swapaxes(ops.one_hot(objects, claim.shape[1], dtype=boxes.dtype), 1, 2)
    won = won * is_positive[:, None] * ops.cast(is_chosen, boxes.dtype)

    fit, overlap = fit * won, overlap * won
    best_fit, best_overlap = (ops.max(each, axis=-1, keepdims=True) for each in (fit, overlap))
    quality = ops.sum(fit / ops.maximum(best_fit, 1e-20) * best_overlap, axis=1)

    inside = ops.all(
        ops.abs(offsets) < ((truth[..., 2:] - truth[..., :2]) / 2)[:, :, None], axis=-1
    )
    in_ignored = ops.any(inside & (ignored & (ids >= 0))[..., None], axis=1)
    is_ignored = ops.cast(in_ignored, boxes.dtype) * (1 - is_positive)
    return Assignment(objects, is_positive, quality, is_ignored)


def _overlap_and_union(some: Any, others: Any) -> tuple[Any, Any]:
    low = ops.maximum(some[..., :2], others[..., :2])
    high = ops.minimum(some[..., 2:], others[..., 2:])
    sides = ops.maximum(high - low, 0.0)
    overlap = sides[..., 0] * sides[..., 1]
    areas = [
        (each[..., 2] - each[..., 0]) * (each[..., 3] - each[..., 1]) for each in (some, others)
    ]
    return overlap, areas[0] + areas[1] - overlap


def _hull(some: Any, others: Any) -> Any:
    """Returns the sides of the smallest box around both."""
    low = ops.minimum(some[..., :2], others[..., :2])
    return ops.maximum(some[..., 2:], others[..., 2:]) - low
