"""`.keras` files as sources: equal features, and nothing executed or written of a file that is not sound."""

import json
import pathlib
import shutil
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.backbones import files
from keras_transfer.core import checks
from keras_transfer.storage import saved_models

pytestmark = pytest.mark.compiled

backbone = kt.backbone
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype="uint8")


def network():
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, name="conv")(image)
    x = keras.layers.ReLU(name="last")(x + keras.layers.Conv2D(4, 1, name="skip")(x))
    return keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x)), name="own")


def saved(model, folder):
    model.save(folder / "own.keras")
    return folder / "own.keras"


def run(model, images):
    return np.asarray(model(images.astype("float32"), training=False))


def test_a_file_equals_the_model_that_was_saved(tmp_path):
    model = network()
    model.compile("adam", "mse")
    found = backbone(saved(model, tmp_path), preprocess="tf")
    np.testing.assert_array_equal(run(found, PIXELS), run(backbone(model, preprocess="tf"), PIXELS))
    assert found.source["name"] == "own"
    assert backbone(str(tmp_path / "own.keras"), preprocess="tf", image_size=24).output.shape == (
        None,
        11,
        11,
        4,
    )


def test_a_saved_backbone_is_a_source(tmp_path):
    first = backbone("tiny", weights=None)
    again = backbone(saved(first, tmp_path))
    assert again.source == first.source
    np.testing.assert_array_equal(
        run(again, np.tile(PIXELS, (1, 2, 2, 1))), run(first, np.tile(PIXELS, (1, 2, 2, 1)))
    )


def test_a_saved_model_of_the_package_is_a_source(tmp_path):
    first = backbone("tiny", weights=None)
    again = backbone(saved(kt.build_model(first, kt.tasks.Classification(["a", "b"])), tmp_path))
    assert (again.source, again.blocks) == (first.source, first.blocks)


@keras.saving.register_keras_serializable("tests_files")
class Own(keras.layers.Layer):
    def call(self, inputs):
        return inputs


def test_classes_that_are_registered_and_some_that_are_not(tmp_path):
    image = keras.Input((8, 8, 3))
    file = saved(
        keras.Model(image, Own(name="mine")(keras.layers.Conv2D(2, 3, activation="relu")(image))),
        tmp_path,
    )
    assert isinstance(files.read_keras(file, trust=False).get_layer("mine"), Own)
    objects = keras.saving.get_custom_objects()
    del objects["tests_files>Own"]
    try:
        message = r"must be registered before it is loaded. Given: '.*own.keras' with 'tests_files>Own'. Import the"
        with pytest.raises(checks.InputError, match=message):
            files.read_keras(file, trust=False)
    finally:
        objects["tests_files>Own"] = Own


def test_a_class_of_the_package_that_is_not_loaded_yet(tmp_path, monkeypatch):
    model = kt.build_model(backbone("tiny", weights=None), kt.tasks.Classification(2))
    file = saved(model, tmp_path)
    monkeypatch.delitem(keras.saving.get_custom_objects(), "keras_transfer>Classification")
    with pytest.raises(
        checks.InputError, match=r"Give the loaded model: kt.backbone\(kt.load_model\(path\)\)"
    ):
        files.read_keras(file, trust=False)


def test_a_lambda_needs_trust(tmp_path):
    mark = tmp_path / "it_ran"
    image = keras.Input((8, 8, 3))
    function = eval(f"lambda x: (__import__('pathlib').Path({str(mark)!r}).touch(), x)[1]")
    layer = keras.layers.Lambda(function, output_shape=(8, 8, 3), name="touch")
    file = saved(keras.Model(image, keras.layers.Conv2D(2, 3)(layer(image))), tmp_path)
    mark.unlink(missing_ok=True)
    with pytest.raises(
        checks.InputError, match="must not carry code. Given: .* with a lambda. .* trust=True"
    ):
        backbone(file, preprocess="tf")
    assert not mark.exists()
    files.read_keras(file, trust=True)(np.zeros((1, 8, 8, 3)))
    assert mark.exists()


