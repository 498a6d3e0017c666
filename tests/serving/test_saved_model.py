import io
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

import keras_transfer as kt
from keras_transfer.storage import images as core_images

pytestmark = pytest.mark.compiled

NAMES = ["cat", "dog", "Löwe"]  # those of the model in conftest.py


@pytest.fixture(scope="module")
def loaded(exported):
    return tf.saved_model.load(str(exported))


@pytest.fixture(scope="module")
def expected(model, pictures):
    """What `predict` says of the pictures, brought to the model's size."""
    return model.predict(core_images.resize(pictures, (32, 32)).numpy(), verbose=0)


def png(picture):
    return tf.io.encode_png(picture).numpy()


def call(loaded, signature, **inputs):
    answers = loaded.signatures[signature](
        **{key: tf.constant(value) for key, value in inputs.items()}
    )
    return {key: value.numpy() for key, value in answers.items()}


def check_classification(answers, expected):
    np.testing.assert_allclose(
        answers["probabilities"], expected, atol=1e-5
    )  # float32, other order of sums
    best_first = np.argsort(-expected, axis=1)
    names = np.array([name.encode() for name in NAMES], object)
    np.testing.assert_array_equal(answers["classes"], names[best_first])
    np.testing.assert_array_equal(answers["label"], names[best_first[:, 0]])


def test_the_pictures_are_told_apart(expected):
    """Else the tests below would prove little."""
    assert sorted(set(expected.argmax(axis=1))) == [0, 1, 2]
    assert expected.std(axis=0).min() > 0.1


def test_pixels_of_any_size_answer_as_predict(loaded, pictures, expected):
    answers = call(loaded, "pixels", images=pictures)
    assert sorted(answers) == ["classes", "label", "probabilities"]
    check_classification(answers, expected)


def test_pixels_of_the_models_size_are_not_touched(loaded, model):
    noise = np.random.default_rng(2).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    check_classification(call(loaded, "pixels", images=noise), model.predict(noise, verbose=0))


def test_files_answer_as_predict(loaded, pictures, expected):
    check_classification(
        call(loaded, "serving_default", image_bytes=[png(picture) for picture in pictures]),
        expected,
    )


def test_files_of_different_sizes_in_one_batch(loaded, model, pictures):
    cropped = [picture[: 20 + i, : 30 + 2 * i] for i, picture in enumerate(pictures)]
    small = np.stack([core_images.resize(picture, (32, 32)) for picture in cropped])
    answers = call(loaded, "serving_default", image_bytes=[png(picture) for picture in cropped])
    check_classification(answers, model.predict(small, verbose=0))


def test_bytes_that_are_no_image_are_refused(loaded):
    with pytest.raises(tf.errors.InvalidArgumentError, match="not a JPEG"):
        call(loaded, "serving_default", image_bytes=[b"not an image"])


def test_features_are_the_averaged_representation(loaded, model, pictures):
    trunk = keras.Model(model.input, kt.models.representation(model).output)
    maps = trunk.predict(core_images.resize(pictures, (32, 32)).numpy(), verbose=0)
    assert maps.shape == (12, 4, 4, 6)
    answers = call(loaded, "features", images=pictures)
    assert list(answers) == ["features"]
    # A ReLU ends the trunk: no cancellation, so the difference stays relative to the value.
    np.testing.assert_allclose(answers["features"], maps.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)


CLIENT = """
import json, pathlib, sys
import numpy as np, tensorflow as tf
folder, pictures = sys.argv[1:]
loaded = tf.saved_model.load(folder)
files = [path.read_bytes() for path in sorted(pathlib.Path(pictures).iterdir())]
answers = loaded.signatures["serving_default"](image_bytes=tf.constant(files))
print(json.dumps({
    "signatures": {name: list(function.structured_input_signature[1]) for name, function in loaded.signatures.items()},
    "answers": {key: np.char.decode(value.numpy().astype(bytes)).tolist() if value.dtype == tf.string
                else value.numpy().tolist() for key, value in answers.items()},
    "ours": [name for name in sys.modules if name.startswith("keras_transfer")],
}))
"""


