import numpy as np
import pytest
import scipy.optimize

from keras_transfer import balancing

pytestmark = pytest.mark.compiled  # hundreds of steps: quicker traced


def test_every_task_gains_the_same_share(vectors, found):
    """(G c)_i c_i is the same for all: the mean square length."""
    for each in vectors:
        gram = each @ each.T
        answer, _ = found(balancing.NashMTL(), each)
        assert (answer > 0).all()
        np.testing.assert_allclose(
            gram @ answer * answer, np.full(len(each), np.diag(gram).mean()), rtol=1e-3
        )


def test_equals_a_generic_optimiser(vectors, found):
    for each in vectors:
        gram = each @ each.T
        gram /= np.diag(gram).mean()
        best = scipy.optimize.minimize(
            lambda logs, g=gram: np.exp(logs) @ g @ np.exp(logs) / 2 - logs.sum(),
            np.zeros(len(each)),
            method="BFGS",
            options={"gtol": 1e-9},
        )
        np.testing.assert_allclose(found(balancing.NashMTL(), each)[0], np.exp(best.x), rtol=1e-3)


@pytest.mark.parametrize("tasks", [2, 10])
def test_hard_conflicts_end_in_numbers(tasks, found):
    """Gradients that nearly cancel: the step's length stays sqrt(n) times the mean."""
    vectors = np.eye(tasks) - (1 - 1e-3) / tasks
    answer, _ = found(balancing.NashMTL(), vectors)
    length = np.sqrt(tasks) * np.sqrt(np.mean(np.sum(vectors**2, axis=1)))
    assert np.linalg.norm(answer @ vectors) <= 1.01 * length
