"""Exports of JAX, and what it refuses before work starts."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from engine import runs

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.machine import jax_engine

pytestmark = pytest.mark.engine


def test_an_export_answers_as_jax_does(tmp_path):
    model, data = runs.two_tasks("uncertainty")
    images, _ = runs.images(5)
    expected = model.predict(images, verbose=0)
    folder = kt.export(model, tmp_path / "1")

    answers = tf.saved_model.load(str(folder)).signatures["pixels"](images=tf.constant(images))
    np.testing.assert_allclose(answers["kind/probabilities"], expected["kind"], atol=1e-5)
    np.testing.assert_allclose(answers["age/value"], expected["age"], rtol=1e-5, atol=1e-5)
    result = kt.verify(folder, model, data, tolerance=1e-5)
    assert result["images"] == 12
    assert (folder / "assets" / "kind.labels.txt").read_text() == "a\nb\nc\n"


def test_predictions_of_batches_of_several_sizes():
    model, _ = runs.one_task()
    images, _ = runs.images(7)
    whole = model.predict(images, verbose=0)
    rows = [kt.predict(model, images[start : start + 3], verbose=0) for start in (0, 3, 6)]
    given = [
        [[row["probabilities"][name] for name in ("0", "1", "2")] for row in part] for part in rows
    ]
    np.testing.assert_allclose(np.concatenate(given), whole, atol=2e-6)


def test_a_saved_model_is_tensorflows(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(checks.InputError, match="needs Keras's TensorFlow backend. Given: jax"):
        kt.backbone(str(tmp_path))


def test_what_was_compiled_is_kept_in_the_users_cache(tmp_path):
    code = (
        "import jax, sys; from keras_transfer.machine import engine; "
        "print(jax.config.jax_compilation_cache_dir); jax.jit(lambda x: x + 1)(1)"
    )
    environment = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "HOME": str(tmp_path)}
    environment["PYTHONPATH"] = ":".join(sys.path)
    run = {"env": environment, "capture_output": True, "text": True, "check": True}
    printed = subprocess.run([sys.executable, "-c", code], **run).stdout
    folder = tmp_path / ".cache" / "keras_transfer" / "jax"
    assert printed.strip() == str(folder)
    assert any(folder.iterdir())

    run["env"] = environment | {jax_engine.FOLDER: str(tmp_path / "own")}
    assert subprocess.run([sys.executable, "-c", code], **run).stdout.strip().endswith("own")
