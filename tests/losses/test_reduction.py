"""The mean of a batch is over what has a label; where all do, it is Keras's to the bit."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer import losses

LOGITS = np.random.default_rng(0).normal(size=(7, 3)).astype("float32") * 3
IDS = np.array([0, 2, 1, 1, 0, 2, 2])
NUMBERS = np.random.default_rng(1).normal(size=(7, 3)).astype("float32")
LOSSES = {
    "crossentropy": (losses.Crossentropy, {"label_smoothing": 0.1}, IDS),
    "class weights": (losses.Crossentropy, {"class_weights": [1.0, 3.0, 0.5]}, IDS),
    "focal": (losses.Focal, {}, IDS),
    "logit adjusted": (losses.LogitAdjusted, {"priors": [5, 1, 2]}, IDS),
    "huber": (losses.ScaledHuber, {"scale": 0.7}, NUMBERS),
}


def run(loss, targets, weights=None, *, graph=False, rows=slice(None)):
    """The loss and its gradient at the logits."""
    logits = tf.constant(LOGITS[rows])

    def both(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            answers = logits if targets.dtype.kind == "f" else keras.ops.softmax(logits)
            value = loss(targets[rows], answers, sample_weight=weights)
        return value, tape.gradient(value, logits)

    return [found.numpy() for found in (tf.function(both) if graph else both)(logits)]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("graph", [False, pytest.param(True, marks=pytest.mark.compiled)])
def test_without_weights_it_is_keras_mean_to_the_bit(name, graph):
    kind, options, targets = LOSSES[name]
    mine = run(kind(**options), targets, graph=graph)
    theirs = run(kind(**options, reduction="sum_over_batch_size"), targets, graph=graph)
    assert kind(**options).reduction == "mean_with_sample_weight"
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("graph", [False, pytest.param(True, marks=pytest.mark.compiled)])
def test_weight_0_is_the_same_as_left_out(name, graph):
    kind, options, targets = LOSSES[name]
    weights = np.array([1, 0, 1, 0, 0, 1, 1], "float32")
    placed = np.where(
        (weights == 0).reshape(-1, *[1] * (targets.ndim - 1)), np.zeros_like(targets), targets
    )
    value, gradient = run(kind(**options), placed, weights, graph=graph)
    expected, own = run(kind(**options), targets, graph=graph, rows=weights == 1)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient[weights == 1], own, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(gradient[weights == 0], 0)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("graph", [False, pytest.param(True, marks=pytest.mark.compiled)])
def test_a_batch_without_labels_costs_nothing(name, graph):
    kind, options, targets = LOSSES[name]
    value, gradient = run(
        kind(**options), np.zeros_like(targets), np.zeros(7, "float32"), graph=graph
    )
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)
