import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer import balancing
from keras_transfer.core import checks

OTHERS = [
    balancing.DWA(steps=1, temperature=0.5),
    balancing.Uncertainty(rate=0.5),
    balancing.FAMO(rate=0.5, decay=0.1),
    balancing.GradNorm(alpha=0.5, rate=0.3),
    balancing.GradVac(0.7, seed=3),
    balancing.CAGrad(2.0),
]
GRADIENTS = [name for name, kind in balancing.BALANCERS.items() if kind.kind == "gradients"]


@pytest.mark.compiled  # the contract counts traces
@pytest.mark.parametrize("name", balancing.BALANCERS)
def test_every_row_keeps_the_contract(name):
    kt.testing.check_balancer(balancing.BALANCERS[name]())


@pytest.mark.compiled
@pytest.mark.parametrize("balancer", OTHERS, ids=repr)
def test_other_settings_keep_the_contract(balancer):
    kt.testing.check_balancer(balancer, tasks=4)


@pytest.mark.parametrize("name", GRADIENTS)
def test_orthogonal_gradients_of_equal_length_get_1(name):
    """All of them: so a learning rate keeps its meaning."""
    balancer = balancing.BALANCERS[name]()
    known = np.array([True, True, False, True])
    gram = np.diag(np.full(4, 7.0, "float32"))
    found, _ = balancer.coefficients(
        gram, np.array([3.0, 0.5, 1.0, 2.0]), known, balancer.initial(4)
    )
    np.testing.assert_allclose(found, known, atol=1e-5)


@pytest.mark.parametrize(
    "name", [name for name in balancing.BALANCERS if name not in GRADIENTS and name != "rlw"]
)
def test_losses_of_1_get_1(name):
    """All but the random one."""
    balancer = balancing.BALANCERS[name]()
    found, _ = balancer.weights(np.ones(3), np.ones(3, bool), balancer.initial(3))
    np.testing.assert_allclose(found, np.ones(3), atol=1e-6)


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize(
    "gradients",
    [[[1, 0], [1, 0]], [[1, 0], [-1, 0]], [[1, 0], [-3, 0]], [[1, 0], [0, 0]], [[0, 0]] * 2],
)
def test_degenerate_gradients_give_numbers_of_sensible_size(name, gradients):
    """Equal, opposite, parallel and missing ones; the direction is no longer than the sum of lengths, times n."""
    vectors = np.array(gradients, "float32")
    balancer = balancing.BALANCERS[name]()
    found, state = balancer.coefficients(
        vectors @ vectors.T, np.ones(2), np.ones(2, bool), balancer.initial(2)
    )
    assert np.isfinite(found).all()
    assert all(np.isfinite(value).all() for value in state.values())
    assert (
        np.linalg.norm(found.numpy() @ vectors) <= 2 * np.linalg.norm(vectors, axis=1).sum() + 1e-4
    )


@pytest.mark.parametrize("name", GRADIENTS)
def test_a_task_without_a_gradient_does_not_stop_the_others(name):
    balancer = balancing.BALANCERS[name]()
    gram = np.diag(np.array([4.0, 0.0, 4.0], "float32"))
    found, _ = balancer.coefficients(gram, np.ones(3), np.ones(3, bool), balancer.initial(3))
    np.testing.assert_allclose(found, np.ones(3), atol=1e-5)


def test_weights_are_not_differentiated():
    import tensorflow as tf

    losses = tf.Variable([4.0, 1.0])
    with tf.GradientTape() as tape:
        weights, _ = balancing.GeometricMean().weights(losses, [True, True], {})
        total = tf.reduce_sum(weights * losses)
    np.testing.assert_allclose(tape.gradient(total, losses), [0.5, 2.0], rtol=1e-6)


def test_many_tasks_draw_different_numbers():
    balancer = balancing.RLW()
    found, _ = balancer.weights(np.ones(40), np.ones(40, bool), balancer.initial(40))
    assert len(set(found.numpy())) == 40


@keras.saving.register_keras_serializable("tests")
class Meddling(balancing.Balancer):
    """Lets an unknown task's place change the others, by the number of places."""

    def weigh(self, losses, known, state):
        return losses * 0 + float(known.shape[0]), state


def test_the_check_finds_a_fault():
    with pytest.raises(AssertionError, match="unknown_tasks_have_no_say"):
        kt.testing.check_balancer(Meddling())


@pytest.mark.parametrize(
    ("balancing_argument", "expected"),
    [
        (None, "Fixed(weights=None)"),
        ("sum", "Fixed(weights=None)"),
        ("cagrad", "CAGrad(c=0.5)"),
        ({"age": 0.5}, "Fixed(weights=[1.0, 0.5])"),
        ({}, "Fixed(weights=[1.0, 1.0])"),
        (balancing.CAGrad(0.2), "CAGrad(c=0.2)"),
    ],
)
def test_what_is_meant(balancing_argument, expected):
    assert repr(balancing.balancer_of(balancing_argument, ["breed", "age"])) == expected


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("cagrat", "Close names: 'cagrad'"),
        ({"aeg": 0.5}, "Close names: 'age'"),
        ({"age": -1.0}, r"`balancing\['age'\]` must be a number at least 0"),
        (3, "must be a name, a balancer or weights by task"),
        (balancing.CAGrad, "must be a name, a balancer or weights by task"),
    ],
)
def test_what_cannot_be_meant(wrong, message):
    with pytest.raises(checks.InputError, match=message):
        balancing.balancer_of(wrong, ["breed", "age"])


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (balancing.Uncertainty, {"rate": 0}),
        (balancing.IMTLL, {"rate": -1}),
        (balancing.DWA, {"steps": 0}),
        (balancing.DWA, {"temperature": 0}),
        (balancing.RLW, {"seed": -1}),
        (balancing.FAMO, {"rate": 0}),
        (balancing.FAMO, {"decay": -1}),
        (balancing.GradNorm, {"alpha": -1}),
        (balancing.GradNorm, {"rate": 0}),
        (balancing.PCGrad, {"seed": 0.5}),
        (balancing.GradVac, {"beta": 1}),
        (balancing.CAGrad, {"c": -0.1}),
        (balancing.Fixed, {"weights": [1, -1]}),
    ],
)
def test_bad_arguments(kind, arguments):
    (name,) = arguments
    with pytest.raises(checks.InputError, match=f"`{name}"):
        kind(**arguments)


def test_fixed_weights_for_another_number_of_tasks():
    with pytest.raises(checks.InputError, match="one a task. Given: 2 for 3 tasks"):
        balancing.Fixed([1, 2]).weights(np.ones(3), np.ones(3, bool), {})
