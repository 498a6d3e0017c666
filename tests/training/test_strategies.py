"""`kt.fine_tune` under a distribution strategy: two virtual devices give what one gives."""

import pathlib

import keras
import numpy as np
import pytest

import keras_transfer as kt

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (30, 16, 16, 3), dtype="uint8")
KIND, AGE = np.arange(30) % 3, RNG.normal(5, 2, 30).astype("float32")
TASKS = {
    "one": lambda: kt.tasks.Classification(3),
    "two": lambda: {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()},
}
STAGES = [
    kt.Stage(epochs=2, train="head", optimizer="sgd", learning_rate=1e-2),
    kt.Stage(
        epochs=2,
        train="block2*",
        optimizer="sgd",
        learning_rate=1e-2,
        decay=0.5,
        schedule="cosine",
        ema=0.9,
    ),
]


def model_of(tasks):
    keras.utils.set_random_seed(0)
    x = image = keras.Input((16, 16, 3))
    for number in (1, 2):
        x = keras.layers.Conv2D(6, 3, strides=2, activation="relu", name=f"block{number}_conv")(x)
    return kt.build_model(
        kt.backbone(keras.Model(image, x, name="small"), preprocess="tf"), TASKS[tasks]()
    )


def data_of(tasks):
    labels = KIND if tasks == "one" else {"kind": KIND, "age": AGE}
    return kt.data.from_arrays(PIXELS, labels, validation=6 / 30, batch_size=8, seed=0)


SCRIPT = """
import sys, contextlib
import numpy as np, tensorflow as tf
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
sys.path.insert(0, sys.argv[1])
import keras, keras_transfer as kt
import test_strategies as here
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for tasks, cache in (("one", "off"), ("one", "memory"), ("one", "disk"), ("two", "memory")):
    found, losses = [], []
    for strategy in (None, mirrored):
        with contextlib.nullcontext() if strategy is None else strategy.scope():
            model = here.model_of(tasks)
        where = kt.training.Cache(where="disk", folder=sys.argv[2]) if cache == "disk" else cache
        history = kt.fine_tune(model, here.data_of(tasks), stages=here.STAGES, cache=where, seed=0, verbose=0)
        assert bool(history.record.get("cache")) == (cache != "off"), history.record["notes"]
        found.append(model.get_weights())
        losses.append(history.history["loss"])
    worst = max(float(np.abs(one - other).max()) for one, other in zip(*found) if one.dtype.kind == "f")
    assert worst < 2e-5, (tasks, cache, worst)
    np.testing.assert_allclose(*losses, rtol=1e-4)
with mirrored.scope():
    model = here.model_of("one")
    kt.compile(model, optimizer="sgd")
staged = kt.TwoStage(unfreeze_at=1, unfreeze="block2*", verbose=False)
model.fit(here.data_of("one").train, epochs=2, callbacks=[staged], shuffle=False, verbose=0)
print("equal")
"""


@pytest.mark.slow
def test_two_devices_are_one(run_code, tmp_path):
    done = run_code(SCRIPT, pathlib.Path(__file__).parent, tmp_path / "cache")
    assert done.stdout.split()[-1:] == ["equal"], done.stdout[-2000:] + done.stderr[-3000:]
