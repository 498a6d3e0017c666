"""Extraction is proved by equality: taps = sub-models, one pass = several, nested = flat, disk = memory."""

import os
import signal
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.features import writers


def pictures(count, size=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


@pytest.fixture(scope="module")
def tiny():
    return kt.backbone("tiny")


@pytest.fixture(scope="module")
def plain():
    """Convolutions and poolings in five blocks, with names as in VGG."""
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    for block in range(1, 6):
        for number in range(1, 4):
            name = f"block{block}_conv{number}"
            x = keras.layers.Conv2D(16, 3, padding="same", activation="relu", name=name)(x)
        x = keras.layers.MaxPooling2D(name=f"block{block}_pool")(x)
    return keras.Model(image, x)


def submodel(model, layer):
    return keras.Model(model.inputs, model.get_layer(layer).output)


@pytest.mark.compiled
@pytest.mark.parametrize(
    "wanted", [["block5_conv3", "block4_pool"], ["block4_pool", "block5_conv3"], "block[45]_*[l3]"]
)
def test_two_taps_in_one_pass_equal_two_models_to_the_bit(wanted, plain):
    images = pictures(7)
    features = kt.features.extract(plain, images, layers=wanted, batch_size=4, verbose=0)
    assert [path for path in features if path in ("block4_pool", "block5_conv3")] == [
        "block4_pool",
        "block5_conv3",
    ]
    for layer in ("block5_conv3", "block4_pool"):
        expected = submodel(plain, layer).predict(images, batch_size=4, verbose=0)
        assert expected.std() > 0
        np.testing.assert_array_equal(features[layer], expected)


def test_without_layers_it_is_the_representation(tiny):
    images = pictures(5)
    features = kt.features.extract(tiny, images, verbose=0)
    assert list(features) == ["representation"]
    np.testing.assert_array_equal(np.asarray(features), tiny.predict(images, verbose=0))
    model = kt.build_model(tiny, kt.tasks.Classification(3))
    np.testing.assert_array_equal(
        kt.features.extract(model, images, verbose=0)["representation"], features
    )


def test_a_plain_model_gives_its_outputs():
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    outputs = {
        "a": keras.layers.Conv2D(2, 3, name="a")(x),
        "b": keras.layers.GlobalMaxPooling2D(name="b")(x),
    }
    features = kt.features.extract(keras.Model(inputs, outputs), pictures(3), verbose=0)
    assert {name: array.shape for name, array in features.items()} == {
        "a": (3, 30, 30, 2),
        "b": (3, 3),
    }


def test_levels_are_the_backbones(tiny):
    images = pictures(4)
    features = kt.features.extract(tiny, images, layers=["P3", "P2"], verbose=0)
    assert features.levels == {level: tiny.levels[level] for level in ("P2", "P3")}
    for level in ("P2", "P3"):
        expected = submodel(tiny, tiny.levels[level]).predict(images, verbose=0)
        np.testing.assert_array_equal(features[level], expected)
        np.testing.assert_array_equal(features[tiny.levels[level]], expected)
    with pytest.raises(
        checks.InputError,
        match=r"levels that the network has\. Given: 'P5' for a network with P2, P3",
    ):
        kt.features.extract(tiny, images, layers="P5", verbose=0)


def test_a_layer_may_be_called_like_a_level():
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(2, 3, strides=2, name="P3")(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3, strides=2, name="top")(x))
    assert kt.features.extract(model, pictures(2), layers="P3", verbose=0)["P3"].shape == (
        2,
        15,
        15,
        2,
    )


