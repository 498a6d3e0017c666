import numpy as np
import pytest

from keras_transfer import balancing

pytestmark = pytest.mark.compiled  # hundreds of steps: quicker traced


def test_equals_the_definition(vectors, found):
    """Steps on the absolute differences, with lengths relative to their root mean square."""
    alpha, rate = 0.7, 0.05
    balancer = balancing.GradNorm(alpha, rate=rate)
    tasks = len(vectors[0])
    state, weights = balancer.initial(tasks), np.ones(tasks)
    rng = np.random.default_rng(0)
    first, furthest = None, 0.0
    for each in vectors:
        losses = rng.uniform(0.5, 2.0, tasks)
        first = losses if first is None else first
        answer, state = found(balancer, each, losses.astype("float32"), state)
        np.testing.assert_allclose(answer, weights, rtol=1e-4)
        lengths = np.linalg.norm(each, axis=1)
        lengths /= np.sqrt(np.mean(lengths**2))
        left = losses / first
        target = np.mean(weights * lengths) * (left / left.mean()) ** alpha
        for i in range(tasks):
            weights[i] -= rate * (
                lengths[i] if weights[i] * lengths[i] > target[i] else -lengths[i]
            )
        weights *= tasks / weights.sum()
        furthest = max(furthest, np.abs(weights - 1).max())
    np.testing.assert_allclose(state["weights"], weights, rtol=1e-4)
    assert furthest > 0.02


def test_slow_tasks_get_longer_gradients(found):
    """At rest w |g| is proportional to r**alpha: with losses at 1 and 1/2 of their first values, 2 to 1."""
    balancer = balancing.GradNorm(1.0, rate=0.01)
    vectors = np.eye(2)
    _, state = found(balancer, vectors, np.array([1.0, 1.0], "float32"))
    for _ in range(200):
        answer, state = found(balancer, vectors, np.array([1.0, 0.5], "float32"), state)
    np.testing.assert_allclose(answer[0] / answer[1], 2, rtol=0.05)


def test_weights_for_what_is_not_shared():
    balancer = balancing.GradNorm()
    state = {"weights": np.array([0.5, 1.0, 1.5], "float32"), "first": np.ones(3, "float32")}
    weights, after = balancer.weights(np.ones(3), [True, False, True], state)
    np.testing.assert_allclose(weights, [0.5, 0, 1.5])
    np.testing.assert_array_equal(after["weights"], state["weights"])
