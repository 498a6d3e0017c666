"""SavedModels as backbones: what they say of themselves is used, what they do not say is asked for."""

import contextlib
import functools
import http.server
import io
import shutil
import tarfile
import threading

import keras
import networks
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.core import checks, optional
from keras_transfer.graphs import paths
from keras_transfer.testing import backbones as contract
from keras_transfer.testing import running

pytestmark = pytest.mark.compiled

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")
NAMES = ["plain", "tf_keras"]


def backbone_of(folder, **arguments):
    return kt.backbone(folder, **{"preprocess": "tf", "image_size": 32, "trust": True, **arguments})


def saved(folder, call, *shape, dtype=tf.float32, **signatures):
    """A module with a call of one tensor."""
    module = tf.Module()
    module.__call__ = tf.function(
        call, input_signature=[tf.TensorSpec(shape, dtype, name="images")]
    )
    tf.saved_model.save(module, str(folder), signatures=signatures or None)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_the_contract_of_backbones(module_folders, name):
    kt.testing.check_backbone(backbone_of(module_folders[name]))


def test_the_contract_notices_an_export_that_answers_otherwise(module_folders, monkeypatch):
    backbone = backbone_of(module_folders["plain"])
    export = kt.export

    def off_by_little(model, path):
        weights = model.get_weights()
        model.set_weights([weight * 1.001 for weight in weights])
        exported = export(model, path)
        model.set_weights(weights)
        return exported

    monkeypatch.setattr(kt, "export", off_by_little)
    with pytest.raises(AssertionError, match="exports_equal"):
        running.run([contract.exports_equal], backbone)


@pytest.mark.slow
@pytest.mark.realdata
def test_a_real_module_of_2021(real_data, capsys):
    """Of Teachable Machine: no call function, a signature with a vector, and weights that train all the same."""
    folder = real_data / "weights" / "teachable_machine_savedmodel"
    backbone = kt.backbone(folder, preprocess="tf", trust=True)
    assert backbone.input_shape == (None, 224, 224, 3)
    assert backbone.output_shape == (None, 4)
    assert "of its signature 'serving_default' stay" in capsys.readouterr().out
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype="uint8")
    module = tf.saved_model.load(str(folder))
    (expected,) = module.signatures["serving_default"](
        tf.constant(images / 127.5 - 1, tf.float32)
    ).values()
    np.testing.assert_allclose(backbone.predict(images, verbose=0), expected, rtol=1e-5, atol=1e-7)
    assert len(backbone.trainable_variables) == 159
    # The other checks are of what this layer does for any module.
    checks_of_the_module = [contract.thawed_weights_move_and_no_others, contract.reloads_equal]
    running.run([*checks_of_the_module, contract.exports_equal], backbone)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_module_on_preprocessed_pixels(module_folders, name):
    backbone = backbone_of(module_folders[name])
    outputs = tf.saved_model.load(str(module_folders[name]))(
        tf.constant(PIXELS / 127.5 - 1, tf.float32)
    )
    expected = outputs["default"] if isinstance(outputs, dict) else outputs
    np.testing.assert_allclose(backbone.predict(PIXELS, verbose=0), expected, rtol=1e-5, atol=1e-6)
    assert backbone.levels == {"P2": "saved_model"}
    assert [block.name for block in backbone.blocks] == ["saved_model"]
    assert backbone.source["preprocessing"] == "tf"
    assert backbone.source["image_size"] == [32, 32]
    assert backbone.name == name


def test_what_the_module_says_need_not_be_given(module_folders, tmp_path, capsys):
    assert backbone_of(module_folders["tf_keras"], image_size=None).input_shape == (None, 32, 32, 3)
    folder = saved(
        tmp_path / "bytes", lambda x: tf.cast(x, tf.float32) / 2, None, 8, 6, 1, dtype=tf.uint8
    )
    backbone = kt.backbone(folder, channels=1, trust=True)
    assert (
        "takes whole numbers 0..255, so pixels are not rescaled (preprocess='inside')"
        in capsys.readouterr().out
    )
    assert backbone.input_shape == (None, 8, 6, 1)
    pixels = np.arange(255, 255 - 48, -1, dtype="uint8").reshape((1, 8, 6, 1))
    np.testing.assert_array_equal(backbone.predict(pixels, verbose=0), pixels / 2)


