import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer import losses, testing

TARGETS = np.array([[1, 0, 0], [1, 1, np.nan], [0, 0, 1], [np.nan, np.nan, np.nan]], "float32")
ANSWERS = np.array([[0.9, 0.2, 0.4], [0.3, 0.8, 0.5], [0.1, 0.7, 0.6], [0.5, 0.5, 0.5]], "float32")


def test_it_is_the_mean_over_known_tags_by_hand():
    expected = []
    for row, answers in zip(TARGETS, ANSWERS, strict=True):
        known = [(t, p) for t, p in zip(row, answers, strict=True) if not np.isnan(t)]
        costs = [-np.log(p) if t else -np.log(1 - p) for t, p in known]
        expected.append(np.mean(costs) if costs else 0.0)
    values = losses.TagCrossentropy(reduction=None)(TARGETS, ANSWERS)
    np.testing.assert_allclose(np.asarray(values), expected, rtol=1e-5)


def test_an_unknown_tag_has_no_gradient_and_large_logits_stay_finite():
    logits = tf.Variable([[200.0, -200.0, 3.0]])
    with tf.GradientTape() as tape:
        value = losses.TagCrossentropy()(
            np.array([[0.0, 1.0, np.nan]], "float32"), keras.ops.sigmoid(logits)
        )
    (slope,) = tape.gradient(value, logits).numpy()
    assert float(value) == pytest.approx(200.0)
    assert slope.tolist() == pytest.approx([0.5, -0.5, 0.0])


def test_mixed_targets_cost_the_mixture():
    loss = losses.TagCrossentropy()
    one, other, mixed = (float(loss(np.array([[t]]), np.array([[0.3]]))) for t in (1.0, 0.0, 0.25))
    assert mixed == pytest.approx(0.25 * one + 0.75 * other)


def test_contract():
    testing.check_loss(losses.TagCrossentropy(), TARGETS[:3], ANSWERS[:3])
