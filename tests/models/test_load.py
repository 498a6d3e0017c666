import io
import json
import zipfile

import keras
import networks
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.core import checks

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")


def test_a_trained_model_comes_back_whole(tmp_path):
    model = kt.build_model(networks.small(), kt.tasks.Classification(["cat", "dog"]))
    model.fit(PIXELS, np.array([0, 1, 0, 1]), verbose=0)
    model.save(tmp_path / "m.keras")
    again = kt.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(
        again.predict(PIXELS, verbose=0), model.predict(PIXELS, verbose=0)
    )
    assert again.evaluate(PIXELS, np.array([0, 1, 0, 1]), verbose=0) == model.evaluate(
        PIXELS, np.array([0, 1, 0, 1]), verbose=0
    )
    assert kt.models.outputs(again)["classification"].task.class_names == ["cat", "dog"]
    first = [again.fit(PIXELS, np.array([0, 1, 0, 1]), verbose=0).history["loss"] for _ in range(1)]
    assert first == [model.fit(PIXELS, np.array([0, 1, 0, 1]), verbose=0).history["loss"]], (
        "optimizer state too"
    )


def test_code_needs_trust(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2)])
    model.save(tmp_path / "code.keras")
    with pytest.raises(
        checks.InputError, match="must not carry code.*with a lambda.*trust=True"
    ) as error:
        kt.load_model(tmp_path / "code.keras")
    assert "\n" not in str(error.value)
    assert kt.load_model(tmp_path / "code.keras", trust=True)(np.ones((1, 2))).numpy().tolist() == [
        [2.0, 2.0]
    ]


def test_a_saved_model_in_a_file_needs_trust_each_time(tmp_path, monkeypatch):
    """Also in the process that made it; without trust Keras is not even asked."""
    module = tf.Module()
    module.kernel = tf.Variable(3.0)
    module.__call__ = tf.function(
        lambda x: x * module.kernel, input_signature=[tf.TensorSpec([None, 2])]
    )
    tf.saved_model.save(module, str(tmp_path / "m"))
    model = keras.Sequential(
        [keras.Input((2,)), kt.layers.SavedModelLayer(tmp_path / "m", trust=True)]
    )
    model.layers[0].weights[0].assign(5.0)
    model.save(tmp_path / "m.keras")
    again = kt.load_model(tmp_path / "m.keras", trust=True)
    assert again(np.ones((1, 2))).numpy().tolist() == [[5.0, 5.0]]
    monkeypatch.delattr(keras.models, "load_model")
    with pytest.raises(
        checks.InputError, match="must not carry code.*with a SavedModel.*trust=True"
    ) as error:
        kt.load_model(tmp_path / "m.keras")
    assert "\n" not in str(error.value)


def test_absent_and_broken_files(tmp_path):
    with pytest.raises(checks.InputError, match="existing .keras file"):
        kt.load_model(tmp_path / "absent.keras")
    (tmp_path / "broken.keras").write_bytes(b"no zip")
    with pytest.raises(checks.InputError, match="whole Keras file"):
        kt.load_model(tmp_path / "broken.keras")


def test_files_that_are_damaged_inside(tmp_path):
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="dense")]).save(
        tmp_path / "whole.keras"
    )
    with zipfile.ZipFile(tmp_path / "whole.keras") as whole:
        entries = {name: whole.read(name) for name in whole.namelist()}
    config = json.loads(entries["config.json"])
    other = {**config, "config": {**config["config"], "layers": [{"class_name": "Dense"}]}}
    damages = (
        {"model.weights.h5": entries["model.weights.h5"][:200]},
        {"model.weights.h5": None},
        {"config.json": b"{}"},
        {"config.json": json.dumps(other)},
        {"config.json": json.dumps({**config, "class_name": 7})},
    )
    for damage in damages:
        with zipfile.ZipFile(tmp_path / "damaged.keras", "w") as archive:
            for name, content in (entries | damage).items():
                if content is not None:
                    archive.writestr(name, content)
        with pytest.raises(checks.InputError, match="`path` must be a whole Keras file") as error:
            kt.load_model(tmp_path / "damaged.keras")
        assert "\n" not in str(error.value)
    data = (tmp_path / "whole.keras").read_bytes()
    at = data.index(b"\x89HDF") + 600
    (tmp_path / "damaged.keras").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(checks.InputError, match="`path` must be a whole Keras file"):
        kt.load_model(tmp_path / "damaged.keras")


