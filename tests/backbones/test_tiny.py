import pathlib
import re
import runpy
import sys

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_transfer.backbones import tiny

WEIGHTS = pathlib.Path(tiny.__file__).with_name("tiny.weights.h5")
EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "pretrain_tiny.py"


def build(weights=None, size=32):
    images = keras.Input((size, size, 3))
    model = keras.Model(images, tiny.network(images))
    if weights:
        model.load_weights(weights)
    return model


def test_it_is_small():
    assert build().count_params() <= 500_000  # statistics of batch normalisation included
    assert WEIGHTS.stat().st_size <= 2_000_000


@pytest.mark.parametrize(("size", "side"), [(32, 4), (47, 6), (64, 8), (96, 12), (160, 20)])
def test_a_map_has_an_eighth_of_the_side(size, side):
    assert build(size=size).output_shape == (None, side, side, 256)


def test_names_tell_the_blocks():
    names = [layer.name for layer in build().layers[1:]]
    blocks = [re.search(r"stem|block\d+", name).group() for name in names]
    assert sorted(set(blocks), key=blocks.index) == ["stem", "block1", "block2", "block3", "block4"]
    assert blocks == sorted(blocks, key=["stem", "block1", "block2", "block3", "block4"].index)


def test_two_networks_in_one_model_share_nothing():
    images = keras.Input((32, 32, 3))
    model = keras.Model(images, [tiny.network(images), tiny.network(images, name="second_")])
    assert model.count_params() == 2 * build().count_params()


def test_the_file_is_trained_and_fits_behind_layers_without_weights():
    images = keras.Input((32, 32, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(images)
    features = keras.layers.Activation("linear")(tiny.network(scaled))
    behind = keras.Model(images, features)
    behind.load_weights(WEIGHTS)
    plain = build(WEIGHTS)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    # one network, and the scaling done by TensorFlow or by NumPy: rounding only
    np.testing.assert_allclose(behind(pixels), plain(pixels / 127.5 - 1), atol=1e-4)
    for path, trained, fresh in zip(
        (w.path for w in plain.weights), plain.get_weights(), build().get_weights(), strict=True
    ):
        assert np.isfinite(trained).all()
        assert not np.array_equal(trained, fresh), path


def probe(network, images, labels):
    """Accuracy of a linear probe on 5 images a class, mean over 3 draws."""
    features = network.predict(images / 127.5 - 1, batch_size=256, verbose=0).mean((1, 2))
    scores = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(labels))
        train = np.concatenate([order[labels[order] == digit][:5] for digit in range(10)])
        test = np.setdiff1d(order, train)
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
        scores.append(
            classifier.fit(features[train], labels[train]).score(features[test], labels[test])
        )
    return np.mean(scores)


def test_its_features_read_digits_far_better_than_random_ones():
    digits = load_digits()
    pixels, labels = digits.images[:900, ..., None] * (255 / 16), digits.target[:900]
    images = np.repeat(keras.ops.image.resize(pixels, (32, 32)), 3, axis=-1)
    assert probe(build(WEIGHTS), images, labels) > probe(build(), images, labels) + 0.12


def test_the_example_writes_a_file_that_fits(tmp_path, monkeypatch):
    output = tmp_path / "small.weights.h5"
    small = "--rounds 1 --characters 10 --drawings 2 --scenes 16 --output"
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *small.split(), str(output)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    weights = build(output).get_weights()
    assert all(np.isfinite(array).all() for array in weights)
