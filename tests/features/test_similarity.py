"""How alike features are, against loops over the definitions."""

import numpy as np
import pytest
from errors import told

import keras_transfer as kt

RNG = np.random.default_rng(0)


def hsic(x, y):
    """The Hilbert-Schmidt criterion of two kernels, entry by entry, up to a factor."""
    count = len(x)
    kernels = []
    for rows in (x, y):
        kernel = np.array([[one @ other for other in rows] for one in rows])
        kernels.append(kernel)
    centring = np.eye(count) - 1 / count
    return np.trace(kernels[0] @ centring @ kernels[1] @ centring)


@pytest.mark.parametrize("width", [3, 40])
def test_alignment_is_that_of_the_definition(width):
    """With few features products of features are quicker, with many those of images."""
    x, y = RNG.normal(size=(12, width)), RNG.normal(size=(12, 5))
    y[:, 0] += x[:, 0]
    expected = hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))
    assert kt.features.cka(x, y) == pytest.approx(expected, rel=1e-9)
    assert 0.05 < expected < 0.95


def test_alignment_does_not_see_rotations_shifts_and_scales():
    x = RNG.normal(size=(30, 4))
    turned = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    assert kt.features.cka(x, 3 * x @ turned + 7) == pytest.approx(1)
    assert np.isnan(kt.features.cka(x, np.ones((30, 2))))
    told(lambda: kt.features.cka(x, x[1:]), "30 and 29")


def test_neighbours_have_the_smallest_angle():
    known, asked = RNG.normal(size=(20, 6)), RNG.normal(size=(300, 6))
    places, alike = kt.features.neighbours(known, asked, 3)
    for query, found, similar in zip(asked[::60], places[::60], alike[::60], strict=True):
        cosines = [query @ row / np.linalg.norm(query) / np.linalg.norm(row) for row in known]
        best = sorted(range(20), key=lambda at: -cosines[at])[:3]
        assert found.tolist() == best
        np.testing.assert_allclose(similar, np.take(cosines, best), rtol=1e-5)
