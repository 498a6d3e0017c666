"""Overlaps and assignment of boxes against slow loops over their definitions."""

import math

import numpy as np

from keras_transfer import losses
from keras_transfer.losses import boxes


def draw(count, seed, side=64.0):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, side, (count, 2, 2))
    low, high = corners.min(axis=1), corners.max(axis=1) + 1
    return np.concatenate([low, high], axis=1)


def overlap(one, other):
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    union = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)) - width * height
    return width * height / union, union


def test_overlaps_equal_their_definitions():
    some, others = draw(40, 0), draw(40, 1)
    giou, ciou = [], []
    for one, other in zip(some, others, strict=True):
        iou, union = overlap(one, other)
        sides = [max(one[k + 2], other[k + 2]) - min(one[k], other[k]) for k in (0, 1)]
        area = sides[0] * sides[1]
        giou.append(iou - (area - union) / area)
        apart = [(one[k] + one[k + 2] - other[k] - other[k + 2]) / 2 for k in (0, 1)]
        diagonal = sides[0] ** 2 + sides[1] ** 2
        angles = [math.atan((b[2] - b[0]) / (b[3] - b[1])) for b in (one, other)]
        aspect = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
        share = aspect / (1 - iou + aspect)
        ciou.append(iou - (apart[0] ** 2 + apart[1] ** 2) / diagonal - share * aspect)
    np.testing.assert_allclose(boxes.giou(some, others), giou, atol=1e-5)
    np.testing.assert_allclose(boxes.ciou(some, others), ciou, atol=1e-5)
    table = [[overlap(one, other)[0] for other in others] for one in some]
    np.testing.assert_allclose(boxes.pairwise_iou(some, others), table, atol=1e-5)


def scene(seed, *, classes=3, objects=5):
    """Two images: objects, one of them padding, one to be ignored; candidates of strides 8 and 16."""
    rng = np.random.default_rng(seed)
    targets = np.zeros((2, objects, 6), "float32")
    for image in range(2):
        targets[image, :, :4] = draw(objects, (seed, image))
        targets[image, :, 4] = rng.integers(0, classes, objects)
    targets[0, -1, 4], targets[1, 0, 5] = -1, 1
    targets[0, 0, :4] = [20, 20, 22, 23]  # smaller than a stride
    rows = []
    for stride in (8, 16):
        for y in range(64 // stride):
            for x in range(64 // stride):
                place = [(x + 0.5) * stride, (y + 0.5) * stride]
                rows.append([*place, stride])
    known = np.tile(np.array(rows, "float32"), (2, 1, 1))
    centre = known[..., [0, 1, 0, 1]]
    distances = rng.uniform(0.3, 3, (*known.shape[:2], 4)) * known[..., 2:]
    found = centre + distances * [-1, -1, 1, 1]
    probabilities = rng.uniform(0.01, 0.9, (*known.shape[:2], classes))
    return targets, np.concatenate([found, known, probabilities], axis=-1).astype("float32")


def assign_slowly(objects, rows):
    """The rules of `boxes.assign` for one image, object by object."""
    claims = {}
    for number, (*box, identity, ignored) in enumerate(objects):
        if identity < 0 or ignored:
            continue
        fits = []
        for place, row in enumerate(rows):
            reach = [(box[2] - box[0]) / 2, (box[3] - box[1]) / 2]
            if row[6] == 8:
                reach = [max(side, 8) for side in reach]
            offset = [abs(row[4] - (box[0] + box[2]) / 2), abs(row[5] - (box[1] + box[3]) / 2)]
            if offset[0] < reach[0] and offset[1] < reach[1]:
                iou = overlap(box, row[:4])[0]
                near = math.exp(-((offset[0] / row[6]) ** 2) - (offset[1] / row[6]) ** 2)
                fits.append((row[7 + int(identity)] * iou**6 + 1e-9 * near, place, iou))
        for order, (_, place, iou) in enumerate(sorted(fits, reverse=True)[:13]):
            claims.setdefault(place, []).append((order == 0, iou, number))
    owners = {place: max(found)[2] for place, found in claims.items()}
    quality = {}
    for number in set(owners.values()):
        own = [place for place, owner in owners.items() if owner == number]
        identity = int(objects[number][4])
        ious = {place: overlap(objects[number][:4], rows[place][:4])[0] for place in own}
        fits = {place: rows[place][7 + identity] * ious[place] ** 6 for place in own}
        for place in own:
            quality[place] = fits[place] / max(max(fits.values()), 1e-20) * max(ious.values())
    return owners, quality


def test_assignment_equals_the_loop():
    for seed in range(3):
        targets, rows = scene(seed)
        found = boxes.assign(targets, rows[..., :4], rows[..., 4:6], rows[..., 6], rows[..., 7:])
        positive, quality = np.array(found.is_positive), np.array(found.quality)
        for image in range(2):
            owners, expected = assign_slowly(targets[image].tolist(), rows[image].tolist())
            assert np.flatnonzero(positive[image]).tolist() == sorted(owners)
            for place, owner in owners.items():
                assert int(found.objects[image, place]) == owner
                np.testing.assert_allclose(
                    quality[image, place], expected[place], rtol=1e-3, atol=1e-5
                )
        owners, _ = assign_slowly(targets[0].tolist(), rows[0].tolist())
        assert 0 in owners.values()  # an object smaller than a stride is learned


def test_background_in_ignored_boxes_costs_nothing():
    targets, rows = scene(4)
    targets[...] = [[[0, 0, 0, 0, -1, 0]]]
    loss = losses.DetectionLoss(3)
    everywhere = np.array(loss.call(targets, rows))
    targets[:, 0] = [0, 0, 64, 64, 1, 1]
    np.testing.assert_allclose(loss.call(targets, rows), 0, atol=1e-6)
    assert (everywhere > 1).all()


def test_padding_and_missing_images_change_nothing():
    targets, rows = scene(5)
    loss = losses.DetectionLoss(3, overlap="ciou")
    padded = np.concatenate([targets, np.tile([0, 0, 0, 0, -1, 0], (2, 3, 1))], axis=1)
    np.testing.assert_allclose(loss.call(padded, rows), loss.call(targets, rows), rtol=1e-5)
    weighted = float(loss(targets, rows, sample_weight=np.array([0.0, 1.0])))
    np.testing.assert_allclose(weighted, float(loss(targets[1:], rows[1:])), rtol=1e-5)


def test_a_batch_without_any_object_costs_what_its_background_does():
    candidate = np.array([[[0, 0, 8, 8, 4, 4, 8, 0.5]]], "float32")
    empty = np.array([[[0, 0, 0, 0, -1, 0]]], "float32")
    loss = losses.DetectionLoss(1)
    np.testing.assert_array_equal(loss(empty[:, :0], candidate), loss(empty, candidate))


def test_the_best_candidate_costs_least():
    """A candidate that equals its object, and is as sure, costs nothing; moved or unsure ones cost more."""
    targets = np.array([[[8, 8, 24, 24, 1, 0]]], "float32")
    row = np.array([[[8, 8, 24, 24, 16, 16, 8, 1e-6, 1 - 1e-6]]], "float32")
    loss = losses.DetectionLoss(2)
    assert float(loss(targets, row)) < 1e-4
    moved, unsure = row.copy(), row.copy()
    moved[..., [0, 2]] += 3
    unsure[..., 8] = 0.5
    assert float(loss(targets, moved)) > 0.3
    assert float(loss(targets, unsure)) > 0.1
