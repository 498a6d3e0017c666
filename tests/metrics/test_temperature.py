"""A temperature makes probabilities as sure as they are right."""

import numpy as np
import pytest

from keras_transfer.metrics import classification, temperature


def drawn(examples, *, factor):
    """Probabilities whose logits are `factor` times too large for the labels that were drawn from them."""
    draw = np.random.default_rng(0)
    logits = draw.normal(0, 2, (examples, 4))
    right = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (right.cumsum(axis=1) < draw.random((examples, 1))).sum(axis=1)
    wrong = np.exp(factor * logits)
    return wrong / wrong.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_a_factor_on_logits_is_found(factor):
    probabilities, labels = drawn(4000, factor=factor)
    found = temperature.fit_temperature(probabilities, labels)
    assert found == pytest.approx(factor, rel=0.1)
    after = temperature.scaled(probabilities, found)
    assert classification.calibration_error(after, labels) < 0.03
    np.testing.assert_array_equal(after.argmax(axis=1), probabilities.argmax(axis=1))


def test_few_examples_that_are_all_right_do_not_ask_for_certainty():
    probabilities, labels = np.full((20, 2), [0.9, 0.1]), np.zeros(20, int)
    assert 0.4 < temperature.fit_temperature(probabilities, labels) < 1.0


def test_certain_answers_have_logits():
    probabilities = np.array([[1.0, 0.0], [1.0, 0.0]] * 10)
    found = temperature.fit_temperature(probabilities, np.arange(20) % 2)
    assert np.isfinite(found)
    assert found > 2
    assert np.isfinite(temperature.scaled(probabilities, found)).all()
