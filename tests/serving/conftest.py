"""Models and their exports for all serving tests: making one takes seconds."""

import keras
import networks
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.storage import images

NAMES = ["cat", "dog", "Löwe"]


@pytest.fixture(scope="session")
def pictures():
    """Images of another size than the models': 4 x 5 blocks of random colours."""
    blocks = np.random.default_rng(1).integers(0, 256, (12, 4, 5, 3), dtype=np.uint8)
    return blocks.repeat(10, axis=1).repeat(14, axis=2)


def spread(model, pictures):
    """Gives the random head weights with which different pictures get different answers."""
    logits = model.get_layer("classification_logits")
    below = keras.Model(model.input, logits.input).predict(
        images.resize(pictures, model.input.shape[1:3]), verbose=0
    )
    kernel = np.random.default_rng(0).normal(size=logits.kernel.shape) / below.std()
    logits.set_weights([kernel, -(below @ kernel).mean(axis=0)])


@pytest.fixture(scope="session")
def model(pictures):
    """Trained for a step, so that it has optimizer slots, and with dropout in its head."""
    keras.utils.set_random_seed(0)
    made = kt.build_model(networks.small(), kt.tasks.Classification(NAMES, dropout=0.5))
    made.fit(np.zeros((2, 32, 32, 3)), np.array([0, 1]), verbose=0)
    spread(made, pictures)
    return made


@pytest.fixture(scope="session")
def exported(model, tmp_path_factory):
    return kt.export(model, tmp_path_factory.mktemp("photos") / "1")


def built(task=None, shape=(8, 8, 3)):
    keras.utils.set_random_seed(3)
    image = keras.Input(shape, name="image")
    features = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image / 255)
    return kt.build_model(keras.Model(image, features), task or kt.tasks.Classification(NAMES))


@pytest.fixture
def small():
    """Makes a model of few operations, quick to export; equal calls make equal models."""
    return built


@pytest.fixture(scope="session")
def quick(pictures, tmp_path_factory):
    """A small model, of which no test changes anything, and its export."""
    made = built()
    spread(made, pictures)
    return made, kt.export(made, tmp_path_factory.mktemp("quick") / "1")
