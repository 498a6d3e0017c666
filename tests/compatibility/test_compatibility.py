"""Files that older versions wrote load and answer as they did; `make_files.py` shows how they were made."""

import pathlib
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from compatibility import make_files

import keras_transfer as kt

pytestmark = pytest.mark.compiled

VERSIONS = ["0.1.0"]


@pytest.fixture(scope="module", params=VERSIONS)
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    with zipfile.ZipFile(pathlib.Path(__file__).with_name(f"{request.param}.zip")) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def answers(folder):
    with np.load(folder / "answers.npz", allow_pickle=True) as saved:  # labels are bytes objects
        return dict(saved)


@pytest.fixture(scope="module")
def exported(folder, answers):
    signature = tf.saved_model.load(str(folder / "export")).signatures["pixels"]
    values = signature(tf.constant(answers["images"]))
    return {name: value.numpy() for name, value in values.items()}


@pytest.fixture(scope="module")
def same(answers, exported):
    """Compares with what was written: to the bit, or closely on a processor that rounds differently.

    The export runs none of the package's code, so it shows how this processor rounds.
    """
    is_exact = all(
        np.array_equal(value, answers[f"export {name}"]) for name, value in exported.items()
    )

    def compare(actual, expected):
        if is_exact:
            np.testing.assert_array_equal(actual, expected)
        else:
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)

    return compare


def test_the_export_answers_as_it_did(answers, exported, same):
    saved = {name.removeprefix("export ") for name in answers if name.startswith("export ")}
    assert set(exported) == saved
    for name, value in exported.items():
        if value.dtype == object:
            assert value.tolist() == answers[f"export {name}"].tolist()
        else:
            same(value, answers[f"export {name}"])


def test_the_keras_file_answers_as_it_did(folder, answers, same):
    model = kt.load_model(folder / "model.keras")

    values = model.predict(answers["images"], verbose=0)

    assert set(values) == {"kind", "age"}
    for name, value in values.items():
        same(value, answers[f"keras {name}"])


def test_the_run_folder_gives_its_best_weights_to_a_model_built_anew(folder, answers, same):
    backbone = kt.backbone(make_files.small_trunk(), preprocess="tf")
    model = kt.build_model(backbone, make_files.tasks(), balancing="uncertainty")
    before = model.predict(answers["images"], verbose=0)

    kt.training.load_best(model, folder / "run")

    after = model.predict(answers["images"], verbose=0)
    for name, value in after.items():
        assert not np.array_equal(value, before[name])
        same(value, answers[f"keras {name}"])


def test_the_keras_file_goes_on_training(folder, answers):
    model = kt.load_model(folder / "model.keras")
    targets = {"kind": np.arange(8) % 3, "age": np.arange(8.0)[:, None]}

    history = model.fit(answers["images"], targets, epochs=1, verbose=0).history

    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert {"loss", "kind_loss", "age_loss", "kind_accuracy", "age_mae"} <= set(history)