def test_a_lambda_of_a_function_of_keras_carries_no_code(tmp_path):
    image = keras.Input((8, 8, 3))
    layer = keras.layers.Lambda(keras.activations.relu, output_shape=(8, 8, 3))
    file = saved(keras.Model(image, keras.layers.Conv2D(2, 3)(layer(image))), tmp_path)
    assert files.read_keras(file, trust=False).count_params() == 56


def rewritten(file, config=None, **more):
    """The archive with another config, and with more entries."""
    other = file.with_name("other.keras")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            new.writestr(
                name, json.dumps(config) if config and name == "config.json" else old.read(name)
            )
        for name, content in more.items():
            new.writestr(name, content)
    return other


def test_a_saved_model_within_a_file_comes_along(tmp_path, monkeypatch):
    module = tf.Module()
    module.kernel = tf.Variable(tf.random.normal((3, 3, 3, 4)))
    spec = tf.TensorSpec([None, 16, 16, 3])
    module.__call__ = tf.function(
        lambda x: tf.nn.conv2d(x, module.kernel, 2, "SAME"), input_signature=[spec]
    )
    tf.saved_model.save(module, str(tmp_path / "module"))
    first = backbone(tmp_path / "module", preprocess="tf", trust=True)
    file = saved(first, tmp_path)
    shutil.rmtree(tmp_path / "module")
    monkeypatch.setattr(
        saved_models, "_COPIES", {}
    )  # as in another process, which has trusted nothing yet
    again = backbone(file, trust=True)
    assert again.source == first.source
    np.testing.assert_array_equal(run(again, PIXELS), run(first, PIXELS))
    with pytest.raises(checks.InputError, match="must not carry code.*SavedModel"):
        backbone(tmp_path / "own.keras")


def test_an_embedded_program_needs_trust(tmp_path):
    file = saved(network(), tmp_path)
    inside = rewritten(file, **{"assets/layers/x/saved_model/saved_model.pb": b"program"})
    with pytest.raises(checks.InputError, match="must not carry code.*with a SavedModel"):
        files.read_keras(inside, trust=False)
    layer = {
        "class_name": "TFSMLayer",
        "config": {"filepath": "elsewhere"},
        "module": "keras.layers",
    }
    config = {"class_name": "Sequential", "config": {"layers": [layer]}, "module": "keras"}
    with pytest.raises(checks.InputError, match="must not carry code.*with a SavedModel"):
        files.read_keras(rewritten(file, config), trust=False)


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize(
    "name", ["../outside.txt", "/tmp/keras_transfer_outside.txt", "assets/../../outside.txt"]
)
def test_entries_that_would_leave_the_folder(tmp_path, name, trust):
    inner = tmp_path / "inner"
    inner.mkdir()
    file = rewritten(saved(network(), inner), **{name: "escaped"})
    with pytest.raises(checks.InputError, match="`source` must be a whole Keras file") as raised:
        backbone(file, preprocess="tf", trust=trust)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "outside.txt").exists()
    assert not pathlib.Path("/tmp/keras_transfer_outside.txt").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_file_that_was_cut_off(tmp_path, share):
    file = saved(network(), tmp_path)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(checks.InputError, match="`source` must be a whole Keras file") as raised:
        files.read_keras(file, trust=False)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "config",
    [
        {"class_name": "Sequential"},
        {"class_name": "os.system", "config": "ls", "module": "os"},
        {
            "class_name": "Conv2D",
            "config": {"filters": 2, "kernel_size": 3},
            "module": "keras.layers",
        },
        [1, 2],
    ],
)
def test_configs_of_something_else(tmp_path, config):
    with pytest.raises(checks.InputError, match="`source` must be") as raised:
        files.read_keras(rewritten(saved(network(), tmp_path), config), trust=False)
    assert "\n" not in str(raised.value)


def test_absent_files(tmp_path):
    for name in ("absent.keras", "absent.h5"):
        with pytest.raises(
            checks.InputError, match=f"must be an existing .keras file. Given: '.*{name}'"
        ):
            files.read_keras(tmp_path / name, trust=False)
