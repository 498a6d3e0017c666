import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.training import methods


def by_definition(features, weight, k):
    """The sum over the k smallest singular values, from the eigenvalues of the matrix times its transpose."""
    pooled = np.zeros((len(features), features.shape[-1]))
    for row in range(len(features)):
        for place in features[row].reshape(-1, features.shape[-1]):
            pooled[row] += place / (features.shape[1] * features.shape[2])
    values = np.clip(np.linalg.eigvalsh(pooled @ pooled.T), 0, None)[-min(pooled.shape) :]
    return weight * sum(values[:k])


def features_of(model, images):
    return (
        keras.Model(model.input, kt.models.representation(model).output)
        .predict(images, verbose=0)
        .astype("float64")
    )


@pytest.mark.parametrize("k", [1, 3, 8, 10])
@pytest.mark.parametrize("count", [5, 8])
def test_equals_the_definition(k, count, build, images):
    model = build()
    expected = by_definition(features_of(model, images[:count]), 0.5, k)
    with methods.BSS(0.5, k=k).attached(model) as training_model:
        training_model(images[:count], training=True)
        np.testing.assert_allclose(float(training_model.losses[0]), expected, rtol=1e-4, atol=1e-9)


def test_a_trunk_that_ends_in_a_vector():
    inputs = keras.Input((5,))
    features = keras.layers.Dense(4, name="trunk")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(features))
    values = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    smallest = np.linalg.svd(
        keras.Model(inputs, features).predict(values, verbose=0).astype("float64")
    )[1][-1]
    with methods.BSS(1.0).attached(model) as training_model:
        training_model(values, training=True)
        np.testing.assert_allclose(float(training_model.losses[0]), smallest**2, rtol=1e-4)


def test_the_gradient_lowers_the_singular_values(build, images, labels):
    model = build(rate=0.05)
    before = by_definition(features_of(model, images), 1.0, 5)
    with methods.BSS(1.0, k=5).attached(model) as training_model:
        training_model.fit(images, labels, epochs=3, batch_size=8, verbose=0)
    assert by_definition(features_of(model, images), 1.0, 5) < 0.9 * before


def test_equal_pictures_have_no_gradient_that_is_not_a_number(build, images, labels):
    """Features of rank 1: the singular values beside the first are all 0."""
    model = build()
    with methods.BSS(1.0, k=4).attached(model) as training_model:
        training_model.fit(np.repeat(images[:1], 8, axis=0), labels, verbose=0)
    assert all(np.isfinite(value).all() for value in model.get_weights())


def test_nothing_is_computed_for_a_frozen_trunk(build, images):
    with methods.BSS(1.0).attached(build(train="head")) as training_model:
        training_model(images, training=True)
        assert training_model.losses == []


@pytest.mark.parametrize("arguments", [{"weight": -1}, {"k": 0}])
def test_bad_arguments(arguments):
    with pytest.raises(checks.InputError):
        methods.BSS(**arguments)
