"""The layer trains, freezes, saves and is cloned like any other; what it wraps are the module's own variables."""

import gc
import json
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.machine import engine
from keras_transfer.storage import archives, saved_models

pytestmark = pytest.mark.compiled

IMAGES = np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype("float32")
LABELS = np.arange(8) % 2
TRAINABLE = {
    "plain": ["plain/kernel", "plain/scale", "plain/shift", "plain/upper"],
    "tf_keras": [
        "conv/kernel",
        "conv/bias",
        "norm/gamma",
        "norm/beta",
        "conv2/kernel",
        "conv2/bias",
    ],
}
STATISTICS = {
    "plain": ["plain/mean", "plain/variance"],
    "tf_keras": ["norm/moving_mean", "norm/moving_variance"],
}
NAMES = list(TRAINABLE)


def layer_of(folder, **arguments):
    return kt.layers.SavedModelLayer(folder, **{"trust": True, "name": "module", **arguments})


def model_of(folder, **arguments):
    images = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(layer_of(folder, **arguments)(images))
    return keras.Model(images, keras.layers.Dense(2, name="head", dtype="float32")(x))


def compiled(model, optimizer=None, **arguments):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        optimizer or keras.optimizers.SGD(0.1), loss, **{"jit_compile": False, **arguments}
    )
    return model


def values(model):
    return {
        variable.path: variable.numpy()
        for variable in model.variables
        if "seed" not in variable.path
    }


def moved(before, after):
    return {
        path.removeprefix("module/")
        for path in before
        if not np.array_equal(before[path], after[path])
    }


def l2(layer):
    kernel = next(
        variable
        for variable in layer.weights
        if variable.path.endswith(("plain/kernel", "conv/kernel"))
    )
    return 0.001 * float(np.square(kernel.numpy()).sum())


@pytest.mark.parametrize("name", NAMES)
def test_its_weights_are_the_variables_of_the_module(module_folders, name):
    """Should Keras copy a tf.Variable one day, the layer says so; this guards `keras.Variable(tf_variable)`."""
    layer = layer_of(module_folders[name])
    assert [variable.path for variable in layer.trainable_variables] == [
        f"module/{path}" for path in TRAINABLE[name]
    ]
    assert [variable.path for variable in layer.non_trainable_variables] == [
        f"module/{n}" for n in STATISTICS[name]
    ]
    own = {
        variable.name.partition(":")[0]: variable
        for variable in (*layer._module.trainable, *layer._module.others)
    }
    assert all(
        variable.value is own[variable.path.removeprefix("module/")] for variable in layer.weights
    )
    before = layer(IMAGES)
    layer.weights[0].assign(layer.weights[0] * 2)
    assert not np.array_equal(layer(IMAGES), before)


