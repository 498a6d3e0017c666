"""Losses of masks against slow loops over their definitions."""

import numpy as np
import pytest

from keras_transfer import losses, metrics


def masks(count=3, side=6, classes=4):
    """Masks with ignored pixels, one of them ignored everywhere, and probabilities."""
    rng = np.random.default_rng(5)
    truth = rng.integers(0, classes, (count, side, side))
    truth[rng.random(truth.shape) < 0.2] = 255
    truth[-1] = 255
    logits = rng.normal(size=(count, side, side, classes))
    answers = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return truth.astype("uint8"), answers.astype("float32")


def loop(truth, answers, each, weights):
    """The mean of `each(probability of the right class)` over the known pixels, with the weight of the class."""
    values = []
    for mask, shares in zip(truth, answers, strict=True):
        known = [(y, x) for y, x in np.ndindex(mask.shape) if mask[y, x] != 255]
        costs = [weights[mask[p]] * each(float(shares[p][mask[p]])) for p in known]
        values.append(sum(costs) / max(len(known), 1))
    return values


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5, 0.0]], ids=["equal", "weighted"])
@pytest.mark.parametrize(
    ("part", "each"),
    [("crossentropy", lambda p: -np.log(p)), ("focal", lambda p: -((1 - p) ** 2) * np.log(p))],
    ids=["crossentropy", "focal"],
)
def test_pixel_losses_equal_the_loop(part, each, weights):
    truth, answers = masks()
    loss = losses.SegmentationLoss([part], class_weights=weights)
    expected = loop(truth, answers, each, weights or [1.0] * 4)
    np.testing.assert_allclose(loss.call(truth, answers), expected, rtol=1e-5)


def test_dice_equals_the_loop():
    truth, answers = masks()
    expected = []
    for mask, shares in zip(truth, answers, strict=True):
        known, scores = mask != 255, []
        for number in range(4):
            region, share = (mask == number) & known, shares[..., number] * known
            if region.any():
                scores.append(1 - 2 * share[region].sum() / (region.sum() + share.sum()))
        expected.append(np.mean(scores) if scores else 0.0)
    np.testing.assert_allclose(
        losses.SegmentationLoss("dice").call(truth, answers), expected, rtol=1e-5
    )


def test_lovasz_equals_the_loop():
    """Errors from the largest down, each times what it adds to 1 - IoU as it joins the mistakes (eq. 9)."""
    truth, answers = masks()
    expected = []
    for mask, shares in zip(truth, answers, strict=True):
        known, values = mask != 255, []
        for number in range(4):
            region = (mask == number)[known]
            if not region.any():
                continue
            errors = np.abs(region - shares[..., number][known])
            wrong, before, total = np.zeros(len(region), bool), 0.0, 0.0
            for at in np.argsort(-errors, kind="stable"):
                wrong[at] = True
                both = (region & ~wrong).sum()
                now = 1 - both / (region | wrong).sum()
                total, before = total + errors[at] * (now - before), now
            values.append(total)
        expected.append(np.mean(values) if values else 0.0)
    np.testing.assert_allclose(
        losses.SegmentationLoss("lovasz").call(truth, answers), expected, rtol=1e-4
    )


def test_an_image_of_weight_0_counts_as_if_it_were_left_out():
    truth, answers = masks()
    loss = losses.SegmentationLoss(["crossentropy", "dice"])
    weighted = float(loss(truth, answers, sample_weight=np.array([1.0, 0.0, 0.0])))
    assert weighted == pytest.approx(float(loss(truth[:1], answers[:1])), rel=1e-6)


def test_masks_may_have_a_last_axis():
    truth, answers = masks()
    loss, metric = losses.SegmentationLoss(), metrics.MeanIoU(answers.shape[-1])
    np.testing.assert_array_equal(loss.call(truth[..., None], answers), loss.call(truth, answers))
    assert float(metric(truth[..., None], answers)) == pytest.approx(
        float(metrics.MeanIoU(answers.shape[-1])(truth, answers))
    )


def test_class_weights_from_data_must_be_settled():
    truth, answers = masks()
    loss = losses.SegmentationLoss(class_weights="balanced")
    with pytest.raises(ValueError, match="class weights must be known before training"):
        loss(truth, answers)


def test_unknown_part():
    with pytest.raises(ValueError, match="Close"):
        losses.SegmentationLoss("dise")
