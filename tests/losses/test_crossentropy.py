import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_transfer import layers, losses, tasks, testing
from keras_transfer.core import checks

RNG = np.random.default_rng(0)
LABELS = np.array([0, 2, 1, 2, 0])
PROBABILITIES = RNG.dirichlet(np.ones(3), 5).astype("float32")


def by_definition(labels, probabilities, smoothing=0.0, weights=None):
    classes = probabilities.shape[1]
    total = 0.0
    for label, row in zip(labels, probabilities, strict=True):
        loss = 0.0
        for c in range(classes):
            q = (1 - smoothing) * (c == label) + smoothing / classes
            loss -= q * np.log(row[c])
        total += loss * (1 if weights is None else weights[label])
    return total / len(labels)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5]])
def test_equals_the_definition(smoothing, weights):
    loss = losses.Crossentropy(label_smoothing=smoothing, class_weights=weights)
    expected = by_definition(LABELS, PROBABILITIES, smoothing, weights)
    np.testing.assert_allclose(float(loss(LABELS, PROBABILITIES)), expected, rtol=1e-5)


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5]])
def test_ids_columns_and_distributions_agree(weights):
    loss = losses.Crossentropy(label_smoothing=0.1, class_weights=weights)
    expected = float(loss(LABELS, PROBABILITIES))
    np.testing.assert_allclose(float(loss(LABELS[:, None], PROBABILITIES)), expected, rtol=1e-6)
    np.testing.assert_allclose(float(loss(np.eye(3)[LABELS], PROBABILITIES)), expected, rtol=1e-6)


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5], [0.0, 2.0, 1.0]])
def test_a_distribution_has_the_expected_loss_of_its_ids(weights):
    """Linear in the target, which is what MixUp and CutMix ask for."""
    loss = losses.Crossentropy(label_smoothing=0.1, class_weights=weights, reduction="none")
    distributions = RNG.dirichlet(np.ones(3), 5).astype("float32")
    distributions[0] = [1, 0, 0]  # no weight at all in one of the cases
    each = np.stack([loss(np.full(5, label), PROBABILITIES) for label in range(3)], axis=1)
    np.testing.assert_allclose(
        loss(distributions, PROBABILITIES), (distributions * each).sum(axis=1), rtol=2e-6
    )


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5]])
def test_the_gradient_of_a_distribution_is_the_expected_one(weights):
    """Through softmax too, where Keras goes on from the logits."""
    loss = losses.Crossentropy(label_smoothing=0.1, class_weights=weights)
    logits = keras.Variable(RNG.normal(size=(2, 3)))
    shares = np.array([[0.2, 0.3, 0.5], [0.0, 0.9, 0.1]], "float32")

    def gradient(targets):
        with tf.GradientTape() as tape:
            value = loss(targets, keras.ops.softmax(logits))
        return tape.gradient(value, logits.value).numpy()

    expected = sum(shares[:, [label]] * gradient(np.full(2, label)) for label in range(3))
    np.testing.assert_allclose(gradient(shares), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5]])
def test_contract(weights):
    testing.check_loss(
        losses.Crossentropy(label_smoothing=0.2, class_weights=weights), LABELS, PROBABILITIES
    )


def test_a_certain_mistake_costs_its_logits():
    """Through softmax, a probability that rounds to 0 still has the loss 200 - (-200) = 400."""
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.TaskOutput(tasks.Classification(3))(inputs))
    model.compile(loss=losses.Crossentropy())
    value = model.evaluate(np.array([[200.0, 0.0, -200.0]], "float32"), np.array([2]), verbose=0)
    np.testing.assert_allclose(value, 400.0, rtol=1e-6)


def test_an_id_out_of_range_is_not_a_loss_of_zero():
    assert np.isnan(float(losses.Crossentropy()(np.array([3]), PROBABILITIES[:1])))


def test_balanced_must_be_settled_first():
    with pytest.raises(checks.InputError, match="kt.fine_tune"):
        losses.Crossentropy(class_weights="balanced")(LABELS, PROBABILITIES)
