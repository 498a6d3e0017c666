"""Training steps are compiled by the TPU's compiler; no TPU is needed."""

import os

import jax
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.graphs import compiling, nodes
from keras_transfer.machine import tpu_programs, tpu_topologies
from keras_transfer.training.cache import on_device

pytest.importorskip("libtpu", reason="the TPU compiler is not installed: extra jax-tpu")

pytestmark = pytest.mark.engine


@keras.saving.register_keras_serializable("tests")
class Planted(keras.layers.Layer):
    """A layer that runs a function of its own when it is traced."""

    def __init__(self, kind="", **options):
        super().__init__(**options)
        self.kind = kind

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, inputs.dtype)

    def call(self, inputs):
        return inputs + FAULTS[self.kind](inputs)


def ask_host(x):
    shape = jax.ShapeDtypeStruct((), "float32")
    return jax.pure_callback(lambda: np.float32(1), shape)


def widen(x):
    with jax.enable_x64(True):
        return jax.lax.stop_gradient(x).astype("float64").sum().astype("float32")


FAULTS = {
    "host": ask_host,
    "print": lambda x: jax.debug.print("{}", x[0, 0, 0, 0]) or 0.0,
    "wide": widen,
    "mask": lambda x: keras.ops.mean(x[x > 0]),
    "branch": lambda x: 1.0 if keras.ops.mean(x) > 0 else 0.0,
    "numpy": lambda x: float(np.asarray(x).mean()),
}


def network(fault=None):
    image = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, strides=4, name="conv")(image)
    if fault is not None:
        x = Planted(fault, name="planted")(x)
    trunk = keras.Model(image, keras.layers.ReLU(name="relu")(x), name="small")
    return kt.build_model(kt.backbone(trunk, preprocess="0-1"), kt.tasks.Classification(3))


def batch(rows=32):
    return jax.ShapeDtypeStruct((rows, 32, 32, 3), "uint8"), jax.ShapeDtypeStruct((rows,), "int32")


def compile_step(model, topology, rows=32):
    return tpu_programs.compile_step(model, batch(rows), tpu_topologies.find(topology))


def test_chips_share_the_work_and_sum_the_gradient_of_each_weight():
    model = network()
    one, four = (compile_step(model, name) for name in ("v5e-1", "v5e-4"))
    assert one.problems == four.problems == ()
    assert (one.all_reduces, one.exchanged) == (0, 0)
    assert four.all_reduces >= 1
    weights = 4 * model.count_params()
    assert (
        weights <= four.exchanged <= weights + 64
    )  # and a few numbers for the loss and the metrics
    assert 3.8 < one.flops / four.flops < 4.2
    assert 0 < four.seconds < one.seconds


def test_kept_rows_lie_on_the_chip_once():
    """What a step hands on unchanged is not copied."""
    model = network()
    outputs = {node.operation.name: node.outputs[0] for node in nodes.nodes(model)}
    maps = outputs["relu"]
    rows = tf.zeros((30_000, *maps.shape[1:]))
    part = on_device.feed(model, [maps], [rows])
    compiling.compile_like(part, model)
    numbers = jax.ShapeDtypeStruct((32,), "int32")
    program = tpu_programs.compile_step(part, (numbers, numbers), tpu_topologies.find("v5e-1"))
    assert program.problems == ()
    size = 4 * int(np.prod(rows.shape))
    assert size < program.memory < 1.3 * size  # lanes of a chip are wider than 8 channels at times


def test_a_batch_that_is_too_large_says_what_it_would_need():
    program = compile_step(network(), "v5e-1", rows=1 << 21)
    assert program.problems == ()
    assert program.memory > tpu_topologies.find("v5e-1").memory


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("host", "call to the host (pure_callback)"),
        ("print", "call to the host (debug_"),
        ("wide", "float64 values"),
        ("mask", "shape depends on values"),
        ("branch", "`if` or `while` depends on values"),
        ("numpy", "NumPy or TensorFlow computes"),
    ],
)
def test_a_planted_fault_is_named_with_its_layer_and_line(fault, told):
    (problem,) = compile_step(network(fault), "v5e-1").problems
    assert told in problem
    assert "in layer 'planted'" in problem
    assert f"({os.path.basename(__file__)}:" in problem
