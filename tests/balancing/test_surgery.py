import numpy as np
import pytest
import tensorflow as tf

from keras_transfer import balancing
from keras_transfer.balancing import base

pytestmark = pytest.mark.compiled  # hundreds of steps: quicker traced


def order_of(task, tasks, seed, step):
    """The other tasks in the order in which this one meets them."""
    drawn = base.draws(tf.ones(tasks, tf.bool), seed, tf.constant(step), pairs=True).numpy()
    return [other for other in np.argsort(drawn[task]) if other != task]


def projected(vectors, seed, step):
    """PCGrad by its definition, on the vectors."""
    total = np.zeros(vectors.shape[1])
    for i, vector in enumerate(vectors):
        turned = vector.copy()
        for j in order_of(i, len(vectors), seed, step):
            if turned @ vectors[j] < 0:
                turned -= turned @ vectors[j] / (vectors[j] @ vectors[j]) * vectors[j]
        total += turned
    return total


def vaccinated(vectors, cosines, beta, seed, step):
    """GradVac by its definition, on the vectors; returns the direction and the new mean cosines."""
    total, new = np.zeros(vectors.shape[1]), cosines.copy()
    for i, vector in enumerate(vectors):
        turned = vector.copy()
        for j in order_of(i, len(vectors), seed, step):
            other, wanted = vectors[j], cosines[i, j]
            angle = np.arccos(turned @ other / np.linalg.norm(turned) / np.linalg.norm(other))
            new[i, j] = (1 - beta) * wanted + beta * np.cos(angle)
            if np.cos(angle) < wanted:
                wanted_angle = np.arccos(wanted)
                # In the plane of both: the law of sines says how much of `other` turns the angle to the wanted one.
                share = np.linalg.norm(turned) * np.sin(angle - wanted_angle) / np.sin(wanted_angle)
                turned += share * other / np.linalg.norm(other)
                cosine = turned @ other / np.linalg.norm(turned) / np.linalg.norm(other)
                np.testing.assert_allclose(cosine, wanted, atol=1e-9)
        total += turned
    return total, new


def test_pcgrad_equals_the_definition(vectors, found):
    seed = 3
    balancer = balancing.PCGrad(seed=seed)
    for step, each in enumerate(vectors):
        answer, new = found(balancer, each, state={"step": np.array(step, "int32")})
        np.testing.assert_allclose(answer @ each, projected(each, seed, step), rtol=1e-4, atol=1e-4)
        assert int(new["step"]) == step + 1


def test_the_order_matters_and_is_drawn_anew(found):
    vectors = np.array([[1.0, 0.0], [-1.0, 0.3], [-0.3, -1.0]])
    states = [{"step": np.array(step, "int32")} for step in range(20)]
    answers = {tuple(found(balancing.PCGrad(), vectors, state=each)[0].round(4)) for each in states}
    assert 1 < len(answers) <= 8


def test_gradients_that_agree_are_left_alone(found):
    answer, _ = found(balancing.PCGrad(), np.array([[1.0, 0.0], [2.0, 1.0], [1.0, 3.0]]))
    np.testing.assert_array_equal(answer, np.ones(3))


def test_gradvac_equals_the_definition(vectors, found):
    balancer = balancing.GradVac(0.3, seed=2)
    state = balancer.initial(len(vectors[0]))
    cosines = state["cosines"].astype("float64")
    for step, each in enumerate(vectors):
        expected, cosines = vaccinated(each, cosines, 0.3, 2, step)
        answer, state = found(balancer, each, state=state)
        np.testing.assert_allclose(answer @ each, expected, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(state["cosines"], cosines, atol=1e-4)


def test_a_mean_cosine_of_zero_is_pcgrad(vectors, found):
    for each in vectors:
        answer, _ = found(balancing.GradVac(0.0, seed=1), each)
        np.testing.assert_allclose(
            answer, found(balancing.PCGrad(seed=1), each)[0], rtol=1e-4, atol=1e-5
        )