def in_clean_process(folder, pictures, cwd):
    command = [sys.executable, "-I", "-c", CLIENT, str(folder), str(pictures)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_process_with_tensorflow_only_gives_the_same_answers(exported, model, pictures, tmp_path):
    """PNG, and JPEG photos that EXIF turns; what is expected is decoded by Pillow and answered by `predict`."""
    (tmp_path / "files").mkdir()
    pixels = []
    for i, picture in enumerate(pictures):
        data = io.BytesIO()
        if i < 6:
            Image.fromarray(picture).save(data, "PNG")
        else:
            exif = Image.Exif()
            exif[0x0112] = i - 3  # orientations 3..8
            Image.fromarray(picture).save(data, "JPEG", quality=90, exif=exif)
        (tmp_path / "files" / f"{i:02}").write_bytes(data.getvalue())
        upright = np.asarray(ImageOps.exif_transpose(Image.open(data)))
        assert (upright.shape[0] > upright.shape[1]) == (i >= 8)  # orientations 5..8 stand
        pixels.append(core_images.resize(upright, (32, 32)))
    given = in_clean_process(exported, tmp_path / "files", tmp_path)
    assert given["ours"] == []
    assert given["signatures"] == {
        "serving_default": ["image_bytes"],
        "pixels": ["images"],
        "features": ["images"],
    }
    expected = model.predict(np.stack(pixels), verbose=0)
    np.testing.assert_allclose(given["answers"]["probabilities"], expected, atol=1e-5)
    assert given["answers"]["label"] == [NAMES[row.argmax()] for row in expected]
    assert given["answers"]["classes"] == [[NAMES[i] for i in np.argsort(-row)] for row in expected]


def test_several_tasks_prefix_their_keys(small, pictures, tmp_path):
    model = small(
        {
            "breed": kt.tasks.Classification(7),
            "age": kt.tasks.Regression(2),
            "fur": kt.tasks.Classification(2),
        }
    )
    model.get_layer("age").scale.assign([3.0, 20.0])
    model.get_layer("age").offset.assign([-1.0, 50.0])
    path = kt.export(model, tmp_path / "1")
    loaded = tf.saved_model.load(str(path))
    outputs = {name: sorted(each.structured_outputs) for name, each in loaded.signatures.items()}
    keys = [
        f"{task}/{key}"
        for task in ("breed", "fur")
        for key in ("classes", "label", "probabilities")
    ]
    assert outputs == {
        "serving_default": sorted([*keys, "age/value"]),
        "pixels": sorted([*keys, "age/value"]),
        "features": ["features"],
    }
    expected = model.predict(core_images.resize(pictures, (8, 8)).numpy(), verbose=0)
    answers = call(loaded, "serving_default", image_bytes=[png(picture) for picture in pictures])
    np.testing.assert_allclose(answers["age/value"], expected["age"], atol=1e-4)  # values around 50
    assert np.mean(answers["age/value"], axis=0)[1] > 20
    for task in ("breed", "fur"):
        np.testing.assert_allclose(answers[f"{task}/probabilities"], expected[task], atol=1e-5)
        labels = [str(row.argmax()).encode() for row in expected[task]]
        assert answers[f"{task}/label"].tolist() == labels
    assert np.shape(answers["breed/classes"]) == (12, 5)
    assert sorted(file.name for file in (path / "assets").iterdir()) == [
        "breed.labels.txt",
        "fur.labels.txt",
    ]
    assert (path / "assets" / "breed.labels.txt").read_text().split() == list("0123456")


def test_labels_and_facts_travel_along(exported, model):
    assert (exported / "assets" / "labels.txt").read_text(encoding="utf-8") == "cat\ndog\nLöwe\n"
    facts = json.loads(
        (exported / "assets.extra" / "keras_transfer.json").read_text(encoding="utf-8")
    )
    assert facts["versions"] == {
        "keras_transfer": kt.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }
    assert facts["image_size"] == [32, 32]
    assert facts["backbone"]["name"] == "small"
    assert facts["preprocessing"]["network"] == "tf"
    task = facts["tasks"]["classification"]
    assert (task["class"], task["kind"], task["classes"], task["dropout"]) == (
        "Classification",
        "classification",
        NAMES,
        0.5,
    )
    assert facts["signatures"]["serving_default"]["inputs"] == {
        "image_bytes": {"shape": [None], "dtype": "string"}
    }
    assert facts["signatures"]["pixels"]["inputs"] == {
        "images": {"shape": [None, None, None, 3], "dtype": "uint8"}
    }
    assert facts["signatures"]["features"]["outputs"] == {
        "features": {"shape": [None, 6], "dtype": "float32"}
    }


def test_each_weight_is_inside_once_and_nothing_else(exported, model):
    """Adam's slots would make the folder three times as large, Keras's `track` twice."""
    saved = tf.train.list_variables(str(exported / "variables" / "variables"))
    sizes = [int(np.prod(shape)) for name, shape in saved if not name.startswith("_CHECKPOINTABLE")]
    assert sum(sizes) == model.count_params()
    assert (
        sum(int(np.prod(variable.shape)) for variable in model.optimizer.variables)
        > model.count_params()
    )


def test_models_of_any_image_size_get_pixels_as_they_are(small, pictures, tmp_path):
    model = small(shape=(None, None, 3))
    loaded = tf.saved_model.load(str(kt.export(model, tmp_path / "1")))
    for size in (32, 20):
        cropped = pictures[:, :size, :size]
        expected = model.predict(cropped, verbose=0)
        check_classification(call(loaded, "pixels", images=cropped), expected)
        check_classification(
            call(loaded, "serving_default", image_bytes=list(map(png, cropped))), expected
        )


def test_models_of_grey_images(small, tmp_path):
    model = small(shape=(16, 16, 1))
    loaded = tf.saved_model.load(str(kt.export(model, tmp_path / "1")))
    grey = np.arange(256, dtype=np.uint8).reshape(
        1, 16, 16, 1
    )  # every value: none may change on the way
    expected = model.predict(grey, verbose=0)
    check_classification(call(loaded, "pixels", images=grey), expected)
    np.testing.assert_array_equal(
        call(loaded, "serving_default", image_bytes=[png(grey[0])])["probabilities"],
        call(loaded, "pixels", images=grey)["probabilities"],
    )
    assert kt.verify(tmp_path / "1", model, grey)["images"] == 1


def test_models_with_alpha_get_it_from_the_file(small, tmp_path):
    model = small(shape=(16, 16, 4))
    path = kt.export(model, tmp_path / "1")
    loaded = tf.saved_model.load(str(path))
    transparent = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 4), dtype=np.uint8)
    expected = model.predict(transparent, verbose=0)
    check_classification(call(loaded, "pixels", images=transparent), expected)
    check_classification(
        call(loaded, "serving_default", image_bytes=list(map(png, transparent))), expected
    )
    opaque = transparent | np.array([0, 0, 0, 255], np.uint8)
    answers = call(loaded, "serving_default", image_bytes=list(map(png, opaque[..., :3])))
    check_classification(answers, model.predict(opaque, verbose=0))
    assert sorted(kt.verify(path, model)["signatures"]) == ["features", "pixels", "serving_default"]


