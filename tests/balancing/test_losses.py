"""The methods that look at losses only: each by its definition."""

import numpy as np
import pytest
import tensorflow as tf

from keras_transfer import balancing


def run(balancer, rows, known=None):
    """Weights of each step, and the last state."""
    rows = np.asarray(rows, "float32")
    known = np.ones(rows.shape, bool) if known is None else np.asarray(known)
    state, found = balancer.initial(rows.shape[1]), []
    step = tf.function(balancer.weights, autograph=False)
    for losses, labelled in zip(rows, known, strict=True):
        weights, state = step(losses, labelled, state)
        found.append(weights.numpy())
    return np.array(found), state


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


@pytest.mark.compiled  # hundreds of steps: quicker traced
@pytest.mark.parametrize("kind", [balancing.Uncertainty, balancing.IMTLL])
def test_weights_settle_at_inverse_losses(kind):
    losses = np.array([0.05, 1.0, 30.0])
    weights, _ = run(kind(rate=0.1), np.tile(losses, (300, 1)))
    np.testing.assert_allclose(weights[-1], 1 / losses, rtol=1e-3)


def test_uncertainty_moves_by_the_gradient_of_its_total():
    """d/ds of exp(-s) L + s, by differences, at s = 0 after one step."""

    def total(s, losses):
        return np.exp(-s) * losses + s

    losses, h = np.array([0.5, 1.7]), 1e-5
    gradient = (total(h, losses) - total(-h, losses)) / (2 * h)
    _, state = run(balancing.Uncertainty(rate=0.1), [losses])
    np.testing.assert_allclose(state["log_variance"], -0.1 * gradient, rtol=1e-4)


def test_one_large_loss_does_not_throw_it_off():
    _, state = run(balancing.Uncertainty(rate=0.1), [[1e6, 1.0]])
    np.testing.assert_allclose(state["log_variance"], [0.1, 0], atol=1e-7)


def test_dwa_by_hand():
    """Windows of 2: means 2, 1 then 1, 1, known from the fifth step on."""
    rows = [[1, 1], [3, 1], [0.5, 1], [1.5, 1], [9, 9]]
    weights, _ = run(balancing.DWA(2, temperature=2.0), rows)
    np.testing.assert_allclose(weights[:4], np.ones((4, 2)), atol=1e-6)
    np.testing.assert_allclose(weights[4], 2 * softmax(np.array([0.5, 1.0]) / 2), rtol=1e-5)


def test_dwa_counts_the_steps_with_labels():
    """The second task's steps without labels change nothing for it: its windows end later."""
    rows = [[1, 4], [1, 7], [1, 2], [1, 7], [1, 1]]
    known = [[True, True], [True, False], [True, True], [True, False], [True, True]]
    weights, state = run(balancing.DWA(1), rows, known)
    np.testing.assert_allclose(weights[4], 2 * softmax(np.array([1.0, 0.5]) / 2), rtol=1e-5)
    np.testing.assert_array_equal(state["last"], [1, 1])
    np.testing.assert_array_equal(state["before"], [1, 2])


@pytest.mark.compiled
def test_rlw_draws_a_softmax_of_normals():
    """Logarithms of weights less their mean have variance 1 - 1/n; 900 of them."""
    weights, _ = run(balancing.RLW(seed=2), np.ones((300, 3)))
    np.testing.assert_allclose(weights.sum(axis=1), np.full(300, 3), rtol=1e-5)
    logs = np.log(weights) - np.log(weights).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(logs.var(), 2 / 3, rtol=0.2)
    np.testing.assert_allclose(weights.mean(axis=0), np.ones(3), atol=0.2)
    again, _ = run(balancing.RLW(seed=2), np.ones((5, 3)))
    np.testing.assert_array_equal(again, weights[:5])
    other, _ = run(balancing.RLW(seed=3), np.ones((5, 3)))
    assert not np.isclose(other, again).any()


def test_geometric_mean_is_the_gradient_of_it():
    """n times the derivative of prod L ** (1/n) by each loss, by differences."""
    losses, h = np.array([0.5, 2.0, 3.0]), 1e-5
    weights, _ = run(balancing.GeometricMean(), [losses])
    for i, step in enumerate(h * np.eye(3)):
        slope = (np.prod(losses + step) ** (1 / 3) - np.prod(losses - step) ** (1 / 3)) / (2 * h)
        np.testing.assert_allclose(weights[0, i], 3 * slope, rtol=1e-4)


def test_log_losses():
    weights, _ = run(balancing.LogLosses(), [[0.5, 4.0], [0.0, 1.0]])
    np.testing.assert_allclose(weights, [[2, 0.25], [1e7, 1]], rtol=1e-6)


@pytest.mark.compiled
def test_famo_equals_the_definition():
    """The slow loop over the formulas, with Adam written out."""
    rng = np.random.default_rng(0)
    rows = rng.uniform(0.5, 2.0, (30, 3))
    weights, state = run(balancing.FAMO(0.1, decay=0.01), rows)
    logits, average, squares = np.zeros(3), np.zeros(3), np.zeros(3)
    for t, losses in enumerate(rows):
        if t:
            z = softmax(logits)
            fallen = np.log(rows[t - 1]) - np.log(losses)
            jacobian = np.diag(z) - np.outer(z, z)
            gradient = jacobian @ fallen + 0.01 * logits
            average = 0.9 * average + 0.1 * gradient
            squares = 0.999 * squares + 0.001 * gradient**2
            logits -= 0.1 * average / (1 - 0.9**t) / (np.sqrt(squares / (1 - 0.999**t)) + 1e-8)
        inverse = softmax(logits) / losses
        np.testing.assert_allclose(weights[t], 3 * inverse / inverse.sum(), rtol=1e-3)
    np.testing.assert_allclose(state["logits"], logits, atol=1e-3)


def test_famo_weighs_what_stays_behind():
    """The first loss halves in each step, the other stays."""
    rows = [[0.5**t, 1.0] for t in range(12)]
    _, state = run(balancing.FAMO(), rows)
    assert state["logits"][1] - state["logits"][0] > 0.4


def test_fixed_weights_by_position():
    weights, _ = run(balancing.Fixed([0.5, 2.0]), [[3.0, 4.0]], [[True, False]])
    np.testing.assert_array_equal(weights, [[0.5, 0.0]])
