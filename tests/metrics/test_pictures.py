"""How like pictures are."""

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer import metrics

RNG = np.random.default_rng(0)


def test_perceptual_distance_equals_its_definition():
    """The slow loop over places, of a network whose maps are known."""
    images = keras.Input((4, 4, 3))
    network = keras.Model(images, [images * 2.0, keras.layers.AveragePooling2D(2)(images)])
    one, other = RNG.uniform(0, 255, (2, 2, 4, 4, 3))

    def at(first, second):
        return np.sum((first / np.linalg.norm(first) - second / np.linalg.norm(second)) ** 2)

    for number, distance in enumerate(metrics.perceptual_distance(network, one, other)):
        fine, coarse = [], []
        for y, x in np.ndindex(4, 4):
            fine.append(at(one[number, y, x], other[number, y, x]))
        for y, x in np.ndindex(2, 2):
            square = (number, slice(2 * y, 2 * y + 2), slice(2 * x, 2 * x + 2))
            coarse.append(at(one[square].mean(axis=(0, 1)), other[square].mean(axis=(0, 1))))
        assert distance == pytest.approx((np.mean(fine) + np.mean(coarse)) / 2, rel=1e-4)
    assert metrics.perceptual_distance(network, one, one).max() == 0


def test_reports_have_the_distance_of_a_networks_levels():
    trunk = kt.backbone("tiny", weights=None)
    model = kt.build_model(trunk, kt.tasks.ImageToImage(width=8, network=trunk))
    images = RNG.uniform(0, 255, (4, 32, 32, 3)).astype("uint8")
    report = kt.evaluate(model, (images, images), verbose=0)
    assert report["perceptual"] == pytest.approx(0, abs=1e-6)
    other = kt.evaluate(model, (images, images[::-1]), verbose=0)
    assert other["perceptual"] > 0.01
