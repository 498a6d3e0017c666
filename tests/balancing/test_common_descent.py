import numpy as np
import pytest
import scipy.optimize

from keras_transfer import balancing

pytestmark = pytest.mark.compiled  # hundreds of steps: quicker traced


def on_the_simplex(objective, count):
    """The best that a generic optimiser finds, from several starts."""
    starts = [np.full(count, 1 / count), *(0.9 * np.eye(count) + 0.1 / count)]
    answers = [
        scipy.optimize.minimize(
            objective,
            start,
            bounds=[(0, 1)] * count,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 1000},
        )
        for start in starts
    ]
    return min(answers, key=lambda answer: answer.fun).x


def test_mgda_of_two_tasks_in_closed_form(found):
    for vectors in np.random.default_rng(0).normal(size=(50, 2, 3)):
        one, other = vectors
        w = np.clip((other - one) @ other / np.sum((one - other) ** 2), 0, 1)
        np.testing.assert_allclose(found(balancing.MGDA(), vectors)[0] / 2, [w, 1 - w], atol=1e-4)


def test_mgda_equals_a_generic_optimiser(vectors, found):
    """Coefficients to 1e-4; the optimiser's own error in them is the square root of that in the length."""
    for each in vectors:
        answer = found(balancing.MGDA(), each)[0] / len(each)
        scaled = each / np.linalg.norm(each, axis=1).max()
        expected = on_the_simplex(lambda w, g=scaled: np.sum((w @ g) ** 2), len(each))
        np.testing.assert_allclose(answer, expected, atol=1e-4)
        np.testing.assert_allclose(answer.sum(), 1, atol=1e-5)


@pytest.mark.parametrize("tasks", [8, 12])
def test_mgda_of_many_tasks_is_optimal(tasks, found):
    """In fewer dimensions than tasks, where many weights are zero: no task gains less than the shortest vector."""
    for vectors in np.random.default_rng(1).normal(size=(10, tasks, 5)) + 0.7:
        answer = found(balancing.MGDA(), vectors)[0] / tasks
        shortest = answer @ vectors
        assert (vectors @ shortest).min() >= shortest @ shortest - 1e-3


@pytest.mark.parametrize("c", [0.2, 0.5, 0.9])
def test_cagrad_equals_a_generic_optimiser(vectors, found, c):
    for each in vectors:
        count, mean = len(each), each.mean(axis=0)
        radius = c * np.linalg.norm(mean)
        w = on_the_simplex(
            lambda w, g=each, m=mean, r=radius: w @ g @ m + r * np.linalg.norm(w @ g), count
        )
        expected = (mean + radius * w @ each / np.linalg.norm(w @ each)) * count / (1 + c)
        answer = found(balancing.CAGrad(c), each)[0]
        np.testing.assert_allclose(answer @ each, expected, atol=2e-3 * np.linalg.norm(each))
        worst = (
            (each @ (direction / count * (1 + c))).min() for direction in (answer @ each, expected)
        )
        np.testing.assert_allclose(*worst, atol=1e-4 * np.sum(each**2))


def test_cagrad_of_nothing_is_the_sum(vectors, found):
    for each in vectors:
        np.testing.assert_allclose(
            found(balancing.CAGrad(0.0), each)[0], np.ones(len(each)), atol=1e-5
        )


def test_a_large_radius_points_where_mgda_does(vectors, found):
    for each in vectors:
        wide, shortest = (
            found(balancing.CAGrad(1e4), each)[0] @ each,
            found(balancing.MGDA(), each)[0] @ each,
        )
        cosine = wide @ shortest / np.linalg.norm(wide) / np.linalg.norm(shortest)
        np.testing.assert_allclose(cosine, 1, atol=1e-3)
