import keras
import numpy as np
import pytest

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


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5]])
def test_contract(weights):
    testing.check_loss(losses.Crossentropy(label_smoothing=0.2, class_weights=weights), LABELS, PROBABILITIES)


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