def test_a_layer_or_a_vector_of_choice(module_folders):
    backbone = backbone_of(
        module_folders["plain"], output="pooled", preprocess=keras.layers.Rescaling(1 / 255)
    )
    features = backbone_of(module_folders["plain"], preprocess="0-1").predict(PIXELS, verbose=0)
    np.testing.assert_allclose(
        backbone.predict(PIXELS, verbose=0), features.mean((1, 2)), rtol=1e-4, atol=1e-6
    )
    assert backbone.source["preprocessing"] == "Rescaling"
    assert kt.build_model(backbone, kt.tasks.Classification(2)).output_shape == (None, 2)


def test_arguments_of_the_module(module_folders):
    shifts = []
    for arguments in ({}, {"batch_norm_momentum": 0.5}):
        backbone = backbone_of(module_folders["plain"], **arguments)
        assert backbone.source["arguments"] == arguments
        kt.unfreeze(backbone, batch_norm="train")
        backbone(PIXELS.astype("float32"), training=True)
        shifts.append(paths.variables(backbone)["saved_model/plain/mean"].numpy())
    np.testing.assert_allclose(shifts[1], shifts[0] * 5, rtol=1e-4)


def test_an_export_of_ours_is_a_backbone(tmp_path):
    """Its signature takes bytes of any size; the features are those of the model that was exported."""
    trunk = networks.small()
    kt.export(kt.build_model(trunk, kt.tasks.Classification(["cat", "dog"])), tmp_path / "1")
    backbone = kt.backbone(tmp_path / "1", output="features", image_size=32, trust=True)
    expected = trunk.predict(PIXELS, verbose=0).mean((1, 2))
    np.testing.assert_allclose(backbone.predict(PIXELS, verbose=0), expected, rtol=1e-5, atol=1e-6)
    assert len(backbone.trainable_variables) == len(trunk.trainable_variables)
    with pytest.raises(checks.InputError, match="Choose one of 'classes'.*'features', 'pixels'"):
        kt.backbone(tmp_path / "1", image_size=32, trust=True)
    with pytest.raises(
        checks.InputError, match=r"take images.*Given: string \(None,\).*'features' or 'pixels'"
    ):
        kt.backbone(tmp_path / "1", output="probabilities", image_size=32, trust=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trust": False}, "`trust` must be True for a SavedModel"),
        ({"weights": None}, "`weights` must be 'pretrained' for a SavedModel.*Given: None"),
        ({"weights": "imagenet"}, "`weights` must be 'pretrained'"),
        ({"channels": 1}, "`channels` must be 3, which the SavedModel takes. Given: 1"),
        ({"output": "nothing"}, "`output` must say which output"),
        (
            {"momentum": 0.5},
            "argument of a SavedModel must be known. Given: 'momentum'. It takes: batch_norm_momentum",
        ),
        ({"image_size": None}, "`image_size` must be given for this SavedModel"),
        ({"preprocess": "keras"}, "`preprocess` must be"),
    ],
)
def test_what_cannot_work(module_folders, monkeypatch, change, message):
    monkeypatch.delattr(tf.saved_model, "load")
    with pytest.raises(checks.InputError, match=message) as error:
        backbone_of(module_folders["plain"], **change)
    assert "\n" not in str(error.value)


def test_the_range_is_asked_for_with_every_way_once(module_folders):
    with pytest.raises(
        checks.InputError, match="`preprocess` must be given for a SavedModel"
    ) as error:
        backbone_of(module_folders["plain"], preprocess=None)
    for way in ("'tf'", "'torch'", "'caffe'", "'0-1'", "'inside'", "keras.layers.Layer"):
        assert str(error.value).count(way) == 1


def test_a_size_that_the_module_does_not_take(module_folders):
    with pytest.raises(
        checks.InputError,
        match=r"`image_size` must be what the SavedModel takes.*\(64, 64\).*\(32, 32\)",
    ):
        backbone_of(module_folders["tf_keras"], image_size=64)


