"""The command on several processes of JAX: joined by TF_CONFIG, ended and resumed together."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from errors import told
from PIL import Image
from training import test_ray_workers

import keras_transfer as kt

pytestmark = pytest.mark.engine

WORDS = "--backbone tiny --weights none --image-size 32 --batch-size 8 --no-refit --quiet"
SMALL = WORDS.split()


def test_processes_need_addresses(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    told(lambda: kt.strategy("multiworker"), "TF_CONFIG must name the workers")


def start(folder, *arguments):
    """Starts the command on two processes, whose lines go into files."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    workers = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    settings = {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    processes = []
    for index in range(2):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        settings["TF_CONFIG"] = json.dumps(config)
        with (folder / f"{index}.log").open("w") as log:
            command = [sys.executable, "-m", "keras_transfer", "train", *arguments]
            options = {"stdout": log, "stderr": subprocess.STDOUT}
            processes.append(subprocess.Popen(command, env=os.environ | settings, **options))
    return processes


def lines(folder, index):
    return (folder / f"{index}.log").read_text()


@pytest.mark.slow
def test_a_killed_process_ends_the_other_and_both_go_on(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype="uint8")
    for place, image in enumerate(pixels):
        folder = tmp_path / "photos" / ("cat", "dog")[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{place}.png")
    out, log = tmp_path / "out", tmp_path / "out" / "results.csv"
    options = ["--out", str(out), "--epochs", "2", "9", "--strategy", "multiworker"]
    processes = start(tmp_path, str(tmp_path / "photos"), *options, *SMALL)
    try:
        end = time.monotonic() + 120
        while not log.exists() or len(log.read_text().splitlines()) < 5:
            assert time.monotonic() < end, lines(tmp_path, 0)[-3000:]
            assert processes[0].poll() is None, lines(tmp_path, 0)[-3000:]
            time.sleep(0.02)
        processes[1].send_signal(signal.SIGKILL)
        processes[1].wait()
        assert processes[0].wait(30) == 1
        assert lines(tmp_path, 0).count(" has ended, so this one ends: start all") == 1
        assert "Traceback" not in lines(tmp_path, 0)

        processes = start(tmp_path, "--out", str(out), "--resume")
        codes = [process.wait(200) for process in processes]
        assert codes == [0, 0], lines(tmp_path, 0)[-3000:] + lines(tmp_path, 1)[-3000:]
    finally:
        for process in processes:
            process.kill()
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["verify"]
    assert [path.name for path in (out / "export").iterdir()] == ["1"]


@pytest.mark.slow
def test_ray_starts_killed_processes_again(tmp_path):
    """As under TensorFlow: what it trains has two tasks with missing labels."""
    test_ray_workers.test_two_workers_one_of_which_is_killed_end_where_one_process_does(tmp_path)
