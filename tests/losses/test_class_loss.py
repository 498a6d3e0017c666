"""What every loss of classes must do, over the rows of the table that are one."""

import keras
import numpy as np
import pytest

from keras_transfer import layers, losses, tasks, testing
from keras_transfer.core import checks

RNG = np.random.default_rng(0)
LABELS = np.array([0, 2, 1, 2, 0])
PROBABILITIES = RNG.dirichlet(np.ones(3), 5).astype("float32")
OWN = {
    "crossentropy": {},
    "focal": {"gamma": 1.5},
    "logit_adjusted": {"priors": [0.5, 0.3, 0.2], "tau": 0.7},
}
every_loss = pytest.mark.parametrize("name", OWN)
every_weight = pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5]])


def make(name, **options):
    return losses.LOSSES[name](**OWN[name], **options)


def test_every_row_is_here():
    assert set(OWN) == {
        name for name, kind in losses.LOSSES.items() if issubclass(kind, losses.ClassLoss)
    }


@every_loss
@every_weight
def test_contract(name, weights):
    testing.check_loss(
        make(name, label_smoothing=0.2, class_weights=weights), LABELS, PROBABILITIES
    )


@every_loss
@every_weight
def test_ids_columns_and_distributions_agree(name, weights):
    loss = make(name, label_smoothing=0.1, class_weights=weights)
    expected = float(loss(LABELS, PROBABILITIES))
    np.testing.assert_allclose(float(loss(LABELS[:, None], PROBABILITIES)), expected, rtol=1e-6)
    np.testing.assert_allclose(float(loss(np.eye(3)[LABELS], PROBABILITIES)), expected, rtol=1e-6)


@every_loss
def test_a_weight_multiplies_the_examples_of_its_class(name):
    weights = np.array([1.0, 2.0, 0.5])
    plain = [float(make(name)(LABELS[i : i + 1], PROBABILITIES[i : i + 1])) for i in range(5)]
    weighted = float(make(name, class_weights=weights)(LABELS, PROBABILITIES))
    np.testing.assert_allclose(weighted, np.mean(plain * weights[LABELS]), rtol=1e-5)


@every_loss
@every_weight
def test_a_mixture_has_the_loss_of_its_parts(name, weights):
    """Of MixUp: 0.3 of an image of class 0 and 0.7 of one of class 2."""
    loss, smooth = make(name, class_weights=weights), np.array([[0.3, 0.0, 0.7]])
    parts = [float(loss(np.array([label]), PROBABILITIES[:1])) for label in (0, 2)]
    np.testing.assert_allclose(
        float(loss(smooth, PROBABILITIES[:1])), 0.3 * parts[0] + 0.7 * parts[1], rtol=1e-5
    )


@every_loss
def test_an_id_out_of_range_is_not_a_loss_of_zero(name):
    assert np.isnan(float(make(name)(np.array([3]), PROBABILITIES[:1])))


@every_loss
@pytest.mark.parametrize("weights", list(losses.WEIGHTS))
def test_weights_must_be_settled_first(name, weights):
    with pytest.raises(
        checks.InputError, match=f"class weights must be known.*'{weights}'.*kt.fine_tune"
    ):
        make(name, class_weights=weights)(LABELS, PROBABILITIES)


@pytest.mark.compiled
@every_loss
def test_equals_itself_in_a_model_with_and_without_xla(name):
    """In a graph Keras finds the logits behind the softmax; the values stay those of the probabilities."""
    logits = RNG.normal(size=(5, 3)).astype("float32")
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = float(make(name)(LABELS, probabilities))
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.TaskOutput(tasks.Classification(3))(inputs))
    for jit in (False, True):
        model.compile(loss=make(name), jit_compile=jit)
        np.testing.assert_allclose(model.evaluate(logits, LABELS, verbose=0), expected, rtol=1e-5)


@pytest.mark.compiled
@every_loss
@pytest.mark.parametrize("label", [0, 1, 2])
def test_the_gradient_is_that_of_the_definition(name, label):
    """By central differences in float64, at sure, unsure and mistaken logits."""
    import tensorflow as tf

    q = np.eye(3)[label]
    for logits in ([0.3, -0.2, 0.5], [8.0, 0.0, -1.0], [0.0, -9.0, 2.0]):
        kernel = tf.Variable([logits], dtype="float32")

        @tf.function
        def gradient(kernel=kernel):
            with tf.GradientTape() as tape:
                value = make(name)(np.array([label]), keras.ops.softmax(kernel))
            return tape.gradient(value, kernel)

        expected, step = np.zeros(3), 1e-6
        for at in range(3):
            up, down = np.array(logits), np.array(logits)
            up[at] += step
            down[at] -= step
            expected[at] = (definition(name, q, up) - definition(name, q, down)) / (2 * step)
        np.testing.assert_allclose(gradient().numpy()[0], expected, rtol=2e-4, atol=2e-7)


def definition(name, q, logits):
    p = np.exp(logits) / np.exp(logits).sum()
    if name == "crossentropy":
        return -np.sum(q * np.log(p))
    if name == "focal":
        return -np.sum(q * (1 - p) ** 1.5 * np.log(p))
    adjusted = logits + 0.7 * np.log(np.array([0.5, 0.3, 0.2]))
    return -np.sum(q * np.log(np.exp(adjusted) / np.exp(adjusted).sum()))


def test_a_subclass_of_ones_own():
    class Brier(losses.ClassLoss):
        def each(self, targets, y_pred):
            return keras.ops.sum(keras.ops.square(targets - y_pred), axis=-1)

    expected = np.mean(np.sum((np.eye(3)[LABELS] - PROBABILITIES) ** 2, axis=1))
    np.testing.assert_allclose(float(Brier()(LABELS, PROBABILITIES)), expected, rtol=1e-6)