def test_what_is_no_backbone(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(checks.InputError, match="`source` must be a folder with saved_model.pb"):
        backbone_of(tmp_path / "empty")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "saved_model.pb").write_bytes(b"\xff" * 99)
    with pytest.raises(checks.InputError, match="`source` must be a whole SavedModel"):
        backbone_of(tmp_path / "broken")
    tf.saved_model.save(tf.Module(), str(tmp_path / "mute"))
    with pytest.raises(
        checks.InputError, match="with a call function or a signature that takes inputs"
    ):
        backbone_of(tmp_path / "mute")
    vectors = saved(tmp_path / "vectors", lambda x: x, None, 8)
    with pytest.raises(checks.InputError, match=r"must take images.*Given: float32 \(None, 8\)"):
        backbone_of(vectors)
    one = saved(tmp_path / "one", lambda x: x, 1, 32, 32, 3)
    with pytest.raises(checks.InputError, match="must take batches of any size"):
        backbone_of(one)
    tokens = saved(tmp_path / "tokens", lambda x: x[:, :, 0], None, 32, 32, 3)
    with pytest.raises(
        checks.InputError, match=r"vectors or feature maps, of rank 2 or 4.*\(None, 32, 3\)"
    ):
        backbone_of(tokens)


def tarred(folder, file, prefix="."):
    with tarfile.open(file, "w:gz") as archive:
        archive.add(folder, prefix)
    return file


def test_a_compressed_folder(module_folders, tmp_path):
    expected = backbone_of(module_folders["tf_keras"]).predict(PIXELS, verbose=0)
    for prefix in (".", "inner/module"):
        file = tarred(module_folders["tf_keras"], tmp_path / "module.tar.gz", prefix)
        backbone = backbone_of(file)
        assert backbone.source["name"] == str(file)
        np.testing.assert_array_equal(backbone.predict(PIXELS, verbose=0), expected)
    backbone.save(tmp_path / "m.keras")
    file.unlink()
    again = kt.load_model(tmp_path / "m.keras", trust=True)
    np.testing.assert_array_equal(again.predict(PIXELS, verbose=0), expected)


