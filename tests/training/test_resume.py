"""A run that was killed goes on and ends as if it had not been; the processes are really killed."""

import os
import pathlib
import random
import time

import numpy as np
import pytest

from keras_transfer.training.run import state

# Three stages with dropout, shuffling, augmentation, a moving average, early stopping, a schedule, rates by layer and
# mixed precision, what frozen layers give kept; then again on all images. Functions run eagerly: compiled runs that go
# on are in tests/cli/test_main.py.
SCRIPT = """
import numpy as np, keras, tensorflow as tf, keras_transfer as kt
from keras_transfer.graphs import paths
tf.config.run_functions_eagerly(True)
folder, out, resume = arguments[0], arguments[1], arguments[2] == "resume"
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
told = [history.history["loss"], history.epoch, history.record["refit"]["history"], history.record["insight"]]
with open(out + ".txt", "w") as file:
    print(told, file=file)
"""


KILLS = int(os.environ.get("KILLS", 10))


def finish(process, out):
    """Waits for the end; returns the weights, and losses, epochs and curves as text."""
    process.join(timeout=300)
    assert process.exitcode == 0
    with np.load(out) as saved:
        return {name: saved[name] for name in saved.files}, pathlib.Path(f"{out}.txt").read_text()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, fork):
    folder = tmp_path_factory.mktemp("unbroken")
    process = fork(SCRIPT, folder / "run", folder / "weights.npz", "new")
    wait_for(process, folder / "run", 0.0)
    started = time.time()
    return *finish(process, folder / "weights.npz"), time.time() - started


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_bit_equal(unbroken, tmp_path, fork):
    """One run after the other is killed at a random moment, taken up again, and killed again.

    That goes on until there were ten kills at four places in the run: where a moment is depends on the machine.
    """
    expected, printed, seconds = unbroken
    moments = random.Random(0)
    kills, places = 0, set()

    def is_enough():
        return (kills >= KILLS and len(places) > 3) or kills >= 4 * KILLS

    while not is_enough():
        folder, out = tmp_path / f"run{kills}", tmp_path / "weights.npz"
        process = fork(SCRIPT, folder, out, "new")
        while True:
            # A kill before training would prove nothing.
            process_ends = wait_for(process, folder, moments.uniform(0.0, 0.4 * seconds))
            if process_ends or is_enough():
                break
            process.kill()
            process.join()
            kills += 1
            saved = state.read(folder)
            places.add(
                (
                    saved.is_of_second_run,
                    saved.facts["at"]["stage"],
                    saved.facts["at"]["epoch"],
                )
                if saved
                else None
            )
            process = fork(SCRIPT, folder, out, "resume" if saved else "new")
        found, resumed = finish(process, out)
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)
        assert resumed == printed
    assert len(places) > 3, f"the kills came at {places} only"


def wait_for(process, folder, delay):
    """Waits until training has begun, then for `delay`; says whether the process ended by itself."""
    begun, deadline = time.time(), time.time() + 300
    record = folder / "run.json"  # of this process, not of one that was killed before
    while not (record.is_file() and record.stat().st_mtime > begun) and process.is_alive():
        assert time.time() < deadline
        time.sleep(0.01)
    process.join(timeout=delay)
    return not process.is_alive()
