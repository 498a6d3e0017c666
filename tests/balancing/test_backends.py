"""The arithmetic of all balancers is that of `keras.ops`: JAX gives the numbers of TensorFlow."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from keras_transfer import balancing


def answers():
    """What every balancer gives in three steps with four tasks, one of them not known in the second."""
    numbers = {}
    for name, kind in balancing.BALANCERS.items():
        rng = np.random.default_rng(7)
        balancer = kind()
        state = balancer.initial(4)
        for step in range(3):
            gradients = rng.normal(size=(4, 6)) * rng.uniform(0.3, 3.0, (4, 1))
            gram = (gradients @ gradients.T).astype("float32")
            losses = rng.uniform(0.2, 3.0, 4).astype("float32")
            known = np.array([True, True, step != 1, True])
            if balancer.kind == "gradients":
                answer, state = balancer.coefficients(gram, losses, known, state)
            else:
                answer, state = balancer.weights(losses, known, state)
            numbers[f"{name}, step {step}"] = np.asarray(answer)
            for entry, value in state.items():
                numbers[f"{name}, step {step}, {entry}"] = np.asarray(value)
    return numbers


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_jax_gives_the_numbers_of_tensorflow(tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    file = tmp_path / "answers.npz"
    subprocess.run([sys.executable, __file__, file], env=environment, check=True)
    expected, given = answers(), np.load(file)
    assert set(given) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(given[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


if __name__ == "__main__":
    import keras

    assert keras.backend.backend() == "jax"
    np.savez(sys.argv[1], **answers())
