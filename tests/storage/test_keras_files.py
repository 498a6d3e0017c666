"""What is let through to Keras, and what is not; refusing runs and writes nothing."""

import json
import zipfile

import keras
import pytest
import tensorflow as tf

from keras_transfer.core import checks, optional
from keras_transfer.storage import archives, keras_files, saved_models

pytestmark = pytest.mark.compiled

LAMBDA = {
    "class_name": "Lambda",
    "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEA"}}},
}


def written(path, config, **entries):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (LAMBDA, "a lambda"),
        ({"class_name": "SavedModelLayer"}, "a SavedModel"),
        ({"class_name": "TFSMLayer"}, "a SavedModel"),
        ({"class_name": "TorchModuleWrapper"}, "a torch module"),
    ],
)
def test_code_needs_trust_however_deep_it_lies(tmp_path, part, kind):
    file = written(
        tmp_path / "a.keras", {"class_name": "Functional", "config": {"layers": [[{"a": part}]]}}
    )
    with pytest.raises(
        checks.InputError, match=f"a model file must not carry code.*with {kind}.*trust=True"
    ):
        keras_files.admit(file, trust=False)
    assert part in keras_files.admit(file, trust=True)


def test_a_loss_is_code_only_where_it_is_loaded(tmp_path):
    file = written(
        tmp_path / "a.keras", {"class_name": "Functional", "compile_config": {"loss": LAMBDA}}
    )
    with pytest.raises(checks.InputError, match="must not carry code"):
        keras_files.admit(file, trust=False)
    assert len(keras_files.admit(file, trust=False, compiled=False)) == 1


def test_a_lambda_of_a_registered_function_is_no_code(tmp_path):
    function = {"class_name": "function", "config": "relu", "registered_name": "function"}
    file = written(tmp_path / "a.keras", {"class_name": "Lambda", "config": {"function": function}})
    assert function in keras_files.admit(file, trust=False)


def test_embedded_saved_models_are_kept_only_when_trusted(tmp_path):
    module = tf.Module()
    module.__call__ = tf.function(lambda x: x * 3.25, input_signature=[tf.TensorSpec([None, 4])])
    tf.saved_model.save(module, str(tmp_path / "m"))
    file = tmp_path / "a.keras"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional"}))
        for path in (tmp_path / "m").rglob("*"):
            if path.is_file():
                archive.write(
                    path, f"assets/layers/a/saved_model/{path.relative_to(tmp_path / 'm')}"
                )
    before = set(saved_models._COPIES)
    with pytest.raises(
        checks.InputError, match="must not carry code.*with a SavedModel.*trust=True"
    ):
        keras_files.admit(file, trust=False)
    assert set(saved_models._COPIES) == before
    keras_files.admit(file, trust=True)
    (new,) = set(saved_models._COPIES) - before
    assert new == saved_models.keep(tmp_path / "m")
    assert saved_models.kept(new).parent == archives.scratch()


def test_files_that_are_no_keras_files(tmp_path):
    file = tmp_path / "a.keras"
    for content in ("[1]", "{", '"text"'):
        with pytest.raises(checks.InputError, match="`source` must be a whole Keras file"):
            keras_files.admit(written(file, content), trust=True, argument="source")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("other.json", "{}")
    with pytest.raises(checks.InputError, match="must hold config.json"):
        keras_files.admit(file, trust=True)
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(file)
    file.write_bytes(file.read_bytes()[:-60])
    with pytest.raises(checks.InputError, match="must be a whole Keras file") as error:
        keras_files.admit(file, trust=True)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("trust", [True, False])
def test_a_zip_that_would_write_elsewhere(tmp_path, trust):
    (tmp_path / "inside").mkdir()
    entries = {
        "assets/a/saved_model/saved_model.pb": "",
        "assets/a/saved_model/../../../../../evil": "boo",
    }
    file = written(tmp_path / "inside" / "a.keras", {"class_name": "Functional"}, **entries)
    before = set(archives.scratch().rglob("*"))
    with pytest.raises(checks.InputError, match="would leave the folder"):
        keras_files.admit(file, trust=trust)
    assert set(archives.scratch().rglob("*")) == before
    assert [path.name for path in tmp_path.rglob("*")] == ["inside", "a.keras"]
    assert not list(archives.scratch().parent.glob("evil"))


def test_keras_hub_is_asked_for_by_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "keras_hub", None)
    part = {"module": "keras_hub.src.models.x", "class_name": "X", "registered_name": "keras_hub>X"}
    file = written(tmp_path / "a.keras", {"class_name": "Functional", "config": {"layers": [part]}})
    with pytest.raises(
        optional.MissingExtraError, match=r"Loading a.keras needs .*keras-transfer\[kerashub\]"
    ):
        keras_files.admit(file, trust=False)
