"""Scores of depth maps and pictures by hand."""

import numpy as np
import pytest
import tensorflow as tf

from keras_transfer import metrics


def test_depth_scores_by_hand():
    truth = np.array([[[1.0, 2.0], [0.0, np.nan]], [[-1.0, 0.0], [np.nan, 0.0]]])
    answers = np.array([[[1.5, 2.0], [9.0, 9.0]], [[1.0, 1.0], [1.0, 1.0]]])
    scores = metrics.depth_scores(truth, answers)
    assert scores["abs_rel"][0] == pytest.approx(0.25)
    assert scores["rmse"][0] == pytest.approx(np.sqrt(0.125))
    assert scores["log_rmse"][0] == pytest.approx(np.log(1.5) / np.sqrt(2))
    assert [scores[f"delta_{k}"][0] for k in (1, 2, 3)] == [0.5, 1.0, 1.0]  # 1.5 < 1.25^2 = 1.5625
    assert np.isnan(scores["abs_rel"][1])


def test_psnr_equals_that_of_tensorflow():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (3, 8, 8, 3)).astype("float32")
    answers = np.clip(truth + rng.normal(0, 30, truth.shape), 0, 255)
    answers[2] = truth[2]
    scores = metrics.picture_scores(truth, answers)
    expected = tf.image.psnr(truth[:2], answers[:2].astype("float32"), max_val=255)
    np.testing.assert_allclose(scores["psnr"][:2], expected, rtol=1e-4)
    assert scores["psnr"][2] == 100
