import keras
import numpy as np
import pytest

from keras_transfer.graphs import logits

VALUES = np.array([[1.0, 2.0, 0.0]], "float32")


def model(loss, outputs=1):
    inputs = keras.Input((2,))
    made = {
        str(number): keras.layers.Dense(3, name=f"d{number}")(inputs) for number in range(outputs)
    }
    built = keras.Model(inputs, made if outputs > 1 else made["0"])
    if loss is not None:
        built.compile(loss=loss)
    return built


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), keras.ops.softmax),
        (keras.losses.CategoricalCrossentropy(from_logits=True), keras.ops.softmax),
        (keras.losses.BinaryCrossentropy(from_logits=True), keras.ops.sigmoid),
        (keras.losses.CategoricalCrossentropy(), None),
        ("mse", None),
        (None, None),
    ],
)
def test_the_compiled_loss_says_what_outputs_are(loss, expected):
    built = model(loss)
    assert logits.activations(built) == [expected]
    answers = logits.to_probabilities(built, VALUES)
    wanted = VALUES if expected is None else expected(VALUES)
    np.testing.assert_allclose(answers, wanted, rtol=1e-6)


def test_several_outputs():
    softmax = keras.losses.CategoricalCrossentropy(from_logits=True)
    for loss in ({"0": "mse", "1": softmax}, {"1": softmax, "0": "mse"}):
        assert logits.activations(model(loss, 2), 2) == [None, keras.ops.softmax]