def test_models_of_channels_that_no_file_holds(small, tmp_path, capsys):
    channels = 5
    model = small(shape=(16, 16, channels))
    path = kt.export(model, tmp_path / "1")
    note, line = capsys.readouterr().out.splitlines()
    told = (
        f"no image file holds {channels} channels: `serving_default` takes pixels, as `pixels` does"
    )
    assert note == f"keras_transfer: {told}"
    assert "SavedModel with pixels, features (" in line
    loaded = tf.saved_model.load(str(path))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, channels), dtype=np.uint8)
    expected = model.predict(pixels, verbose=0)
    for signature in ("pixels", "serving_default"):
        check_classification(call(loaded, signature, images=pixels), expected)
    facts = json.loads((path / "assets.extra" / "keras_transfer.json").read_text(encoding="utf-8"))
    assert facts["channels"] == channels
    assert list(facts["signatures"]) == ["pixels", "features"]
    found = kt.verify(path, model, pixels)
    assert (found["images"], sorted(found["signatures"])) == (3, ["features", "pixels"])
    model.get_layer("conv").kernel.assign(2 * model.get_layer("conv").kernel)
    with pytest.raises(kt.serving.ParityError, match="`pixels` gives "):
        kt.verify(path, model, pixels)


def test_mixed_precision_answers_in_float32(small, pictures, tmp_path):
    keras.mixed_precision.set_global_policy("mixed_float16")
    marked, (unmarked, _, _) = small(), plain("single")
    keras.mixed_precision.set_global_policy("float32")
    assert kt.models.representation(marked).output.dtype == "float16"
    assert unmarked.output.dtype == "float16"
    inputs = core_images.resize(pictures, (8, 8)).numpy()
    for model, key in ((marked, "probabilities"), (unmarked, "output_0")):
        loaded = tf.saved_model.load(str(kt.export(model, tmp_path / key)))
        answers = call(loaded, "pixels", images=pictures)[key]
        features = call(loaded, "features", images=pictures)["features"]
        assert answers.dtype == np.float32
        assert features.dtype == np.float32
        expected = model.predict(inputs, verbose=0).astype("float32")
        np.testing.assert_allclose(answers, expected, rtol=2e-2, atol=2e-3)  # float16 has 11 bits


