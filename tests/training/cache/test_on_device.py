"""Cached rows on an accelerator train as those in main memory do, to the bit. Here the CPU poses as one."""

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.machine import engine
from keras_transfer.training.cache import on_device

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 16, 16, 3), dtype="uint8")
KIND = [None if at % 4 == 0 else "abc"[at % 3] for at in range(12)]
AGE = np.where(np.arange(12) % 3 == 0, np.nan, np.arange(12.0))
LINE = "lie on the accelerator"


def network():
    """Where `block3` trains and what lies below does not, two tensors cross."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="block1_conv")(image)
    y = keras.layers.Conv2D(4, 3, padding="same", name="block2_conv")(x)
    y = keras.layers.Conv2D(4, 3, padding="same", name="block3_conv")(y)
    y = keras.layers.Conv2D(4, 1, name="block4_conv")(y)
    return kt.backbone(keras.Model(image, keras.layers.Add()([x, y])), preprocess="tf")


def train(**options):
    tasks = {"kind": kt.tasks.Classification(["a", "b", "c"], dropout=0.3)}
    tasks["age"] = kt.tasks.Regression()
    model = kt.build_model(network(), tasks, balancing="uncertainty", seed=0)
    labels = {"kind": KIND, "age": AGE}
    data = kt.data.from_arrays(PIXELS, labels, validation=0.2, batch_size=5, seed=0)
    stages = [
        kt.Stage(epochs=2, train="head", learning_rate=1e-2),
        kt.Stage(epochs=2, train="block3_conv", learning_rate=1e-3),
    ]
    history = kt.fine_tune(model, data, stages=stages, refit=False, seed=0, verbose=0, **options)
    lines = [line for line in history.record["notes"] if LINE in line]
    return model, history, lines


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_rows_on_the_device_are_rows_in_memory(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_TRANSFER_CACHE", str(tmp_path))
    options = {"augment": "light", "views": 2, "cache": cache}
    host, expected, lines = train(**options)
    assert not lines  # a CPU needs none of this

    monkeypatch.setattr(engine, "free_device_memory", lambda: 10**9)
    put = []
    feed = on_device.feed
    monkeypatch.setattr(on_device, "feed", lambda *all: put.append(feed(*all)) or put[-1])
    device, history, lines = train(**options)
    assert len(lines) == 2
    assert [len(part.inputs) for part in put] == [1, 1]
    assert [sum("read_rows" in layer.name for layer in part.layers) for part in put] == [2, 2]
    assert not any("rows" in variable.path for part in put for variable in part.variables)
    for value, other in zip(device.get_weights(), host.get_weights(), strict=True):
        np.testing.assert_array_equal(value, other)
    assert history.history == expected.history


def test_what_does_not_fit_stays(monkeypatch):
    monkeypatch.setattr(engine, "free_device_memory", lambda: 10_000)
    lines = train(cache="memory")[
        2
    ]  # 12 rows of two vectors of 4 values fit; 12 of two maps of 8 x 8 x 4 do not
    assert len(lines) == 1
