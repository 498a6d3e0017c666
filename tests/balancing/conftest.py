import numpy as np
import pytest
import tensorflow as tf


def problems(tasks, count, size=None):
    """Random gradients of different lengths, in as many dimensions as there are tasks or more."""
    rng = np.random.default_rng(tasks)
    size = size or tasks + 2
    for _ in range(count):
        yield rng.normal(size=(tasks, size)) * rng.uniform(0.3, 3.0, (tasks, 1))


@pytest.fixture(autouse=True)
def _seed():
    """Leaves TensorFlow's seed alone, which nothing here uses: setting it discards what traced functions became."""


@pytest.fixture(scope="session")
def step_of():
    """Returns the function of a balancer's coefficients, which tests marked `compiled` trace once for all of them."""
    steps = {}

    def step(balancer):
        return steps.setdefault(repr(balancer), tf.function(balancer.coefficients, autograph=False))

    return step


@pytest.fixture
def found(step_of):
    """Coefficients for vectors as gradients, all tasks known."""

    def coefficients(balancer, vectors, losses=None, state=None):
        gram = (vectors @ vectors.T).astype("float32")
        count = len(vectors)
        losses = np.ones(count, "float32") if losses is None else losses
        state = balancer.initial(count) if state is None else state
        answer, new = step_of(balancer)(gram, losses, np.ones(count, bool), state)
        return answer.numpy().astype("float64"), new

    return coefficients


@pytest.fixture(params=[2, 3, 4, 5])
def vectors(request):
    """Several sets of gradients of as many tasks."""
    return list(problems(request.param, 12))
