"""Class activation maps against loops over their definitions, on a network small enough for NumPy."""

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.evaluation.explain import subject

IMAGES = np.random.default_rng(1).normal(size=(2, 8, 8, 3)).astype("float32")


@pytest.fixture(scope="module")
def network():
    """A convolution, its mean over places, a hidden layer and three logits."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="conv"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(5, activation="relu"),
            keras.layers.Dense(3),
        ]
    )
    for weight in model.weights:  # biases are not 0
        weight.assign(np.random.default_rng(len(weight.shape)).normal(size=weight.shape))
    return model


def convolve(image, kernel, bias):
    features = np.zeros((3, 3, kernel.shape[-1]))
    for y in range(3):
        for x in range(3):
            window = image[2 * y : 2 * y + 3, 2 * x : 2 * x + 3]
            features[y, x] = np.maximum((window[..., None] * kernel).sum((0, 1, 2)) + bias, 0)
    return features


def derive(features, weights, target):
    """The gradient of a logit by the features, by the chain rule."""
    first, first_bias, second, _ = weights
    hidden = features.mean((0, 1)) @ first + first_bias
    by_pooled = first @ (second[:, target] * (hidden > 0))
    return np.broadcast_to(by_pooled / 9, features.shape)


def gradcam(features, gradient):
    return sum(gradient[..., k].mean() * features[..., k] for k in range(4))


def gradcam_plus_plus(features, gradient):
    total = 0
    for k in range(4):
        g, a = gradient[..., k], features[..., k]
        below = 2 * g**2 + a.sum() * g**3
        shares = np.divide(g**2, below, out=np.zeros_like(below), where=below != 0)
        total = total + (shares * np.maximum(g, 0)).sum() * a
    return total


def hirescam(features, gradient):
    return sum(gradient[..., k] * features[..., k] for k in range(4))


def layercam(features, gradient):
    return sum(np.maximum(gradient[..., k], 0) * features[..., k] for k in range(4))


DEFINITIONS = {
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "hirescam": hirescam,
    "layercam": layercam,
}


@pytest.mark.parametrize("method", DEFINITIONS)
def test_maps_are_those_of_the_definition(network, method):
    kernel, bias, *head = network.get_weights()
    explainer = kt.evaluation.EXPLAINERS[method]()
    asked = subject.Subject(network)
    maps = explainer.explain(asked, IMAGES, np.array([2, 0]))
    for image, target, found in zip(IMAGES, (2, 0), maps, strict=True):
        features = convolve(image, kernel, bias)
        expected = DEFINITIONS[method](features, derive(features, head, target))
        np.testing.assert_allclose(found, np.maximum(expected, 0), rtol=1e-5, atol=1e-5)
    assert maps.max() > 0.01