def test_nested_equals_flat(tiny):
    images = pictures(4)
    outer = keras.Sequential(
        [keras.Input((32, 32, 3)), tiny, keras.layers.GlobalAveragePooling2D(name="mean")]
    )
    flat = kt.features.extract(tiny, images, layers=["block1_add", "P3"], verbose=0)
    nested = kt.features.extract(outer, images, layers=["tiny/block1_add", "P3", "mean"], verbose=0)
    assert list(nested) == ["tiny/block1_add", "tiny/block4_1_relu", "mean"]
    np.testing.assert_array_equal(nested["block1_add"], flat["block1_add"])
    np.testing.assert_array_equal(nested["P3"], flat["P3"])
    deepest = kt.features.extract(outer, images, verbose=0)
    assert list(deepest) == ["tiny/representation"]
    np.testing.assert_array_equal(
        deepest["representation"], kt.features.extract(tiny, images, verbose=0)
    )


@pytest.mark.parametrize("pooling", ["avg", "max", "concat"])
def test_pooling_is_that_of_numpy(tiny, pooling):
    images = pictures(5)
    maps = kt.features.extract(tiny, images, layers=["P2", "P3"], verbose=0)
    pooled = kt.features.extract(tiny, images, layers=["P2", "P3"], pooling=pooling, verbose=0)
    for path, values in maps.items():
        parts = {"avg": values.mean((1, 2), dtype="float64"), "max": values.max((1, 2))}
        expected = (
            np.concatenate(list(parts.values()), axis=-1) if pooling == "concat" else parts[pooling]
        )
        # float32 sums of at most 64 numbers, in another order
        np.testing.assert_allclose(pooled[path], expected, rtol=1e-5, atol=1e-6)


def test_pooling_leaves_vectors_and_pools_sequences():
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    tokens = keras.layers.Reshape((64, 48), name="tokens")(x)
    model = keras.Model(
        inputs, keras.layers.Dense(4, name="vector")(keras.layers.GlobalMaxPooling1D()(tokens))
    )
    plain, pooled = (
        kt.features.extract(model, pictures(3), layers=["tokens", "vector"], pooling=way, verbose=0)
        for way in (None, "max")
    )
    np.testing.assert_array_equal(pooled["vector"], plain["vector"])
    np.testing.assert_array_equal(pooled["tokens"], plain["tokens"].max(1))


def test_disk_equals_memory(tiny, tmp_path, capsys):
    images, labels = pictures(11), np.arange(11)
    options = {"layers": ["block1_add", "P3"], "batch_size": 4}
    memory = kt.features.extract(tiny, (images, labels), **options, verbose=0)
    disk = kt.features.extract(
        tiny, (images, labels), **options, to=tmp_path / "features", verbose=2
    )
    size = sum(array.nbytes for array in memory.values()) / 1e6
    assert (
        f"features of 11 images: {size:.1f} MB in '{tmp_path / 'features'}'"
        in capsys.readouterr().out
    )
    again = kt.features.load(tmp_path / "features")
    for other in (disk, again):
        assert list(other) == list(memory)
        assert all(
            isinstance(array, np.memmap) and not array.flags.writeable for array in other.values()
        )
        for path, array in memory.items():
            np.testing.assert_array_equal(other[path], array)
        np.testing.assert_array_equal(other.targets, labels)
        assert other.levels == memory.levels
    about = {key: value for key, value in memory.about.items() if key not in {"created", "notes"}}
    assert about == {key: again.about[key] for key in about}
    assert about["source"]["name"] == "tiny"


def test_the_order_is_that_of_the_targets(tiny, tmp_path):
    """Each image is one grey value, which the pooled pixels give away."""
    grey = np.arange(0, 200, 5)
    images = np.broadcast_to(grey[:, None, None, None], (40, 32, 32, 3)).astype("uint8")
    data = kt.data.from_arrays(
        images, {"grey": grey.astype("float32"), "half": grey // 100}, batch_size=7, seed=3
    )
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.AveragePooling2D(32, name="mean")]
    )
    for split in ("train", "validation"):
        features = kt.features.extract(
            model, data, layers="mean", split=split, to=tmp_path / split, verbose=0
        )
        np.testing.assert_array_equal(features.targets["grey"], data.targets[split]["grey"])
        np.testing.assert_array_equal(features.targets["half"], data.targets[split]["half"])
        np.testing.assert_allclose(
            np.asarray(features)[:, 0, 0, 0], data.targets[split]["grey"], rtol=1e-6
        )
        assert features.about["split"] == split
        assert features.about["digest"] == data.digest
    assert data.epochs.next == 0