def test_compressed_folders_that_are_refused(module_folders, tmp_path):
    file = tarred(module_folders["plain"], tmp_path / "module.tar.gz")
    with pytest.raises(checks.InputError, match="`trust` must be True"):
        backbone_of(file, trust=False)
    with tarfile.open(file, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../evil"), io.BytesIO())
    with pytest.raises(checks.InputError, match="`source` must be a whole and safe archive"):
        backbone_of(file)
    assert not list(tmp_path.parent.rglob("evil"))
    with pytest.raises(checks.InputError, match="`source` must hold one saved_model.pb. Given: 0"):
        backbone_of(tarred(tmp_path, tmp_path / "other.tar"))


@contextlib.contextmanager
def serving(folder):
    """A web server on this machine; gives its address and the list of what it was asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, template, *values):
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=folder)
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_an_address(module_folders, tmp_path, monkeypatch):
    """TF Hub downloads it once, into its cache; the next time the server is not needed."""
    pytest.importorskip("tensorflow_hub")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    tarred(module_folders["tf_keras"], tmp_path / "module.tar.gz")
    expected = backbone_of(module_folders["tf_keras"]).predict(PIXELS, verbose=0)
    with serving(tmp_path) as (address, asked):
        handle = f"{address}/module.tar.gz"
        with pytest.raises(checks.InputError, match="`trust` must be True"):
            backbone_of(handle, trust=False)
        assert asked == [], "what is not trusted is not downloaded"
        with pytest.raises(
            checks.InputError, match="a handle that TF Hub can resolve.*404"
        ) as error:
            backbone_of(f"{address}/absent.tar.gz")
        assert "\n" not in str(error.value)
        np.testing.assert_array_equal(backbone_of(handle).predict(PIXELS, verbose=0), expected)
        assert len(asked) >= 2
    assert list((tmp_path / "cache").glob("*/saved_model.pb"))
    backbone = backbone_of(handle)
    np.testing.assert_array_equal(backbone.predict(PIXELS, verbose=0), expected)
    assert backbone.source["name"] == handle
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(checks.InputError, match="a handle that TF Hub can resolve"):
        backbone_of(handle)


def test_the_range_of_hubs_own_modules(module_folders, monkeypatch, capsys):
    hub = pytest.importorskip("tensorflow_hub")
    monkeypatch.setattr(hub, "resolve", lambda handle: str(module_folders["plain"]))
    expected = backbone_of(module_folders["plain"], preprocess="0-1").predict(PIXELS, verbose=0)
    for handle in (
        "https://tfhub.dev/some/module/1",
        "https://www.kaggle.com/models/some/module/tensorFlow2/a/1",
    ):
        backbone = backbone_of(handle, preprocess=None)
        assert "pixels are scaled to 0..1" in capsys.readouterr().out
        np.testing.assert_array_equal(backbone.predict(PIXELS, verbose=0), expected)
    with pytest.raises(checks.InputError, match="`preprocess` must be given"):
        backbone_of("https://example.org/module.tar.gz", preprocess=None)


def test_without_tf_hub(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorflow_hub", None)
    with pytest.raises(
        optional.MissingExtraError, match=r"Resolving a TF Hub handle.*pip install tensorflow-hub"
    ):
        backbone_of("https://example.org/module.tar.gz")


def test_a_bucket_out_of_reach():
    pytest.importorskip("tensorflow_hub")
    with pytest.raises(checks.InputError, match="a handle that TF Hub can resolve") as error:
        backbone_of("gs://no-such-bucket/module")
    assert "\n" not in str(error.value)


def test_what_fine_tuning_moves(module_folders, tmp_path):
    """Two stages, as for any backbone; the record says what trained, and the file needs the folder no more."""
    folder = shutil.copytree(module_folders["plain"], tmp_path / "m")
    model = kt.build_model(backbone_of(folder), kt.tasks.Classification(["a", "b"]))
    start = {path: variable.numpy() for path, variable in paths.variables(model).items()}
    data = kt.data.from_arrays(
        np.repeat(PIXELS, 4, 0), np.arange(16) % 2, validation=None, batch_size=4
    )
    history = kt.fine_tune(model, data, epochs=(1, 1), seed=0, verbose=0)
    assert [stage["trained_layers"] for stage in history.record["stages"]] == [
        ["classification_logits"],
        ["saved_model", "classification_logits"],
    ]
    moved = {
        path
        for path, variable in paths.variables(model).items()
        if not np.array_equal(start[path], variable)
    }
    assert moved == set(start) - {"saved_model/plain/mean", "saved_model/plain/variance"}
    expected = model.predict(PIXELS, verbose=0)
    model.save(tmp_path / "m.keras")
    shutil.rmtree(folder)
    again = kt.load_model(tmp_path / "m.keras", trust=True)
    np.testing.assert_array_equal(again.predict(PIXELS, verbose=0), expected)


@pytest.mark.slow
def test_fine_tuning_beats_keeping_it_frozen(module_folders):
    """On which background a shape lies, among 6: about 0.23 frozen, 0.35 fine-tuned, at equal epochs and rate."""
    data = kt.data.scenes(
        800,
        image_size=32,
        targets="background",
        validation=0.25,
        batch_size=16,
        max_objects=1,
        seed=0,
    )
    best = {}
    plans = {
        "frozen": {"stages": [kt.Stage(epochs=6, train="head", learning_rate=1e-2)]},
        "fine-tuned": {"epochs": (1, 5), "learning_rate": (1e-2, 1e-2)},
    }
    for plan, arguments in plans.items():
        keras.utils.set_random_seed(0)
        model = kt.build_model(
            backbone_of(module_folders["plain"]), kt.tasks.Classification(data.class_names)
        )
        history = kt.fine_tune(model, data, seed=0, verbose=0, **arguments)
        best[plan] = max(history.history["val_accuracy"])
    assert best["fine-tuned"] > best["frozen"] + 0.05, best
