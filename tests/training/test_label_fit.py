"""Labels that do not fit the loss of one's own model, found before training."""

import keras
import networks
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import checks

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype="uint8")
IDS = np.array([0, 1, 2, 0, 1, 2])


def compiled(loss):
    images = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(images))
    model = keras.Model(images, keras.layers.Dense(3)(x))
    model.compile("sgd", loss)
    return model


def train(model, labels):
    return kt.fine_tune(
        model, (PIXELS, labels), plan="full", epochs=1, learning_rate=0.1, verbose=0
    )


@pytest.mark.parametrize(
    ("loss", "labels", "message"),
    [
        (
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            np.eye(3)[IDS],
            "must be class ids.*rows of 3.*argmax",
        ),
        ("sparse_categorical_crossentropy", IDS + 1, r"must lie in \[0, 3\).*3 at index 2"),
        ("sparse_categorical_crossentropy", IDS - 1, "-1 at index 0"),
        (
            keras.losses.CategoricalCrossentropy(from_logits=True),
            IDS,
            "must be one-hot rows of 3.*class ids",
        ),
        ("categorical_crossentropy", np.eye(4)[IDS], "rows of 4"),
        ("mse", IDS, r"3 number\(s\) an image.*1 of them"),
        (keras.losses.BinaryCrossentropy(), IDS, r"3 number\(s\) an image"),
    ],
)
def test_an_error_says_what_the_loss_takes(loss, labels, message):
    model = compiled(loss)
    before = model.get_weights()
    with pytest.raises(checks.InputError, match=message):
        train(model, labels)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), IDS),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), IDS[:, None]),
        (keras.losses.CategoricalCrossentropy(from_logits=True), np.eye(3)[IDS]),
        ("mse", np.eye(3)[IDS]),
        (lambda y_true, y_pred: keras.ops.mean(y_pred, axis=-1), IDS),
    ],
)
def test_labels_that_fit_train(loss, labels):
    assert np.isfinite(train(compiled(loss), labels).history["loss"]).all()


def test_one_hot_rows_train_as_their_ids_do():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype="uint8")
    losses = []
    for labels in (IDS, np.eye(3, dtype="uint8")[IDS]):
        keras.utils.set_random_seed(0)
        model = kt.build_model(networks.small(), kt.tasks.Classification(3))
        options = {"epochs": (1, 1), "learning_rate": (0.01, 0.001), "seed": 0, "verbose": 0}
        losses.append(kt.fine_tune(model, (pixels, labels), **options).history["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
