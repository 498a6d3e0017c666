"""Ray starts the workers of a run; what they do together is tested with the strategies."""

import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import optional
from keras_transfer.machine import ray_cluster


def nothing(worker):
    pass


def test_without_ray_one_line_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(optional.MissingExtraError) as failed:
        kt.training.ray_trainer(nothing, workers=2, run_dir=tmp_path / "run")
    assert str(failed.value).endswith('pip install "keras-transfer[ray]".')
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"workers": 0}, "`workers` must be"),
        ({"workers": 2, "cpus": 0}, "`cpus` must be"),
        ({"workers": 2, "gpus": -1}, "`gpus` must be"),
        ({"workers": 2, "restarts": 0.5}, "`restarts` must be"),
        ({"workers": 2, "train": "nothing"}, "`train` must be a function"),
    ],
)
def test_what_cannot_work_is_told_before_ray_starts(wrong, told, tmp_path):
    arguments = {"train": nothing, "run_dir": tmp_path / "run", **wrong}
    with pytest.raises(kt.InputError, match=told):
        kt.training.ray_trainer(arguments.pop("train"), **arguments)


def test_importing_the_package_loads_no_ray(run_code):
    done = run_code("import sys, keras_transfer.training\nassert 'ray' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_workers_get_the_variables_that_tensorflow_reads_when_it_is_imported(monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    monkeypatch.setenv("UNRELATED", "1")
    given = ray_cluster.variables({"TF_NUM_INTRAOP_THREADS": "2", "MINE": "3"})
    assert (given["TF_NUM_INTRAOP_THREADS"], given["MINE"]) == ("2", "3")
    assert "UNRELATED" not in given


RUN = """
import contextlib, os, pathlib, signal, sys
import keras, numpy as np, tensorflow as tf
import keras_transfer as kt

KILLED = pathlib.Path(sys.argv[1]) / "killed"


class KillOnce(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2 and not KILLED.exists():
            KILLED.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def train(worker=None):
    strategy = kt.strategy("multiworker") if worker else None
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 32, 32, 3), np.uint8)
    labels = {
        "kind": [None if row % 4 == 0 else "abc"[row % 3] for row in range(40)],
        "count": [np.nan if row % 5 == 0 else float(row % 7) for row in range(40)],
    }
    data = kt.data.from_arrays(images, labels, validation=8 / 40, batch_size=16)
    with strategy.scope() if strategy else contextlib.nullcontext():
        keras.utils.set_random_seed(0)
        image = keras.Input((32, 32, 3))
        x = keras.layers.Conv2D(8, 3, strides=2, name="block1_conv")(image)
        x = keras.layers.BatchNormalization(name="block1_norm")(x)
        x = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="block2_conv")(x)
        trunk = kt.backbone(keras.Model(image, x, name="small"), preprocess="0-1")
        tasks = {"kind": kt.tasks.Classification(["a", "b", "c"]), "count": kt.tasks.Regression()}
        model = kt.build_model(trunk, tasks, balancing="uncertainty", seed=0)
    options = {"epochs": (2, 2), "learning_rate": (1e-3, 1e-3), "refit": False, "verbose": 2}
    if worker:
        options |= {"run_dir": worker.run_dir, "resume": worker.resume}
        is_first = worker.rank == 1
        options["callbacks"] = [*worker.callbacks, *([KillOnce()] if is_first else [])]
    kt.fine_tune(model, data, seed=0, calibrate=False, **options)
    if worker is None or worker.rank == 0:
        folder = pathlib.Path(sys.argv[1]) if worker is None else worker.run_dir
        values = [keras.ops.convert_to_numpy(each) for each in model.weights]
        np.savez(folder / "weights.npz", *values)
"""


def run(code, folder):
    folder.mkdir()
    root = pathlib.Path(kt.__file__).parent.parent
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RUN + code), str(folder)],
        env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]


def weights(file):
    with np.load(file) as arrays:
        return [arrays[name] for name in arrays.files]


@pytest.mark.engine
@pytest.mark.slow
def test_two_workers_one_of_which_is_killed_end_where_one_process_does(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: extra ray")
    run("train()", tmp_path / "one")
    code = """
    sys.argv[1] = os.path.abspath(sys.argv[1])
    folder = sys.argv[1]
    kt.training.ray_trainer(train, workers=2, run_dir=folder + "/run").fit()
    """
    run(textwrap.dedent(code), tmp_path / "two")
    assert (tmp_path / "two" / "killed").exists()
    one, two = (
        weights(tmp_path / "one" / "weights.npz"),
        weights(tmp_path / "two" / "run" / "weights.npz"),
    )
    for alone, together in zip(one, two, strict=True):
        np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)
    names = {each.name for each in (tmp_path / "two" / "run").iterdir()}
    assert {"run.json", "weights.npz"} <= names
    assert "ray" not in names  # the state of a run that is over
