"""Several devices give what one gives, and several processes what one process gives."""

import contextlib
import os
import socket
import subprocess
import sys

import jax
import keras
import numpy as np
import pytest
from engine import runs
from errors import told

import keras_transfer as kt
from keras_transfer.machine import engine, strategy

pytestmark = pytest.mark.engine

CLOSE = 1e-5


@contextlib.contextmanager
def on(count, monkeypatch):
    """Several virtual devices of the CPU; a process of a user's keeps its strategy."""
    monkeypatch.setattr(strategy, "_made", None)
    made = kt.strategy("auto", devices=count)
    try:
        with made.scope():
            yield
    finally:
        keras.distribution.set_distribution(None)
        monkeypatch.setattr(strategy, "_made", None)


def measured(spec, **options):
    """Weights, logs, scores and answers of two tasks with missing labels."""
    model, data = runs.two_tasks(spec)
    history = runs.train(model, data, **options)
    numbers = runs.weights(model)
    numbers |= {f"log {name}": np.array(values) for name, values in history.history.items()}
    images, _ = runs.images(7)
    answers = model.predict(data.validation, verbose=0)
    numbers |= {f"answers {name}": value for name, value in answers.items()}
    numbers |= {f"more {name}": value for name, value in model.predict(images, verbose=0).items()}
    return numbers


def close(given, expected, tolerance=CLOSE):
    assert set(given) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(given[name], value, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(
    ("count", "spec", "cache"), [(2, "pcgrad", "off"), (3, "uncertainty", "memory")]
)
def test_several_devices_are_one(monkeypatch, count, spec, cache):
    """Batches of 16, and of 12 in validation: the first is none that 3 devices divide."""
    assert len(jax.devices()) >= count
    expected = measured(spec, cache=cache)
    with on(count, monkeypatch):
        monkeypatch.setattr(engine, "free_device_memory", lambda: 10**9)  # kept rows lie on devices
        model, _ = runs.two_tasks(spec)
        assert len(model.weights[0].value.sharding.device_set) == count
        given = measured(spec, cache=cache)
    close(given, expected)


def test_a_run_goes_on_with_as_many_devices_only(monkeypatch, tmp_path):
    model, data = runs.one_task()
    with on(2, monkeypatch):
        shared, _ = runs.one_task()
        with pytest.raises(runs.KilledError):
            runs.train(shared, data, run_dir=tmp_path, callbacks=[runs.Kill(1)])
    told(
        lambda: runs.train(model, data, run_dir=tmp_path, resume=True),
        "a run must be resumed with the same number of devices",
    )


def test_arrays_and_losses_of_keras_on_devices_that_do_not_divide_them(monkeypatch):
    """Batches of 5 and of 2 on 3 devices, a loss that divides by the batch, and evaluation."""
    images, labels = runs.images(7)

    def trained():
        model, _ = runs.one_task()
        loss = keras.losses.SparseCategoricalCrossentropy()
        model.compile("sgd", loss, weighted_metrics=["accuracy"])
        history = model.fit(images, labels, batch_size=5, epochs=2, shuffle=False, verbose=0)
        scores = model.evaluate(images, labels, batch_size=5, verbose=0, return_dict=True)
        found = {f"score {name}": value for name, value in scores.items()}
        found |= {f"log {name}": values for name, values in history.history.items()}
        found["answers"] = model.predict(images, batch_size=5, verbose=0)
        return runs.weights(model) | found

    expected = trained()
    with on(3, monkeypatch):
        given = trained()
    close(given, expected)


PROCESS = """
import sys, numpy as np, keras
rank, count, port, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
if count > 1:
    keras.distribution.initialize(f"127.0.0.1:{port}", count, rank)
from engine import test_devices
import keras_transfer as kt
if count > 1:
    kt.strategy("auto")
np.savez(out, **test_devices.measured("uncertainty"))
model, _ = test_devices.runs.one_task()
if rank == 0:  # one may save alone
    model.save(out + ".keras")
"""


def test_two_processes_are_one(tmp_path):
    """Each reads all data and trains on its rows; each ends with all weights and answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    settings = {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(rank), "2", port, tmp_path / f"{rank}.npz"],
            env=os.environ | settings,
        )
        for rank in (0, 1)
    ]
    expected = measured("uncertainty")
    try:
        assert [process.wait(timeout=240) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    for rank in (0, 1):
        with np.load(tmp_path / f"{rank}.npz") as given:
            close(dict(given), expected, tolerance=1e-6)
