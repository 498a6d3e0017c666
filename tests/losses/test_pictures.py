"""Losses of pictures against TensorFlow's and by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer import losses
from keras_transfer.losses import pictures


def pair(side=24, channels=3):
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 256, (2, side, side, channels)).astype("float32")
    return truth, np.clip(truth + rng.normal(0, 40, truth.shape), 0, 255).astype("float32")


def test_structural_similarity_equals_that_of_tensorflow():
    truth, answers = pair()
    expected = tf.image.ssim(truth, answers, max_val=255)
    np.testing.assert_allclose(pictures.ssim(truth, answers), expected, atol=1e-5)
    np.testing.assert_allclose(
        losses.PictureLoss("ssim").call(truth, answers), 1 - expected, atol=1e-5
    )
    small = [each[:, :8, :8] for each in pair()]  # smaller than the window
    assert np.isfinite(pictures.ssim(*small)).all()


def test_l1_and_l2_are_shares_of_white():
    truth, answers = np.zeros((1, 2, 2, 1), "float32"), np.full((1, 2, 2, 1), 51, "float32")
    assert float(losses.PictureLoss("l1")(truth, answers)) == pytest.approx(0.2)
    assert float(losses.PictureLoss("l2")(truth, answers)) == pytest.approx(0.04)


def test_perceptual_loss_is_the_relative_difference_of_features():
    truth, answers = pair()
    network = keras.Sequential([keras.Input((24, 24, 3)), keras.layers.Conv2D(2, 5, strides=3)])
    seen = [np.asarray(network.predict(each, verbose=0)) for each in (truth, answers)]
    expected = np.abs(seen[1] - seen[0]).mean(axis=(1, 2, 3)) / np.abs(seen[0]).mean(axis=(1, 2, 3))
    loss = losses.PictureLoss(["perceptual"], network=network)
    np.testing.assert_allclose(loss.call(truth, answers), expected, rtol=1e-4)
    for other in pair(side=20), pair(channels=2):
        with pytest.raises(ValueError, match="`network` must take pictures of shape"):
            loss(*other)
    again = losses.PictureLoss.from_config(loss.get_config())
    with pytest.raises(ValueError, match="needs `network`"):
        again(truth, answers)
