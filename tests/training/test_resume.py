"""A run that was killed goes on and ends as if it had not been; the processes are really killed."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_transfer.training import state

# Three stages with dropout, shuffling, augmentation, a moving average, early stopping, a schedule, rates by layer and
# mixed precision, what frozen layers give kept; then again on all images.
SCRIPT = """
import sys, numpy as np, keras, keras_transfer as kt
from keras_transfer.core import paths
folder, out, resume = sys.argv[1], sys.argv[2], sys.argv[3] == "resume"
keras.mixed_precision.set_global_policy("mixed_bfloat16")
keras.utils.set_random_seed(1)
draw = np.random.default_rng(0)
labels = draw.integers(0, 3, 60)
images = (80 * labels[:, None, None, None] + draw.integers(0, 80, (60, 12, 12, 3))).astype("uint8")
data = kt.data.from_arrays(images, labels, validation=0.2, test=0.1, seed=3, batch_size=16)
x = inputs = keras.Input((12, 12, 3))
x = keras.layers.Rescaling(1 / 255)(x)
for at in (1, 2, 3):
    x = keras.layers.Conv2D(4, 3, strides=at, padding="same", activation="relu", name=f"conv{at}")(x)
    x = keras.layers.BatchNormalization(name=f"norm{at}")(x)
x = keras.layers.Dropout(0.3)(keras.layers.GlobalAveragePooling2D()(x))
model = keras.Model(inputs, keras.layers.Dense(3, dtype="float32", name="head")(x))
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss, metrics=["accuracy"])
stages = [
    kt.Stage(epochs=2, train="head", learning_rate=1e-2),
    kt.Stage(epochs=3, train="conv3", learning_rate=1e-3, ema=0.9, schedule="cosine", warmup=0.2, weight_decay=1e-3),
    kt.Stage(epochs=4, train="all", learning_rate=1e-3, decay=0.7, early_stopping=2, clip_norm=1.0),
]
options = {"seed": 5, "augment": "light", "views": 2, "refit": True, "run_dir": folder, "resume": resume, "verbose": 0}
history = kt.fine_tune(model, data, stages=stages, **options)
np.savez(out, **{path: np.asarray(value) for path, value in paths.variables(model).items()})
print(history.history["loss"], history.epoch, history.record["refit"]["history"], history.record["insight"])
"""


KILLS = int(os.environ.get("KILLS", 20))


def start(folder, out, resume="new"):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", SCRIPT, str(folder), str(out), resume]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-2000:]
    return printed


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    process = start(folder / "run", folder / "weights.npz")
    wait_for(process, folder / "run", 0.0)
    started = time.time()
    printed = finish(process)
    with np.load(folder / "weights.npz") as saved:
        return {name: saved[name] for name in saved.files}, printed, time.time() - started


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_bit_equal(unbroken, tmp_path):
    """One run after the other is killed at a random moment, taken up again, and killed again, 20 kills in all."""
    expected, printed, seconds = unbroken
    moments = random.Random(0)
    kills, places = 0, set()
    while kills < KILLS:
        folder, out = tmp_path / f"run{kills}", tmp_path / "weights.npz"
        process = start(folder, out)
        while True:
            # Importing takes a good part of the time; a kill there would prove nothing.
            process_ends = wait_for(process, folder, moments.uniform(0.0, 0.4 * seconds))
            if process_ends or kills == KILLS:
                break
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            told = state.read(folder)
            places.add((told[1]["chosen"] is None, told[1]["at"]["stage"], told[1]["at"]["epoch"]) if told else None)
            process = start(folder, out, "resume" if told else "new")
        resumed = finish(process)
        with np.load(out) as saved:
            for name, value in expected.items():
                np.testing.assert_array_equal(saved[name], value, err_msg=name)
        assert resumed.splitlines()[-1] == printed.splitlines()[-1]
    assert len(places) > 3, f"the kills came at {places} only"


def wait_for(process, folder, delay):
    """Waits until training has begun, then for `delay`; says whether the process ended by itself."""
    begun, deadline = time.time(), time.time() + 300
    record = folder / "run.json"  # of this process, not of one that was killed before
    while not (record.is_file() and record.stat().st_mtime > begun) and process.poll() is None:
        assert time.time() < deadline
        time.sleep(0.01)
    try:
        process.wait(timeout=delay)
    except subprocess.TimeoutExpired:
        return False
    return True
