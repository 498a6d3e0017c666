import pathlib

import numpy as np
import pytest
import threadpoolctl
from sklearn.linear_model import LogisticRegression, Ridge

from keras_transfer.training.methods import linear_models

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)) * [1, 2, 0.5, 1, 3] + 1
Y = (X @ RNG.normal(size=(5, 3)) + RNG.normal(size=(60, 3))).argmax(axis=1)


def probabilities(outputs):
    exponentials = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("strength", [100.0, 1.0, 0.01])
def test_softmax_is_that_of_scikit_learn(strength):
    theirs = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=5000).fit(X, Y)
    head = linear_models.softmax(X, np.eye(3)[Y], strength)
    assert head.converged
    np.testing.assert_allclose(probabilities(head(X)), theirs.predict_proba(X), atol=1e-5)


def test_weighted_distributions_are_weighted_copies():
    """0.7 of class 0 and 0.3 of class 2 is one row of each with these weights."""
    targets = RNG.dirichlet(np.ones(3), 60) * RNG.uniform(0.5, 2, (60, 1))
    copies = LogisticRegression(C=0.5, tol=1e-10, max_iter=5000)
    copies.fit(np.repeat(X, 3, axis=0), np.tile([0, 1, 2], 60), sample_weight=targets.ravel())
    head = linear_models.softmax(X, targets, 2.0)
    np.testing.assert_allclose(probabilities(head(X)), copies.predict_proba(X), atol=1e-5)


def test_two_classes_are_those_of_the_logistic_function():
    """With two classes scikit-learn penalises one column, as long as twice each of ours: half the strength."""
    labels = Y % 2
    theirs = LogisticRegression(C=1 / 0.5, tol=1e-10, max_iter=5000).fit(X, labels)
    head = linear_models.softmax(X, np.eye(2)[labels], 1.0)
    np.testing.assert_allclose(probabilities(head(X)), theirs.predict_proba(X), atol=1e-5)


def test_the_slope_vanishes_at_the_solution():
    head = linear_models.softmax(X, np.eye(3)[Y], 3.0)
    errors = probabilities(head(X)) - np.eye(3)[Y]
    np.testing.assert_allclose(X.T @ errors + 3.0 * head.kernel, 0, atol=1e-4)
    np.testing.assert_allclose(errors.sum(axis=0), 0, atol=1e-4)


def test_a_path_is_its_single_solutions():
    strengths = [10.0, 1.0, 0.1]
    for head, strength in zip(
        linear_models.softmax_path(X, np.eye(3)[Y], strengths), strengths, strict=True
    ):
        exact = linear_models.softmax(X, np.eye(3)[Y], strength)
        np.testing.assert_allclose(probabilities(head(X)), probabilities(exact(X)), atol=5e-3)


@pytest.mark.parametrize("rows", [60, 4])
def test_ridge_is_that_of_scikit_learn(rows):
    targets = X @ RNG.normal(size=(5, 2)) + RNG.normal(size=(60, 2)) + 7
    strengths = [10.0, 0.1]
    heads = list(linear_models.ridge_path(X[:rows], targets[:rows], strengths))
    for head, strength in zip(heads, strengths, strict=True):
        theirs = Ridge(alpha=strength).fit(X[:rows], targets[:rows])
        np.testing.assert_allclose(head(X), theirs.predict(X), rtol=1e-8)


def test_features_are_scaled_by_one_number():
    scale = linear_models.scaling(X)
    scaled = scale(X)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.var(axis=0).mean(), 1)
    np.testing.assert_allclose(
        scaled.std(axis=0) / scaled.std(), X.std(axis=0) / np.sqrt(X.var(axis=0).mean())
    )


def test_a_folded_head_takes_features_as_they_are():
    scale = linear_models.scaling(X)
    head = linear_models.Linear(RNG.normal(size=(5, 3)), RNG.normal(size=3))
    np.testing.assert_allclose(scale.fold(head)(X), head(scale(X)))


def test_equal_features_are_not_divided_by_zero():
    assert np.isfinite(linear_models.scaling(np.ones((4, 2)))(np.ones((4, 2)))).all()


def test_log_loss_by_definition():
    targets = RNG.uniform(size=(60, 3))
    outputs = RNG.normal(size=(60, 3))
    expected = -np.sum(targets * np.log(probabilities(outputs))) / targets.sum()
    np.testing.assert_allclose(linear_models.log_loss(outputs, targets), expected)


def test_folds_hold_each_label_alike():
    labels = np.array([0] * 20 + [1] * 10 + [2])
    at = linear_models.folds(31, 5, seed=0, labels=labels)
    counts = [np.bincount(labels[at == fold], minlength=3).tolist() for fold in range(5)]
    assert all(count[:2] == [4, 2] for count in counts)
    assert sorted(count[2] for count in counts) == [0, 0, 0, 0, 1]
    assert not np.array_equal(at, linear_models.folds(31, 5, seed=1, labels=labels))


def test_logistic_regressions_are_those_of_scikit_learn_and_know_nothing_of_each_other():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4))
    targets = (x @ rng.normal(size=(4, 2)) + rng.normal(size=(60, 2)) > 0).astype("float64")
    targets[:20, 1] = np.nan  # not known
    head = linear_models.logistic(x, targets, 2.0)
    for column, rows in enumerate((slice(None), slice(20, None))):
        theirs = LogisticRegression(C=0.5, tol=1e-9, max_iter=5000).fit(
            x[rows], targets[rows, column]
        )
        np.testing.assert_allclose(head.kernel[:, column], theirs.coef_[0], atol=1e-4)
        np.testing.assert_allclose(head.bias[column], theirs.intercept_[0], atol=1e-4)


def threads_of_scipy():
    found = threadpoolctl.threadpool_info()
    return [
        each["num_threads"] for each in found if "scipy" in pathlib.Path(each["filepath"]).parts[-2]
    ]


def test_the_linear_algebra_of_scipy_has_one_thread_during_the_search(monkeypatch):
    """With two, a search on a few rows took ten times as long: they wait for each other."""
    seen, minimize = [], linear_models.optimize.minimize

    def watched(*arguments, **options):
        seen.append(threads_of_scipy())
        return minimize(*arguments, **options)

    monkeypatch.setattr(linear_models.optimize, "minimize", watched)
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = threads_of_scipy()
        if not before:
            pytest.skip("SciPy shares its linear algebra with NumPy")
        linear_models.softmax(X, np.eye(3)[Y], 1.0)
        assert threads_of_scipy() == before == [2]
    assert seen == [[1]]