def test_a_keras_that_copies_variables_is_noticed(module_folders, monkeypatch):
    make = keras.Variable
    monkeypatch.setattr(
        keras, "Variable", lambda value, **arguments: make(tf.identity(value), **arguments)
    )
    with pytest.raises(RuntimeError, match="copies a tf.Variable"):
        layer_of(module_folders["plain"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("trainable", "batch_norm"), [(True, "train"), (True, "inference"), (False, "train")]
)
def test_what_moves(module_folders, name, trainable, batch_norm):
    model = compiled(
        model_of(module_folders[name], trainable=trainable, batch_norm=batch_norm), "adam"
    )
    before = values(model)
    model.fit(IMAGES, LABELS, batch_size=4, verbose=0)
    statistics = STATISTICS[name] if trainable and batch_norm == "train" else []
    module = [*TRAINABLE[name], *statistics] if trainable else []
    assert moved(before, values(model)) == {*module, "head/kernel", "head/bias"}
    slots = [path for path in values(model.optimizer) if "momentum" in path]
    assert len(slots) == len(model.trainable_variables) == 2 + trainable * len(TRAINABLE[name])


@pytest.mark.parametrize("name", NAMES)
def test_freezing_and_thawing(module_folders, name):
    model = model_of(module_folders[name])
    layer = model.get_layer("module")
    for trainable in (False, True, False):
        layer.trainable = trainable
        compiled(model)
        before = values(model)
        model.fit(IMAGES, LABELS, verbose=0)
        assert moved(before, values(model)) == {
            *(TRAINABLE[name] if trainable else []),
            "head/kernel",
            "head/bias",
        }


@pytest.mark.parametrize("name", NAMES)
def test_training_mode_needs_a_layer_that_trains_and_the_switch(module_folders, name):
    layer = layer_of(module_folders[name])
    still = layer(IMAGES, training=False).numpy()
    for trainable, batch_norm, learns in (
        (True, "inference", False),
        (False, "train", False),
        (True, "train", True),
    ):
        layer.trainable, layer.batch_norm = trainable, batch_norm
        kept = [variable.numpy() for variable in layer.weights]
        assert np.array_equal(layer(IMAGES, training=True), still) is not learns
        layer.set_weights(kept)
        assert np.array_equal(layer(IMAGES, training=False), still)


@pytest.mark.parametrize("name", NAMES)
def test_regularisation_counts_once_and_only_while_it_trains(module_folders, name):
    model = compiled(model_of(module_folders[name]), keras.optimizers.SGD(0.0))
    layer = model.get_layer("module")
    trains = [model.evaluate(IMAGES, LABELS, verbose=0) for _ in range(2)]
    fitted = model.fit(IMAGES, LABELS, batch_size=4, epochs=2, shuffle=False, verbose=0).history[
        "loss"
    ]
    layer.trainable = False
    frozen = compiled(model).evaluate(IMAGES, LABELS, verbose=0)
    assert l2(layer) > 0.001
    np.testing.assert_allclose([*trains, *fitted], frozen + l2(layer), rtol=1e-5)
    assert not model.losses


@pytest.mark.parametrize("name", NAMES)
def test_xla_takes_the_same_step(module_folders, name):
    stepped = []
    for jit in (False, True):
        keras.utils.set_random_seed(0)
        model = compiled(model_of(module_folders[name]), jit_compile=jit)
        model.fit(IMAGES, LABELS, verbose=0)
        stepped.append(values(model))
    for path, value in stepped[0].items():
        np.testing.assert_allclose(stepped[1][path], value, rtol=1e-4, atol=1e-6, err_msg=path)


@pytest.mark.parametrize("name", NAMES)
def test_mixed_precision_leaves_the_module_in_its_own(module_folders, name):
    """What comes out is the float32 result, rounded once; in float16 throughout it would differ."""
    expected = layer_of(module_folders[name])(IMAGES).numpy()
    keras.mixed_precision.set_global_policy("mixed_float16")
    model = model_of(module_folders[name])
    layer = model.get_layer("module")
    found = layer(IMAGES)
    assert found.dtype == "float16"
    assert layer.output.dtype == "float16"
    np.testing.assert_array_equal(found, expected.astype("float16"))
    before = values(model)
    compiled(model).fit(IMAGES, LABELS, verbose=0)
    assert {*TRAINABLE[name]} <= moved(before, values(model))


def test_arguments_reach_the_module(module_folders):
    """The moving mean after one step is (1 - momentum) times the batch's."""
    shifts = []
    for momentum in (0.5, 0.9):
        layer = layer_of(
            module_folders["plain"], arguments={"batch_norm_momentum": momentum}, batch_norm="train"
        )
        layer(IMAGES, training=True)
        shifts.append(layer.non_trainable_variables[0].numpy())
    np.testing.assert_allclose(shifts[0], shifts[1] * 5, rtol=1e-4)


def test_an_output_of_several(module_folders):
    folder = module_folders["plain"]
    maps, vectors = layer_of(folder)(IMAGES), layer_of(folder, output="pooled")(IMAGES)
    assert maps.shape == (8, 8, 8, 32)
    np.testing.assert_allclose(vectors, np.mean(maps, (1, 2)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_contract_of_layers(module_folders, name):
    kt.testing.check_layer(layer_of(module_folders[name]), IMAGES)


def test_strides_tell_how_much_smaller_a_map_is(module_folders):
    layers = {name: layer_of(folder) for name, folder in module_folders.items()}
    for layer in layers.values():
        layer(keras.Input((32, 32, 3)))
    assert {name: layer.strides for name, layer in layers.items()} == {"plain": 4, "tf_keras": 4}
    open_size = layer_of(module_folders["plain"])
    assert open_size(keras.Input((None, None, 3))).shape == (None, None, None, 32)


def test_shapes_within_a_graph_are_those_of_the_images(tmp_path):
    """A module that was saved for any size leaves them open, which a head that flattens or enlarges cannot take."""
    module = tf.Module()
    halve = lambda x: tf.image.resize(x, tf.shape(x)[1:3] // 2)  # noqa: E731
    module.__call__ = tf.function(halve, input_signature=[tf.TensorSpec([None, None, None, 3])])
    tf.saved_model.save(module, str(tmp_path / "m"))
    layer = layer_of(tmp_path / "m")
    traced = tf.function(layer.call).get_concrete_function(tf.TensorSpec([None, 32, 16, 3]))
    assert traced.structured_outputs.shape == (None, 16, 8, 3)
    assert layer(keras.Input((32, 16, 3))).shape == (None, 16, 8, 3)
    assert layer(keras.Input((None, None, 3))).shape == (None, None, None, 3)


def test_variables_of_one_name_get_paths_of_their_own(tmp_path):
    module = tf.Module()
    module.parts = [tf.Variable(float(n), name="a/part") for n in range(3)]
    module.__call__ = tf.function(
        lambda x: x + sum(module.parts), input_signature=[tf.TensorSpec([None, 2])]
    )
    tf.saved_model.save(module, str(tmp_path / "m"))
    layer = layer_of(tmp_path / "m")
    paths = ["module/a/part", "module/a/part_1", "module/a/part_2"]
    assert [variable.path for variable in layer.weights] == paths
    assert float(layer(tf.zeros((1, 2)))[0, 0]) == 3


def test_what_a_signature_and_a_module_without_variables_cannot_do_is_told(
    module_folders, tmp_path, capsys
):
    layer = layer_of(module_folders["tf_keras"], output="serving_default")
    assert (
        "dropout and batch normalisation of its signature 'serving_default' stay in inference mode"
        in capsys.readouterr().out
    )
    assert len(layer.trainable_variables) == len(TRAINABLE["tf_keras"])
    model = compiled(
        keras.Sequential(
            [keras.Input((32, 32, 3)), layer, keras.layers.Flatten(), keras.layers.Dense(2)]
        )
    )
    layer.batch_norm = "train"
    before = values(model)
    model.fit(IMAGES, LABELS, verbose=0)
    assert not {*STATISTICS["tf_keras"]} & moved(before, values(model))
    assert {*TRAINABLE["tf_keras"]} <= moved(before, values(model))
    assert not model.losses
    module = tf.Module()
    module.__call__ = tf.function(lambda x: x * 2, input_signature=[tf.TensorSpec([None, 2])])
    tf.saved_model.save(module, str(tmp_path / "m"))
    layer = layer_of(tmp_path / "m")
    assert "has no variables that can train: it stays frozen" in capsys.readouterr().out
    assert layer(tf.ones((1, 2))).numpy().tolist() == [[2.0, 2.0]]


@pytest.mark.parametrize("name", NAMES)
def test_weights_files_and_export(module_folders, name, tmp_path):
    model = compiled(model_of(module_folders[name]))
    model.fit(IMAGES, LABELS, verbose=0)
    expected = model.predict(IMAGES, verbose=0)
    model.save_weights(tmp_path / "m.weights.h5")
    other = model_of(module_folders[name])
    assert not np.array_equal(other.predict(IMAGES, verbose=0), expected)
    other.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(other.predict(IMAGES, verbose=0), expected)
    model.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(exported.serve(IMAGES), expected, rtol=1e-5, atol=1e-6)


def test_a_process_that_trusted_it_makes_it_again(module_folders, tmp_path):
    """Also when the folder is gone; a clone has weights of its own, those of the SavedModel."""
    folder = shutil.copytree(module_folders["plain"], tmp_path / "m")
    model = model_of(folder)
    shutil.rmtree(folder)
    original = model.get_layer("module").get_weights()
    model.get_layer("module").weights[0].assign(original[0] + 1)
    for again in (keras.models.clone_model(model), keras.Model.from_config(model.get_config())):
        layer = again.get_layer("module")
        np.testing.assert_array_equal(layer.get_weights()[0], original[0])
        assert layer.weights[0].value is not model.get_layer("module").weights[0].value
        again.set_weights(model.get_weights())
        np.testing.assert_array_equal(
            again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
        )


def test_the_module_lives_as_long_as_the_layer(module_folders):
    layer = layer_of(module_folders["plain"])
    gc.collect()
    assert np.isfinite(layer(IMAGES)).all()


def test_a_config_grants_no_trust(module_folders, tmp_path, monkeypatch):
    """A config that names another folder, or another content, makes nothing run."""
    layer = layer_of(module_folders["plain"])
    serialised = keras.saving.serialize_keras_object(layer)
    assert "trust" not in serialised["config"]
    assert json.loads(json.dumps(serialised)) == serialised
    strange = shutil.copytree(module_folders["plain"], tmp_path / "strange")
    data = strange / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    monkeypatch.delattr(tf.saved_model, "load")
    kept = dict(saved_models._COPIES)
    for change in (
        {"digest": None, "handle": str(strange)},
        {"digest": None, "handle": str(strange), "trust": True},
        {"digest": "0" * 64, "handle": str(strange), "trust": True},
    ):
        changed = {**serialised, "config": {**serialised["config"], **change}}
        with pytest.raises(checks.InputError, match="trust") as error:
            keras.saving.deserialize_keras_object(changed, safe_mode=False)
        assert "\n" not in str(error.value)
    assert kept == saved_models._COPIES


def test_refusals(module_folders, tmp_path, monkeypatch):
    with pytest.raises(checks.InputError, match="`trust` must be True for a SavedModel"):
        layer_of(module_folders["plain"], trust=False)
    with pytest.raises(checks.InputError, match="`handle` must be a folder with saved_model.pb"):
        layer_of(tmp_path)
    with pytest.raises(checks.InputError, match="`batch_norm` must be one of 'inference', 'train'"):
        layer_of(module_folders["plain"], batch_norm="frozen")
    with pytest.raises(
        checks.InputError, match="must be known. Given: 'momentum'. It takes: batch_norm_momentum"
    ):
        layer_of(module_folders["plain"], arguments={"momentum": 0.9})
    with pytest.raises(checks.InputError, match="given what it was saved for"):
        layer_of(module_folders["tf_keras"])(keras.Input((64, 64, 3)))
    monkeypatch.setattr(engine, "NAME", "jax")
    with pytest.raises(checks.InputError, match="TensorFlow backend"):
        layer_of(module_folders["plain"])


def start_python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )


RELOAD = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np
import keras_transfer as kt
from keras_transfer.storage import archives
from keras_transfer.core import checks
file, images, again = sys.argv[1:]
for load in (keras.models.load_model, kt.load_model):
    try:
        load(file)
        print("loaded without trust")
    except checks.InputError as refused:
        print(refused)
model = kt.load_model(file, trust=True)
print(len(model.trainable_variables), model.get_layer("module").batch_norm)
np.save(again + ".npy", model.predict(np.load(images), verbose=0))
model.save(again)
print(archives.scratch())
"""


@pytest.mark.slow
def test_a_file_brings_its_saved_model_into_another_process(module_folders, tmp_path, run_code):
    """Fine-tuned, saved, the folder deleted; loaded twice over by processes that have never seen it: equal bits.

    The first is a process of its own up to its end, where it deletes what it unpacked.
    """
    folder = shutil.copytree(module_folders["tf_keras"], tmp_path / "m")
    model = compiled(model_of(folder, batch_norm="train"))
    model.fit(IMAGES, LABELS, verbose=0)
    expected = model.predict(IMAGES, verbose=0)
    model.save(tmp_path / "0.keras")
    np.save(tmp_path / "images.npy", IMAGES)
    shutil.rmtree(folder)
    for turn, start in ((1, start_python), (2, run_code)):
        done = start(
            RELOAD,
            tmp_path / f"{turn - 1}.keras",
            tmp_path / "images.npy",
            tmp_path / f"{turn}.keras",
        )
        assert done.returncode == 0, done.stderr[-3000:]
        said = done.stdout.strip().splitlines()
        assert "kt.load_model(path, trust=True)" in said[0]
        assert "must not carry code" in said[1]
        assert "trust=True" in said[1]
        assert said[2] == "8 train"
        np.testing.assert_array_equal(np.load(tmp_path / f"{turn}.keras.npy"), expected)
        assert start is run_code or not pathlib.Path(said[3]).exists()
    assert archives.scratch().is_dir()


MIRRORED = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np, tensorflow as tf
import keras_transfer as kt
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
generator = np.random.default_rng(0)
images, labels = generator.normal(size=(8, 32, 32, 3)).astype("float32"), np.arange(8) % 2

def fitted(folder, trainable):
    keras.utils.set_random_seed(0)
    x = keras.Input((32, 32, 3))
    layer = kt.layers.SavedModelLayer(folder, trust=True, trainable=trainable, name="module")
    y = keras.layers.Dense(2, name="head")(keras.layers.GlobalAveragePooling2D()(layer(x)))
    model = keras.Model(x, y)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, jit_compile=False)
    start = model.get_weights()
    losses = model.fit(images, labels, batch_size=8, epochs=2, shuffle=False, verbose=0).history["loss"]
    return losses, start, model.get_weights(), model

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
for folder, flags in zip(sys.argv[1:], ((True, False), (True,))):
    for trainable in flags:
        one, start, alone, _ = fitted(folder, trainable)
        with strategy.scope():
            two, _, together, model = fitted(folder, trainable)
        np.testing.assert_allclose(two, one, rtol=1e-5)
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)
        print(sum(not np.array_equal(a, b) for a, b in zip(start, together)))
"""


@pytest.mark.slow
def test_two_devices_train_it_as_one(module_folders, run_code):
    """In inference mode, as batch statistics are those of each device's share; the loss of the weights counts once."""
    done = run_code(MIRRORED, *module_folders.values())
    assert done.returncode == 0, done.stderr[-3000:]
    moved = done.stdout.split()
    expected = [len(TRAINABLE["plain"]) + 2, 2, len(TRAINABLE["tf_keras"]) + 2]
    assert [int(line) for line in moved if line.isdigit()] == expected
