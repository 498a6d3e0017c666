import keras
import numpy as np
import pytest

from keras_transfer import layers, losses, tasks
from keras_transfer.core import checks

RNG = np.random.default_rng(0)
LABELS = np.array([0, 2, 1, 2, 0])
PROBABILITIES = RNG.dirichlet(np.ones(3), 5).astype("float32")


def by_definition(labels, probabilities, gamma, smoothing=0.0):
    total = 0.0
    for label, row in zip(labels, probabilities.astype("float64"), strict=True):
        for c, p in enumerate(row):
            q = (1 - smoothing) * (c == label) + smoothing / len(row)
            total -= q * (1 - p) ** gamma * np.log(p)
    return total / len(labels)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_equals_the_definition(gamma, smoothing):
    value = float(losses.Focal(gamma, label_smoothing=smoothing)(LABELS, PROBABILITIES))
    np.testing.assert_allclose(
        value, by_definition(LABELS, PROBABILITIES, gamma, smoothing), rtol=1e-5
    )


def test_gamma_zero_is_the_crossentropy():
    options = {"label_smoothing": 0.1, "class_weights": [1.0, 2.0, 0.5]}
    expected = float(losses.Crossentropy(**options)(LABELS, PROBABILITIES))
    assert float(losses.Focal(0.0, **options)(LABELS, PROBABILITIES)) == expected


def test_by_hand():
    """At p = 0.9 and gamma = 2: 0.01 * -ln 0.9."""
    value = float(losses.Focal()(np.array([0]), np.array([[0.9, 0.1]], "float32")))
    np.testing.assert_allclose(value, 0.01 * 0.10536051565, rtol=1e-5)


def model():
    inputs = keras.Input((3,))
    return keras.Model(inputs, layers.TaskOutput(tasks.Classification(3))(inputs))


def test_a_certain_mistake_costs_its_logits():
    """p rounds to 0: (1 - 0)**2 times 200 - (-200)."""
    own = model()
    own.compile(loss=losses.Focal())
    value = own.evaluate(np.array([[200.0, 0.0, -200.0]], "float32"), np.array([2]), verbose=0)
    np.testing.assert_allclose(value, 400.0, rtol=1e-6)


@pytest.mark.compiled
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 10.0])
@pytest.mark.parametrize("label", [0, 2])
def test_gradients_at_certain_answers_are_numbers(gamma, label):
    """Right and wrong, where 1 - p or p is exactly 0; a wrong one must still be corrected."""
    import tensorflow as tf

    logits = tf.Variable([[200.0, 0.0, -200.0]])

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            value = losses.Focal(gamma)(np.array([label]), keras.ops.softmax(logits))
        return tape.gradient(value, logits)

    found = gradient().numpy()[0]
    expected = [0, 0, 0] if label == 0 else [1, 0, -1]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bad_arguments():
    with pytest.raises(checks.InputError, match="gamma"):
        losses.Focal(-1)
