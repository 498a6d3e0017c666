"""TensorFlow and JAX give the same numbers, and files of one are good for the other."""

import os
import subprocess
import sys

import numpy as np
import pytest
from engine import runs

pytestmark = pytest.mark.engine

CLOSE = 1e-5  # float32 sums in another order


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where JAX has left a model and a run, and TensorFlow, in a process of its own, what it made of them."""
    folder = tmp_path_factory.mktemp("engines")
    model, _ = runs.one_task()
    model.save(folder / "jax.keras")
    runs.interrupt(folder / "jax")
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, runs.__file__, folder], env=environment, check=True)
    return folder


@pytest.fixture(scope="module")
def of_tensorflow(folder):
    with np.load(folder / "tensorflow.npz") as saved:
        return dict(saved)


def close(given, expected, name=""):
    np.testing.assert_allclose(given, expected, rtol=CLOSE, atol=CLOSE, err_msg=name)


def test_all_balancers(of_tensorflow):
    numbers = runs.numbers_of_balancers()
    assert len(numbers) > 17 * 6
    for name, value in numbers.items():
        close(value, of_tensorflow[name], name)


@pytest.mark.parametrize("spec", runs.BALANCINGS)
def test_two_tasks_with_missing_labels(of_tensorflow, spec):
    numbers = runs.numbers_of_training(spec)
    assert {name for name in of_tensorflow if name.startswith(f"{spec}: ")} == set(numbers)
    for name, value in numbers.items():
        close(value, of_tensorflow[name], name)


def test_a_file_moves_between_engines(folder, of_tensorflow):
    close(runs.answer(folder / "tensorflow.keras"), of_tensorflow["answers of TensorFlow"])
    close(of_tensorflow["answers to a model of JAX"], runs.answer(folder / "jax.keras"))


def test_a_run_moves_between_engines(folder, of_tensorflow):
    """Begun on one and ended on the other, a run ends with the weights of one that was not interrupted."""
    unbroken = runs.numbers_of_training("gradnorm")
    for name, value in runs.go_on(folder / "tensorflow").items():
        close(value, unbroken[f"gradnorm: {name}"], name)
        close(of_tensorflow[f"gone on: {name}"], unbroken[f"gradnorm: {name}"], name)