@pytest.mark.slow
def test_parts_of_keras_hub_are_found(tmp_path, run_code):
    """By a process that has not imported it."""
    pytest.importorskip("keras_hub")
    save = (
        "import sys, keras, keras_hub\n"
        "layer = keras_hub.layers.SinePositionEncoding()\n"
        "keras.Sequential([keras.Input((3, 4)), layer]).save(sys.argv[1])"
    )
    load = (
        "import sys, keras_transfer as kt\n"
        "model = kt.load_model(sys.argv[1])\n"
        "assert type(model.layers[0]).__module__.startswith('keras_hub')"
    )
    for code in (save, load):
        done = run_code(code, tmp_path / "m.keras")
        assert done.returncode == 0, done.stderr[-2000:]


NEW_PROCESS = """
import sys
import keras
for name in [name for name in sys.modules if name.partition(".")[0] == "keras_transfer"]:
    del sys.modules[name]
keras.saving.get_custom_objects().clear()
import keras_transfer as kt
model = kt.load_model(sys.argv[1])
assert type(model.optimizer._learning_rate).__name__ == "WarmUp"
"""


def test_a_schedule_of_the_package_is_known_in_a_new_process(tmp_path, run_code):
    """In one that has TensorFlow, but nothing of the package."""
    model = kt.build_model(networks.small(), kt.tasks.Classification(2))
    model.compile(keras.optimizers.Adam(kt.training.WarmUp(1e-3, steps=2)), model.loss)
    model.save(tmp_path / "m.keras")
    done = run_code(NEW_PROCESS, tmp_path / "m.keras")
    assert done.returncode == 0, done.stderr[-500:]


def mutated(data, generator):
    """A file with some bytes changed, a piece missing, or its end cut off."""
    damaged = bytearray(data)
    kind = generator.integers(4)
    at = int(generator.integers(len(data)))
    if kind == 0:
        del damaged[at:]
    elif kind == 1:
        del damaged[at : at + int(generator.integers(1, 200))]
    else:
        for place in generator.integers(len(data), size=1 if kind == 2 else 40):
            damaged[place] = generator.integers(256)
    return bytes(damaged)


def with_damaged_entry(data, generator):
    """A whole archive of damaged contents, whose checksums hold."""
    with zipfile.ZipFile(io.BytesIO(data)) as whole:
        entries = {name: whole.read(name) for name in whole.namelist()}
    name = ("model.weights.h5", "config.json")[int(generator.random() < 0.3)]
    entries[name] = mutated(entries[name], generator)
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)
    return result.getvalue()


@pytest.mark.filterwarnings("ignore")
def test_60_damaged_keras_files_raise_the_package_s_error_only(tmp_path):
    images = keras.Input((8, 8, 3))
    trunk = keras.Model(images, keras.layers.Conv2D(2, 3)(images))
    model = kt.build_model(kt.backbone(trunk, preprocess="tf"), kt.tasks.Classification(2))
    model.save(tmp_path / "whole.keras")
    data = (tmp_path / "whole.keras").read_bytes()
    refused = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        damage = mutated if seed % 3 == 0 else with_damaged_entry
        (tmp_path / "damaged.keras").write_bytes(damage(data, generator))
        message = ""
        try:
            kt.load_model(tmp_path / "damaged.keras")
        except checks.InputError as error:
            message = str(error)
            refused += 1
        assert "\n" not in message, seed
    assert refused > 20


@pytest.mark.filterwarnings("ignore")
def test_60_damaged_h5_files_raise_the_package_s_error_only(tmp_path):
    images = keras.Input((8, 8, 3))
    trunk = keras.Model(images, keras.layers.Conv2D(2, 3, name="conv")(images))
    trunk.save(tmp_path / "whole.h5")
    trunk.save_weights(tmp_path / "whole.weights.h5")
    refused = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        for name in ("whole.h5", "whole.weights.h5"):
            data = (tmp_path / name).read_bytes()
            (tmp_path / f"damaged_{name}").write_bytes(mutated(data, generator))
        try:
            kt.load_model(tmp_path / "damaged_whole.h5")
        except checks.InputError:
            pass
        else:
            pytest.fail("no .keras file")
        try:
            if seed % 2:
                kt.backbone(tmp_path / "damaged_whole.h5", preprocess="tf")
            else:
                weights = tmp_path / "damaged_whole.weights.h5"
                kt.backbone(trunk, preprocess="tf", weights=weights)
        except checks.InputError:
            refused += 1
    assert refused > 10
