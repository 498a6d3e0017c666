"""Several worker processes train as one does; what happens when one of them ends."""

import csv
import json
import os
import pathlib
import re
import signal
import socket
import sys
import time

import keras
import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.cli import main
from keras_transfer.core import processes

HERE = pathlib.Path(__file__).parent
IMAGES = np.random.default_rng(0).integers(0, 256, (29, 16, 16, 3), dtype="uint8")
# The training part has 21 images: two batches of 8, and one of 5.
KIND = [None if at % 4 == 0 else at * 7 % 3 for at in range(29)]
AGE = np.where(np.arange(29) % 3 == 0, np.nan, np.arange(29) / 7).astype("float32")


def plan():
    """Made when the strategy is there: stages make optimizers, and with them variables."""
    return [
        kt.Stage(epochs=2, train="head", optimizer="sgd", learning_rate=1e-2),
        kt.Stage(epochs=2, train="all", optimizer="adam", learning_rate=1e-3, clip_norm=0.5),
    ]


def build():
    """A model with frozen batch-norm, two tasks and a balancer."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((16, 16, 3))
    for number in (1, 2):
        x = keras.layers.Conv2D(6, 3, strides=2, name=f"block{number}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block{number}_bn")(x)
        x = keras.layers.ReLU(name=f"block{number}_relu")(x)
    tasks = {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}
    backbone = kt.backbone(keras.Model(image, x, name="small"), preprocess="tf")
    return kt.build_model(backbone, tasks, balancing="uncertainty", seed=0)


def train(model, **options):
    data = kt.data.from_arrays(
        IMAGES,
        {"kind": KIND, "age": AGE},
        targets={"kind": "category", "age": "number"},
        validation=8 / 29,
        batch_size=8,
        seed=0,
    )
    options = {"stages": plan(), "augment": None, "refit": False, "seed": 0, "verbose": 0} | options
    history = kt.fine_tune(model, data, **options).history
    answers = model.predict(IMAGES, batch_size=8, verbose=0)
    return {"weights": model.get_weights(), "logs": history, "answers": answers}


class Slow(keras.callbacks.Callback):
    """Says where training is, and gives the test time to kill the process there."""

    def on_train_batch_end(self, batch, logs=None):
        print(f"step {self.epoch}.{batch}", flush=True)
        time.sleep(0.3)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch


def prepare(index, addresses, folder, mode):
    log = os.open(pathlib.Path(folder, f"{mode}{index}.log"), os.O_WRONLY | os.O_CREAT)
    for number in (1, 2):
        os.dup2(log, number)
    cluster = {"cluster": {"worker": addresses.split(",")}}
    cluster["task"] = {"type": "worker", "index": int(index)}
    os.environ["TF_CONFIG"] = json.dumps(cluster)


def work(index, addresses, folder, mode):
    """What a worker does."""
    folder = pathlib.Path(folder)
    prepare(index, addresses, folder, mode)
    strategy = kt.strategy("multiworker", wait=60)
    try:
        with strategy.scope():
            model = build()
        options = {}
        if mode != "once":
            has_state = (folder / "run" / "state.npz").is_file()
            options = {"run_dir": folder / "run", "resume": has_state, "cache": "off"}
        if mode == "killed":
            options["callbacks"] = [Slow()]
        results = train(model, **options)
        save(folder / f"{mode}{index}.npz", results)
        if mode == "once":
            stock_fit_fails(strategy)
    except processes.WorkerLostError as lost:
        print(f"LOST {lost}", flush=True)
        processes.leave(1)
    processes.leave(0)


def stock_fit_fails(strategy):
    """If this fails, Keras has mended `fit` on several machines (keras issue 20585) and `Replicated.lifted` may go."""
    with strategy.scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="PerReplica|reduction dimension"):
        model.fit(np.zeros((8, 2)), np.zeros((8, 1)), verbose=0)


def save(file, results):
    flat = keras.tree.flatten(results)
    np.savez(file, **{f"{place:03}": value for place, value in enumerate(flat)})


def check_equal(file, results, tolerance):
    with np.load(file) as saved:
        values = [saved[name] for name in sorted(saved)]
    for value, other in zip(values, keras.tree.flatten(results), strict=True):
        np.testing.assert_allclose(value, other, atol=tolerance, rtol=tolerance)


SCRIPT = """
import sys
sys.path[:0] = [arguments[0], arguments[0] + "/.."]
import test_workers
test_workers.work(*arguments[1:])
"""


def free_addresses():
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    addresses = ",".join(f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
    for each in sockets:
        each.close()
    return addresses


def start(fork, folder, mode):
    """Starts two workers."""
    addresses = free_addresses()
    return [fork(SCRIPT, HERE, index, addresses, folder, mode) for index in range(2)]


def wait(workers, folder, mode, codes=(0, 0), seconds=300):
    for worker in workers:
        worker.join(seconds)
    logs = "".join((folder / f"{mode}{index}.log").read_text()[-1500:] for index in range(2))
    assert tuple(worker.exitcode for worker in workers) == codes, logs
    return logs


@pytest.fixture(scope="module")
def alone():
    """What one process gives."""
    return train(build())


@pytest.mark.slow
@pytest.mark.compiled
def test_two_workers_are_one(fork, alone, tmp_path):
    wait(start(fork, tmp_path, "once"), tmp_path, "once")
    for index in range(2):
        check_equal(tmp_path / f"once{index}.npz", alone, 1e-6)


def kill(fork, folder, moment, which):
    """Kills a worker when it has come to a step, and returns how long the other one lived on."""
    workers = start(fork, folder, "killed")
    log, end = folder / f"killed{which}.log", time.monotonic() + 120
    while moment not in (log.read_text() if log.exists() else ""):
        assert time.monotonic() < end
        assert workers[which].is_alive(), log.read_text()[-2000:]
        time.sleep(0.02)
    os.kill(workers[which].pid, signal.SIGKILL)
    began = time.monotonic()
    codes = (1, -signal.SIGKILL) if which else (-signal.SIGKILL, 1)
    wait(workers, folder, "killed", codes)
    seconds = time.monotonic() - began
    log = (folder / f"killed{1 - which}.log").read_text()
    # Training itself or the watch beside it notices first; one line tells it either way.
    told = re.findall(rf"worker {which} of 2 \S+ has ended, so this one ends: ", log)
    assert len(told) == 1, log[-3000:]
    assert "Traceback" not in log
    return seconds


@pytest.mark.slow
@pytest.mark.compiled
def test_a_killed_worker_ends_all_and_a_restart_ends_as_if_nothing_had_been(fork, alone, tmp_path):
    """The second worker is killed in the first stage, and after a restart the first one in the second stage."""
    assert kill(fork, tmp_path, "step 1.1", 1) < 30
    for log in tmp_path.glob("killed*.log"):
        log.unlink()
    assert kill(fork, tmp_path, "step 3.0", 0) < 30
    wait(start(fork, tmp_path, "again"), tmp_path, "again")
    for index in range(2):
        check_equal(tmp_path / f"again{index}.npz", alone, 1e-6)
    written = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"run.json", "best.npz"} <= written
    assert "state.npz" not in written
    with (tmp_path / "run" / "results.csv").open(newline="") as log:
        assert [row[0] for row in csv.reader(log)] == ["epoch", "0", "1", "2", "3"]


def command(index, addresses, folder, mode, *arguments):
    """What a worker does that runs the command."""
    prepare(index, addresses, folder, mode)
    sys.argv = ["keras-transfer", *arguments]
    main.run()


COMMAND = SCRIPT.replace("work(", "command(")


def run_command(fork, folder, mode, *arguments):
    """Starts the command on two workers."""
    addresses = free_addresses()
    return [fork(COMMAND, HERE, index, addresses, folder, mode, *arguments) for index in range(2)]


@pytest.mark.slow
@pytest.mark.compiled
def test_a_worker_that_is_told_to_stop_keeps_what_is_finished(fork, tmp_path):
    """SIGTERM, as before a machine is taken away; the same command with --resume ends in one SavedModel."""
    for place in range(24):
        folder = tmp_path / "photos" / ("cat", "dog")[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(IMAGES[place].repeat(2, axis=0).repeat(2, axis=1)).save(
            folder / f"{place}.png"
        )
    out, log = tmp_path / "out", tmp_path / "out" / "results.csv"
    small = "--backbone tiny --weights none --image-size 32 --batch-size 8 --no-refit --quiet"
    begin = ["train", str(tmp_path / "photos"), "--out", str(out), *small.split()]
    begin += ["--epochs", "10", "1", "--strategy", "multiworker", "--cache", "off"]
    workers = run_command(fork, tmp_path, "stopped", *begin)
    end = time.monotonic() + 120
    while not log.exists() or len(log.read_text().splitlines()) < 2:
        assert time.monotonic() < end
        assert all(worker.is_alive() for worker in workers)
        time.sleep(0.02)
    os.kill(workers[1].pid, signal.SIGTERM)
    began = time.monotonic()
    told = wait(workers, tmp_path, "stopped")
    assert time.monotonic() - began < 30
    assert "told to stop; what was finished is kept" in told
    assert not (out / "export").exists()

    wait(
        run_command(fork, tmp_path, "again", "train", "--out", str(out), "--resume"),
        tmp_path,
        "again",
    )
    assert [path.name for path in (out / "export").iterdir()] == ["1"]
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["verify"]
    assert not (out / "state.npz").exists()