def plain(kind):
    """A model without marks, the model of its features, and the signs of its last layer in the answers."""
    image = keras.Input((8, 8, 3), name="x")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(image))
    dense = keras.layers.Dense(2, name="last")(pooled)
    single, features = keras.Model(image, dense, name="single"), keras.Model(image, pooled)
    if kind == "single":
        return single, features, {"output_0": 1}
    if kind == "list":
        return (
            keras.Model([image], [dense, -dense], name="list"),
            features,
            {"output_0": 1, "output_1": -1},
        )
    if kind == "dict":
        return (
            keras.Model({"x": image}, {"b": {"c": -dense}, "a": dense}, name="dict"),
            features,
            {"a": 1, "b/c": -1},
        )
    stack = keras.Sequential(
        [keras.Input((8, 8, 3)), features, single.get_layer("last")], name="sequential"
    )
    return stack, features, {"output_0": 1}


@pytest.mark.parametrize("kind", ["single", "list", "dict", "sequential"])
def test_plain_keras_models_answer_by_the_names_of_their_outputs(kind, pictures, tmp_path, capsys):
    model, trunk, signs = plain(kind)
    inputs = core_images.resize(pictures, (8, 8)).numpy()
    features = trunk.predict(inputs, verbose=0)
    last = model.get_layer("last")
    outputs = features @ last.kernel.numpy() + last.bias.numpy()
    path = kt.export(model, tmp_path / "1")
    source = trunk.name if kind == "sequential" else trunk.layers[-1].name
    assert capsys.readouterr().out.startswith(
        f"keras_transfer: '{kind}' has no representation mark: "
        f"`features` are the output of layer '{source}'\n"
    )
    loaded = tf.saved_model.load(str(path))
    answers = call(loaded, "pixels", images=pictures)
    assert sorted(answers) == sorted(signs)
    for key, sign in signs.items():
        np.testing.assert_allclose(
            answers[key], sign * outputs, rtol=1e-5, atol=1e-3
        )  # values of about 100
    given = call(loaded, "features", images=pictures)["features"]
    np.testing.assert_allclose(given, features, rtol=1e-5, atol=1e-3)
    assert not (path / "assets" / "labels.txt").exists()
    assert kt.verify(path, model, pictures)["labels"] == {"agree": 0, "of": 0}


def test_logits_become_probabilities_and_the_representation_is_below_them(tmp_path, pictures):
    images = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.Rescaling(1 / 255)(images))
    model = keras.Model(images, keras.layers.Dense(4, name="logits")(x))
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    path = kt.export(model, tmp_path / "1")
    loaded = tf.saved_model.load(str(path))
    inputs = core_images.resize(pictures, (8, 8)).numpy()
    answers = call(loaded, "pixels", images=pictures)
    assert set(answers) == {"probabilities"}
    expected = keras.ops.softmax(model.predict(inputs, verbose=0))
    np.testing.assert_allclose(answers["probabilities"], expected, rtol=1e-5)
    assert call(loaded, "features", images=pictures)["features"].shape == (len(pictures), 3)
    facts = json.loads((path / "assets.extra" / "keras_transfer.json").read_text())
    assert facts["features"]["layer"] == "pool"
    kt.verify(path, model, pictures)
