import numpy as np
import pytest

from keras_transfer import losses, testing

TARGETS = np.array([10.0, 20.0, -5.0, 0.0], "float32")
VALUES = np.array([[12.0], [50.0], [-5.0], [-3.0]], "float32")


def by_definition(targets, values, scale, delta):
    total = 0.0
    for target, value in zip(targets, values[:, 0], strict=True):
        error = abs(target - value) / scale
        total += 0.5 * error**2 if error <= delta else delta * (error - 0.5 * delta)
    return total / len(targets)


@pytest.mark.parametrize(("scale", "delta"), [(1.0, 1.0), (10.0, 1.0), (4.0, 0.3)])
def test_equals_the_definition(scale, delta):
    loss = losses.ScaledHuber(scale=scale, delta=delta)
    np.testing.assert_allclose(
        float(loss(TARGETS, VALUES)), by_definition(TARGETS, VALUES, scale, delta), rtol=1e-6
    )


def test_a_scale_per_output():
    loss = losses.ScaledHuber(scale=[1.0, 10.0])
    # ((0.5 * 1) + (0.5 * 1)) / 2
    np.testing.assert_allclose(
        float(loss(np.array([[0.0, 0.0]]), np.array([[1.0, 10.0]], "float32"))), 0.5, rtol=1e-6
    )


def test_the_unit_does_not_change_the_loss():
    metres, millimetres = losses.ScaledHuber(scale=2.0), losses.ScaledHuber(scale=2000.0)
    np.testing.assert_allclose(
        float(metres(TARGETS, VALUES)), float(millimetres(1000 * TARGETS, 1000 * VALUES)), rtol=1e-5
    )


def test_contract():
    testing.check_loss(losses.ScaledHuber(scale=3.0), TARGETS, VALUES)
