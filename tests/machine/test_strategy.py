"""`kt.strategy`: which devices train, and what it refuses. Training on several is in training/test_strategies.py."""

import keras
import pytest
from errors import told

import keras_transfer as kt
from keras_transfer.machine import strategy


def test_one_device_is_tensorflows_default(capsys):
    with kt.strategy("one").scope():
        variable = keras.Variable(1.0)
    assert strategy.made() is None  # nothing is shared, so another may follow
    assert float(variable) == 1
    assert capsys.readouterr().out == "keras_transfer: Strategy 'one': trains on the CPU.\n"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"name": "miror"}, ("`strategy` must be a known name", "'mirrored'")),
        ({"name": "tpu"}, ("needs a TPU", "Runtime > Change runtime type", "KERAS_BACKEND=jax")),
        ({"name": "mirrored", "devices": 0}, ("`devices` must be a whole number",)),
        ({"name": "mirrored", "devices": []}, ("`devices` must be a number or a list",)),
        ({"name": "mirrored", "devices": ["CPU:9"]}, ("`devices` must be a known name", "'CPU:0'")),
        ({"name": "multiworker", "devices": 2}, ("`devices` must be left out",)),
        ({"name": "multiworker"}, ("TF_CONFIG must name the workers", "Given: nothing")),
    ],
    ids=str,
)
def test_what_cannot_work_is_one_line(arguments, parts, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    told(lambda: kt.strategy(**arguments), *parts)
    assert strategy.made() is None


def test_a_tpu_that_tensorflow_cannot_use_is_told(monkeypatch, capsys):
    monkeypatch.setattr(strategy, "_has_tpu", lambda: True)
    kt.strategy("auto")
    assert "has a TPU, which this TensorFlow cannot use. In Colab" in capsys.readouterr().out


def test_virtual_devices_after_the_first_computation_are_told():
    keras.ops.add(1, 1)
    told(lambda: kt.strategy("auto", devices=2), "virtual devices must be made before")
