"""`kt.check_tpu`: compiles the training step for a TPU that is not there."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any  # data is whatever `fit` takes

import keras
import tensorflow as tf

import keras_transfer
from keras_transfer import layers
from keras_transfer.core import checks, optional
from keras_transfer.graphs import paths
from keras_transfer.machine import engine, tpu_programs, tpu_topologies
from keras_transfer.storage import files
from keras_transfer.studies.tpu import process, report
from keras_transfer.training import inputs

__all__ = ["check_tpu"]


def check_tpu(
    model: keras.Model, data: object, topology: str = "v5e-1", *, batch_size: int | None = None
) -> report.TpuCheck:
    """Says whether a model trains on a TPU and what a step costs, on a machine without a TPU.

    The TPU's own compiler makes a program of the training step, with the layers that train as they are now, and tells
    what it needs; nothing runs and the model is not changed. It takes seconds for a small network and minutes for a
    large one. It needs the extra "jax-tpu" (`pip install "keras-transfer[jax-tpu]"`). Keras trains on TPUs under
    `KERAS_BACKEND=jax`; with TensorFlow as the backend the check runs in a process of its own, with the saved model.

    Args:
        model: A compiled model.
        data: As for `kt.fine_tune`. Only the shapes of a batch matter.
        topology: The slice: "v5e-1" (what Colab has), "v5e-8", "v6e-64", or chips as they are arranged ("v5e:2x4").
        batch_size: Images in a batch, over all chips; by default that of the data.

    Returns:
        What was found: `print` it, or ask `is_fine`, `fits`, `problems`, `memory`, `flops`, `seconds`.

    Raises:
        InputError: If the model cannot run under JAX, the batch cannot be divided, or there is no such slice.
        MissingExtraError: If JAX or libtpu is not installed.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(3))
        >>> check_tpu(model, kt.data.scenes(40, image_size=32), topology="v7x-1")
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `topology` must be a known name. Given: 'v7x'. ...
    """
    target = tpu_topologies.find(topology)
    if not isinstance(model, keras.Model) or not model.compiled:
        raise checks.error(
            "`model` must be a compiled Keras model",
            given=type(model).__name__,
            fix="Use kt.build_model, or kt.compile(model).",
        )
    optional.require("libtpu", extra="jax-tpu", purpose="kt.check_tpu")
    batch, problems = _read_batch(model, data, batch_size)
    rows = keras.tree.flatten(batch)[0].shape[0]
    if rows % target.chips:
        raise checks.error(
            f"batches must be a multiple of {target.chips} images, so that all chips have the same work",
            given=f"{rows} images",
            fix=f"Pass `batch_size={-(-rows // target.chips) * target.chips}`.",
        )

    if engine.is_jax():
        program = tpu_programs.compile_step(model, batch, target)
    else:
        program = _compile_in_a_process(model, batch, topology)
    return report.make(program, target, model=model.name, batch_size=rows, problems=tuple(problems))


def _read_batch(
    model: keras.Model, data: object, batch_size: int | None
) -> tuple[tuple, list[str]]:
    """Returns the shapes and types of a training batch, as a tree, and what is wrong with them on a TPU."""
    found = inputs.check(model, inputs.inputs(data))
    problems = [
        f"images of {part.shape[1:]}, of no fixed size: a TPU compiles a program for every size. Give `image_size`."
        for part in keras.tree.flatten(found.train.element_spec[0])
        if part.shape.rank is None or None in part.shape[1:]
    ]
    first = next(iter((found.sample or found.train).take(1)))
    if batch_size is not None:
        checks.integer(batch_size, name="batch_size")

    def shape(tensor: tf.Tensor) -> tf.TensorSpec:
        rows = tensor.shape[0] if batch_size is None else batch_size
        return tf.TensorSpec((rows, *tensor.shape[1:]), tensor.dtype)

    return keras.tree.map_structure(shape, tuple(first)), problems


def _compile_in_a_process(model: keras.Model, batch: Any, topology: str) -> tpu_programs.Program:
    """Compiles the step of the saved model in a process with Keras on JAX."""
    for path, layer in paths.leaves(model).items():
        if isinstance(layer, layers.SavedModelLayer):
            raise checks.error(
                "a model must run on JAX to train on a TPU",
                given=f"layer '{path}', a TensorFlow SavedModel",
                fix="Use a network of Keras's own layers.",
            )

    root = pathlib.Path(keras_transfer.__file__).parent.parent
    settings = {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "CUDA_VISIBLE_DEVICES": "-1",
        "PYTHONPATH": os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model.save(folder / process.MODEL)
        files.write_text(folder / process.BATCH, json.dumps(process.describe(batch)))
        done = subprocess.run(
            [sys.executable, "-c", process.COMMAND, str(folder), topology],
            env={**os.environ, **settings},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        answer = folder / process.ANSWER
        if not answer.is_file():
            lines = done.stderr.strip().splitlines() or ["nothing was printed"]
            raise RuntimeError(
                f"the TPU compiler's process ended with {done.returncode}: {lines[-1]}"
            )
        told = json.loads(answer.read_text(encoding="utf-8"))
    if "missing" in told:
        raise optional.MissingExtraError(told["missing"])
    if "refused" in told:
        raise checks.error(
            "a model must load under KERAS_BACKEND=jax to train on a TPU",
            given=told["refused"],
            fix="With layers of your own, set KERAS_BACKEND=jax before Keras is imported and check there.",
        )
    return tpu_programs.Program(**{**told, "problems": tuple(told["problems"])})
