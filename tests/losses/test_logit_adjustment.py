import keras
import numpy as np
import pytest

from keras_transfer import layers, losses, tasks
from keras_transfer.core import checks

RNG = np.random.default_rng(0)
LABELS = np.array([0, 2, 1, 2, 0])
LOGITS = RNG.normal(size=(5, 3))
PROBABILITIES = (np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)).astype("float32")
COUNTS = [60, 30, 10]


def by_definition(labels, logits, priors, tau, smoothing=0.0):
    """Cross-entropy of logits + tau log(prior)."""
    total = 0.0
    for label, row in zip(labels, logits, strict=True):
        adjusted = [z + tau * np.log(prior) for z, prior in zip(row, priors, strict=True)]
        for c, z in enumerate(adjusted):
            q = (1 - smoothing) * (c == label) + smoothing / len(row)
            total -= q * (z - np.log(np.sum(np.exp(adjusted))))
    return total / len(labels)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 3.0])
def test_equals_the_definition(tau, smoothing):
    value = float(
        losses.LogitAdjusted(COUNTS, tau=tau, label_smoothing=smoothing)(LABELS, PROBABILITIES)
    )
    expected = by_definition(LABELS, LOGITS, [0.6, 0.3, 0.1], tau, smoothing)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("options", [{"priors": [7, 7, 7]}, {"priors": COUNTS, "tau": 0}])
def test_equal_priors_or_tau_zero_are_the_crossentropy(options):
    expected = float(losses.Crossentropy()(LABELS, PROBABILITIES))
    np.testing.assert_allclose(
        float(losses.LogitAdjusted(**options)(LABELS, PROBABILITIES)), expected, rtol=1e-6
    )


@pytest.mark.parametrize(("label", "expected"), [(2, 400 + 2.0 * np.log(6)), (0, 0.0)])
def test_a_certain_answer_costs_its_logits(label, expected):
    """Adjusted by 2 ln(6) between the first class and the last; the second is far below both."""
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.TaskOutput(tasks.Classification(3))(inputs))
    model.compile(loss=losses.LogitAdjusted(COUNTS, tau=2.0))
    value = model.evaluate(
        np.array([[200.0, 0.0, -200.0]], "float32"), np.array([label]), verbose=0
    )
    np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.compiled
def test_rare_classes_are_answered_more_often():
    """Two classes, 9 to 1, that overlap: the cut moves to where both are alike likely."""
    x = np.concatenate([RNG.normal(-1, 1, 1800), RNG.normal(1, 1, 200)])[:, None].astype("float32")
    y = np.repeat([0, 1], [1800, 200])
    cuts = {}
    for name, loss in (
        ("plain", losses.Crossentropy()),
        ("adjusted", losses.LogitAdjusted([1800, 200])),
    ):
        inputs = keras.Input((1,))
        model = keras.Model(
            inputs, layers.TaskOutput(tasks.Classification(2))(keras.layers.Dense(2)(inputs))
        )
        model.compile(keras.optimizers.Adam(0.1), loss)
        model.fit(x, y, epochs=4, batch_size=100, verbose=0)
        kernel, bias = model.layers[1].get_weights()
        cuts[name] = float((bias[0] - bias[1]) / (kernel[0, 1] - kernel[0, 0]))
    # For variances of 1 the cut lies at ln(prior ratio) / 2: 1.1 for 9 to 1, and 0 for equal priors.
    assert cuts["plain"] == pytest.approx(np.log(9) / 2, abs=0.15)
    assert cuts["adjusted"] == pytest.approx(0, abs=0.15)


def test_priors_must_be_settled_first():
    with pytest.raises(checks.InputError, match="class priors must be known before training"):
        losses.LogitAdjusted()(LABELS, PROBABILITIES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"priors": [1, 0]}, "priors"), ({"priors": [1, 1], "tau": -1}, "tau")],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(checks.InputError, match=message):
        losses.LogitAdjusted(**arguments)


def test_priors_must_be_one_a_class():
    with pytest.raises(checks.InputError, match="`priors` must have 3 entries"):
        losses.LogitAdjusted([1, 2])(LABELS, PROBABILITIES)
