"""Losses of depth maps against slow loops over their definitions."""

import numpy as np
import pytest

from keras_transfer import losses


def maps():
    """Three maps with pixels that are not known, one of them without any that is."""
    rng = np.random.default_rng(0)
    truth, answers = rng.uniform(0.5, 4, (2, 3, 5, 6, 1))
    truth[0, :2, 1:3], truth[1, 4], truth[2] = 0, np.nan, -1
    return truth.astype("float32"), answers.astype("float32")


def gaps(truth, answers):
    known = np.isfinite(truth) & (truth > 0)
    return np.where(known, np.log(answers) - np.log(np.where(known, truth, 1)), np.nan)[..., 0]


def test_each_part_equals_the_loop():
    truth, answers = maps()
    expected = {"log": [], "l1": [], "gradient": []}
    for gap in gaps(truth, answers):
        values = [value for value in gap.ravel() if np.isfinite(value)]
        if not values:
            expected["log"].append(1e-3)  # the root of what keeps its gradient finite
            expected["l1"].append(0.0)
            expected["gradient"].append(0.0)
            continue
        expected["log"].append(np.sqrt(np.mean(np.square(values)) - 0.85 * np.mean(values) ** 2))
        expected["l1"].append(np.mean(np.abs(values)))
        total = 0.0
        for pairs in (zip(gap[1:], gap[:-1], strict=True), zip(gap.T[1:], gap.T[:-1], strict=True)):
            steps = [abs(a - b) for one, two in pairs for a, b in zip(one, two, strict=True)]
            total += np.nanmean(steps)
        expected["gradient"].append(total)
    for part, values in expected.items():
        np.testing.assert_allclose(losses.DepthLoss(part).call(truth, answers), values, rtol=1e-4)


def test_maps_may_lack_the_last_axis():
    """Where there are as many images as rows, the shapes would fit without it, but not the values."""
    rng = np.random.default_rng(0)
    truth, answers = rng.uniform(0.5, 4, (2, 5, 5, 5, 1)).astype("float32")
    for loss in (losses.DepthLoss(), losses.PictureLoss("l1")):
        np.testing.assert_array_equal(loss.call(truth[..., 0], answers), loss.call(truth, answers))


def test_parts_add_up_and_a_missing_map_does_not_count():
    truth, answers = maps()
    both = losses.DepthLoss(["l1", "gradient"])
    single = [losses.DepthLoss(part).call(truth, answers) for part in ("l1", "gradient")]
    np.testing.assert_allclose(both.call(truth, answers), single[0] + single[1], rtol=1e-6)
    weighted = float(both(truth, answers, sample_weight=np.array([0.0, 1.0, 0.0])))
    assert weighted == pytest.approx(float(both(truth[1:2], answers[1:2])), rel=1e-5)