def test_files_and_class_names_come_along(tiny, tmp_path):
    for at, image in enumerate(pictures(6)):
        file = tmp_path / "photos" / "ab"[at % 2] / f"{at}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(tf.io.encode_png(image).numpy())
    (tmp_path / "photos" / "a" / "bad.png").write_bytes(b"")
    features = kt.features.extract(
        tiny, tmp_path / "photos", corrupt="skip", pooling="avg", to=tmp_path / "out", verbose=0
    )
    assert [os.path.basename(file) for file in features.files] == [
        "0.png",
        "2.png",
        "4.png",
        "1.png",
        "3.png",
        "5.png",
    ]
    assert features.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert features.class_names == ["a", "b"]
    assert list(features.about["skipped"].values()) == ["the file is empty"]
    assert "1 of 7 files cannot be read" in features.about["notes"][-1]
    expected = kt.features.extract(tiny, pictures(6)[[0, 2, 4, 1, 3, 5]], pooling="avg", verbose=0)
    np.testing.assert_array_equal(np.asarray(features), expected)


def test_text_targets(tiny):
    dataset = tf.data.Dataset.from_tensor_slices((pictures(3), ["ä", "b", "c"])).batch(2)
    assert kt.features.extract(tiny, dataset, verbose=0).targets.tolist() == ["ä", "b", "c"]


def test_inference_whatever_the_flags_say():
    """Dropout is off and batch statistics stay, although every layer trains."""
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.BatchNormalization(name="bn")(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, keras.layers.Dropout(0.9, name="drop")(x))
    before = [weight.numpy() for weight in model.weights]
    features = kt.features.extract(model, pictures(4), layers=["bn", "drop"], verbose=0)
    np.testing.assert_array_equal(features["drop"], features["bn"])
    assert all(np.array_equal(old, new) for old, new in zip(before, model.weights, strict=True))


@pytest.mark.compiled
def test_the_network_is_traced_once():
    traces = []

    @keras.saving.register_keras_serializable("keras_transfer_tests")
    class Watched(keras.layers.Layer):
        def call(self, inputs):
            traces.append(inputs.shape)
            return inputs

    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, Watched(name="watched")(inputs))
    traces.clear()
    kt.features.extract(model, pictures(10), batch_size=4, verbose=0)
    assert len(traces) == 1


def test_float16(tiny, tmp_path):
    images = pictures(4)
    full = kt.features.extract(tiny, images, verbose=0)
    half = kt.features.extract(tiny, images, dtype="float16", to=tmp_path / "half", verbose=0)
    assert half["representation"].dtype == np.float16
    np.testing.assert_array_equal(half["representation"], full["representation"].astype("float16"))
    large = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Rescaling(1000.0, name="large")]
    )
    with pytest.raises(
        checks.InputError, match=r"`dtype` must hold the features\. Given: 'float16', up to 65504"
    ):
        kt.features.extract(large, images, dtype="float16", to=tmp_path / "large", verbose=0)
    assert not (tmp_path / "large").exists()


@pytest.mark.compiled
def test_mixed_precision_gives_float32():
    keras.mixed_precision.set_global_policy("mixed_float16")
    model = kt.backbone("tiny", weights=None)
    features = kt.features.extract(
        model, pictures(3), layers="block1_add", pooling="avg", verbose=0
    )
    assert features["block1_add"].dtype == np.float32


GUARDED = {
    "0..1": (lambda: pictures(3) / 255.0, "must have values 0..255"),
    "NaN": (lambda: np.full((2, 32, 32, 3), np.nan, "float32"), "finite"),
}


