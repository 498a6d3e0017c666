"""Every score equals a slow reference: loops over the definition of its paper."""

import math

import numpy as np
import pytest
from scipy import optimize
from sklearn import covariance

import keras_transfer as kt
from keras_transfer.features import scores


def draw(rows=40, width=7, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    centres = rng.normal(size=(classes, width))
    return rng.normal(size=(rows, width)) + 0.8 * centres[labels] + 1.5, labels


def evidence(x, y, alpha, beta):
    """Equation (4) of You et al.: log p(y | F, alpha, beta) with the posterior's mean and its matrix written out."""
    rows, width = x.shape
    matrix = alpha * np.eye(width) + beta * x.T @ x
    mean = beta * np.linalg.inv(matrix) @ x.T @ y
    rest = y - x @ mean
    return (
        rows / 2 * math.log(beta)
        + width / 2 * math.log(alpha)
        - rows / 2 * math.log(2 * math.pi)
        - beta / 2 * float(rest @ rest)
        - alpha / 2 * float(mean @ mean)
        - np.linalg.slogdet(matrix)[1] / 2
    )


@pytest.mark.parametrize("width", [7, 60])  # fewer and more features than images
def test_logme_is_the_maximum_of_the_evidence(width):
    x, labels = draw(width=width)
    best = []
    for label in range(3):
        y = (labels == label).astype(float)
        found = optimize.minimize(
            lambda logs, y=y: -evidence(x, y, math.exp(logs[0]), math.exp(logs[1])),
            [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000},
        )  # fmt: skip
        best.append(-found.fun / len(x))
    assert scores.logme(x, labels) == pytest.approx(np.mean(best), abs=1e-6)


@pytest.mark.parametrize("width", [7, 60])
def test_h_score_is_the_trace_of_its_definition(width):
    x, labels = draw(width=width)
    x = x - x.mean(axis=0)
    plain = sum(np.outer(row, row) for row in x) / len(x)
    share = covariance.ledoit_wolf(x, assume_centered=True)[1]
    shrunk = (1 - share) * plain + share * np.trace(plain) / width * np.eye(width)
    means = np.array([x[labels == label].mean(axis=0) for label in labels])  # of each image's class
    between = sum(np.outer(row, row) for row in means) / len(x)
    expected = (1 - share) * np.trace(np.linalg.inv(shrunk) @ between)
    assert scores.h_score(x + 5.0, labels) == pytest.approx(expected, abs=1e-6)


def test_leep_is_a_loop_over_images_and_source_classes():
    rng = np.random.default_rng(1)
    shares, labels = rng.dirichlet(np.full(5, 0.5), 30), rng.integers(0, 3, 30)
    total = 0.0
    for image in range(30):
        likely = 0.0
        for z in range(5):
            joint = sum(shares[i, z] for i in range(30) if labels[i] == labels[image]) / 30
            likely += joint / (shares[:, z].sum() / 30) * shares[image, z]
        total += math.log(likely)
    assert scores.leep(shares, labels) == pytest.approx(total / 30, abs=1e-6)


def test_nce_is_a_loop_over_pairs_of_classes():
    rng = np.random.default_rng(2)
    shares, labels = rng.dirichlet(np.full(4, 0.5), 50), rng.integers(0, 3, 50)
    found, total = shares.argmax(axis=1), 0.0
    for z in range(4):
        for y in range(3):
            joint = np.mean((found == z) & (labels == y))
            if joint:
                total += joint * math.log(joint / np.mean(found == z))
    assert scores.nce(shares, labels) == pytest.approx(total, abs=1e-6)


@pytest.mark.parametrize("groups", [None, np.arange(40) // 6])
def test_knn_is_a_loop_over_neighbours(groups):
    x, labels = draw(seed=3)
    of = np.arange(40) if groups is None else groups
    right = 0
    for image in range(len(x)):
        cosines = []
        for other in range(len(x)):
            if of[other] != of[image]:
                cosine = x[image] @ x[other] / np.linalg.norm(x[image]) / np.linalg.norm(x[other])
                cosines.append((-cosine, other))
        near = [labels[other] for _, other in sorted(cosines)[:5]]
        most = max(near.count(label) for label in near)
        right += next(label for label in near if near.count(label) == most) == labels[image]
    assert scores.knn(x, labels, groups=groups) == pytest.approx(right / len(x), abs=1e-6)


def test_probe_is_ridge_regression_on_each_fold():
    x, labels = draw(rows=50, width=60, seed=4)
    y = np.eye(3)[labels]
    order = np.random.default_rng(0).permutation(50)
    order = sorted(order, key=lambda row: labels[row])
    folds = {row: place % 5 for place, row in enumerate(order)}
    best = 0.0
    for power in range(-4, 2):
        right = 0
        for fold in range(5):
            inside = [row for row in range(50) if folds[row] != fold]
            mean, scale = x[inside].mean(axis=0), 0.0
            centred = x[inside] - mean
            scale = (centred**2).mean()
            penalty = 10.0**power * scale * len(inside) * np.eye(60)
            target = y[inside].mean(axis=0)
            kernel = np.linalg.inv(centred.T @ centred + penalty) @ centred.T @ (y[inside] - target)
            for row in range(50):
                if folds[row] == fold:
                    right += np.argmax((x[row] - mean) @ kernel + target) == labels[row]
        best = max(best, right / 50)
    assert scores.probe(x, labels) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("name", ["probe", "knn"])
def test_what_tells_groups_and_not_classes_scores_as_chance(name):
    """Features name the video of a frame: a score that sees frames of it beside the frame is all but perfect."""
    rng = np.random.default_rng(8)
    groups = np.repeat(np.arange(30), 6)
    labels = rng.integers(0, 2, 30)[groups]
    x = rng.normal(size=(30, 40))[groups] + 0.01 * rng.normal(size=(180, 40))
    score = scores.SCORES[name].function
    assert score(x, labels) > 0.99
    assert score(x, labels, groups=groups + 9) < 0.7
    for none_shared in (np.arange(180), np.zeros(180)):
        assert score(x, labels, groups=none_shared) == score(x, labels)
    with pytest.raises(kt.InputError, match="`groups` must have a group for each image"):
        score(x, labels, groups=groups[1:])
    numbers = rng.normal(size=(30, 1))[groups]
    assert score(x, numbers, groups=groups) < 0.3 < score(x, numbers)


def test_better_features_have_higher_scores():
    x, labels = draw(rows=90, seed=5)
    noise = np.random.default_rng(6).normal(size=x.shape)
    for name, row in scores.SCORES.items():
        if not row.of_source:
            assert row.function(x, labels) > row.function(noise, labels), name


def test_numbers_and_tags_are_scored():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(80, 6))
    numbers = x[:, :2] @ rng.normal(size=(2, 2)) + 0.1 * rng.normal(size=(80, 2))
    for name, row in scores.SCORES.items():
        if row.takes_numbers:
            assert row.function(x, numbers) > row.function(x[::-1].copy(), numbers), name
    assert scores.probe(x, numbers[:, 0]) > 0.85


@pytest.mark.parametrize("name", [name for name, row in scores.SCORES.items() if not row.of_source])
@pytest.mark.parametrize("shift", [1.0, 1e4])
def test_features_that_never_vary_are_no_evidence(name, shift):
    x = np.full((12, 3), shift)
    found = scores.SCORES[name].function(x, np.arange(12) % 3)
    assert np.isfinite(found)


WRONG = [
    ("logme", np.zeros((4, 2, 2)), [0, 1, 0, 1], "`features` must have shape"),
    ("probe", np.zeros((4, 2)), [0, 1], "a label for each"),
    ("knn", np.full((4, 2), np.nan), [0, 1, 0, 1], "`features` must be finite. Given: row 0"),
    ("h_score", np.ones((4, 2)), [0.5, 1.0, 0.0, 1.0], "`labels` must be classes"),
    ("h_score", np.ones((4, 2)), [1, 1, 1, 1], "two classes or more"),
    ("leep", np.ones((4, 2)), [0, 1, 0, 1], "probabilities of source classes"),
]


@pytest.mark.parametrize(("name", "features", "labels", "message"), WRONG)
def test_wrong_input_is_one_line(name, features, labels, message):
    with pytest.raises(kt.InputError, match=message):
        scores.SCORES[name].function(features, np.array(labels))