@pytest.mark.parametrize("case", GUARDED)
def test_images_that_are_no_pixels_leave_nothing(case, tiny, tmp_path):
    make, message = GUARDED[case]
    with pytest.raises(checks.InputError, match=message):
        kt.features.extract(tiny, make(), to=tmp_path / "out", verbose=0)
    assert not (tmp_path / "out").exists()


def test_a_dark_start_is_no_mistake(tiny):
    dark = np.concatenate([pictures(4) / 300, pictures(4)]).astype("float32")
    assert kt.features.extract(tiny, dark, batch_size=2, verbose=0)["representation"].shape[0] == 8
    with pytest.raises(checks.InputError, match=r"0\.\.255"):
        kt.features.extract(tiny, dark[:4], batch_size=2, verbose=0)


def test_a_plain_network_fed_pixels_is_told(capsys):
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(2, 3, name="conv")])
    features = kt.features.extract(model, pictures(3), verbose=2)
    assert "no rescaling inside" in capsys.readouterr().out
    assert "no rescaling inside" in features.about["notes"][0]
    kt.features.extract(model, pictures(3), verbose=0)
    assert capsys.readouterr().out == ""


WRONG = {
    "layers": ({"layers": "blok1*"}, "`layers` must match a layer. Given: 'blok1"),
    "no layers": ({"layers": []}, "`layers` must be patterns"),
    "pooling": ({"pooling": "mean"}, "`pooling` must be a known name"),
    "dtype": ({"dtype": "float64"}, "`dtype` must be one of"),
    "batch_size": ({"batch_size": 0}, "`batch_size` must be a whole number"),
    "verbose": ({"verbose": 3}, "`verbose` must be one of"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case, tiny):
    options, message = WRONG[case]
    with pytest.raises(checks.InputError, match=message):
        kt.features.extract(tiny, pictures(2), **{"verbose": 0, **options})


def test_images_of_several_sizes_need_pooling():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(
        inputs, keras.layers.Conv2D(2, 3, name="conv")(keras.layers.Rescaling(1 / 255)(inputs))
    )
    dataset = tf.data.Dataset.from_generator(
        lambda: iter([pictures(2, 8), pictures(2, 10)]),
        output_signature=tf.TensorSpec((None, None, None, 3), tf.uint8),
    )
    with pytest.raises(checks.InputError, match="all images must have one size"):
        kt.features.extract(model, dataset, verbose=0)
    assert kt.features.extract(model, dataset, pooling="avg", verbose=0)["conv"].shape == (4, 2)


def test_a_layer_without_a_row_for_each_image():
    inputs = keras.Input((32, 32, 3))
    middle = keras.ops.mean(keras.layers.Rescaling(1 / 255)(inputs), axis=0)
    model = keras.Model(inputs, middle)
    with pytest.raises(checks.InputError, match="a row for each image"):
        kt.features.extract(model, pictures(2), verbose=0)


def test_an_empty_dataset(tiny, tmp_path):
    empty = tf.data.Dataset.from_tensor_slices(pictures(2)).batch(2).take(0)
    with pytest.raises(checks.InputError, match="must hold images"):
        kt.features.extract(tiny, empty, to=tmp_path / "out", verbose=0)
    assert not (tmp_path / "out").exists()


def test_too_little_room_is_found_before_writing(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(writers.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1000))
    with pytest.raises(checks.InputError, match=r"must have room.*MB of features, 0 MB free"):
        kt.features.extract(tiny, pictures(3), to=tmp_path / "out", verbose=0)
    assert not (tmp_path / "out").exists()


FULL = """
    import resource, sys, numpy as np, keras_transfer as kt
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # as a disk that fills up
    kt.features.extract(kt.backbone("tiny"), np.zeros((400, 32, 32, 3), "uint8"), to=sys.argv[1], verbose=0)
"""
KILLED = """
    import os, signal, sys, numpy as np, tensorflow as tf, keras_transfer as kt
    def images():
        for at in range(100):
            if at == 50:
                os.kill(os.getpid(), signal.SIGKILL)
            yield np.full((2, 32, 32, 3), at, "uint8")
    signature = tf.TensorSpec((None, 32, 32, 3), tf.uint8)
    dataset = tf.data.Dataset.from_generator(images, output_signature=signature)
    kt.features.extract(kt.backbone("tiny"), dataset, to=sys.argv[1], overwrite=True, verbose=0)
"""


MEMORY = """
    import pathlib, re, sys, numpy as np, keras_transfer as kt
    def peak():
        return int(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text()).group(1)) / 1e3
    model = kt.backbone("tiny", weights=None)
    images = np.random.default_rng(0).integers(0, 256, (6000, 32, 32, 3), np.uint8)
    options = {"layers": "P2", "to": sys.argv[1], "overwrite": True, "verbose": 0}
    kt.features.extract(model, images[:64], **options)
    before = peak()
    features = kt.features.extract(model, images, **options)
    print(peak() - before, sum(array.nbytes for array in features.values()) / 1e6)
"""


def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(tmp_path, run_code):
    done = run_code(FULL, tmp_path / "out")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("OSError: ")
    assert "images were written and are removed again" in last
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("earlier", [False, True], ids=["new folder", "over finished features"])
def test_a_killed_extraction_leaves_nothing_that_looks_complete(tiny, tmp_path, earlier, run_code):
    out = tmp_path / "out"
    if earlier:
        kt.features.extract(tiny, pictures(3), layers="P2", to=out, verbose=0)
    assert run_code(KILLED, out).returncode == -signal.SIGKILL
    assert (out / "features.partial").is_file()
    with pytest.raises(checks.InputError, match="an extraction was interrupted"):
        kt.features.load(out)
    features = kt.features.extract(tiny, pictures(3), to=out, verbose=0)
    assert sorted(path.name for path in out.iterdir()) == ["0-representation.npy", "features.json"]
    np.testing.assert_array_equal(
        features["representation"], kt.features.extract(tiny, pictures(3), verbose=0)
    )


@pytest.mark.skipif(
    not os.path.exists("/proc/self/status"), reason="resident memory is read from /proc"
)
def test_memory_does_not_grow_with_the_number_of_images(tmp_path, run_code):
    done = run_code(MEMORY, tmp_path / "out")
    assert done.returncode == 0, done.stderr[-2000:]
    grown, written = map(float, done.stdout.split())
    assert written > 95
    assert grown < 30


def test_missing_labels_are_said():
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    data = kt.data.from_arrays(
        images, [0, None, 1, 0], validation=None, test=(255 - images[:2], [0, 1])
    )
    backbone = kt.backbone("tiny", weights=None)
    found = kt.features.extract(backbone, data, verbose=0)
    assert found.about["notes"] == [
        "some labels are missing: their targets are 0, and so are their data.weights['train']"
    ]
    assert kt.features.extract(backbone, data, split="test", verbose=0).about["notes"] == []


UNFIT = {
    "one image": (lambda x: x[0], r"must have shape \(None, 8, 8, 3\)\. Given: \(None, 8, 3\)"),
    "no images": (lambda x: x[:0], "must hold images"),
    "size": (
        lambda x: x[:, :7],
        r"must have shape \(None, 8, 8, 3\)\. Given: \(None, 7, 8, 3\)",
    ),
    "channels": (lambda x: x[..., :1], "must have 3 channels as the model takes"),
    "not batched": (tf.data.Dataset.from_tensor_slices, "Batch the dataset"),
    "dict": (lambda x: tf.data.Dataset.from_tensors({"x": x}), "must give images as one tensor"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_images_that_the_model_does_not_take(case):
    make, message = UNFIT[case]
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D()])
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    with pytest.raises(checks.InputError, match=message):
        kt.features.extract(model, make(images), verbose=0)
