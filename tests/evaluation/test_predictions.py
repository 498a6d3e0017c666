"""`kt.predict`: from files and arrays to labels."""

import keras
import networks
import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.core import checks

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype="uint8")


@pytest.fixture(scope="module")
def model():
    return kt.build_model(networks.small(), kt.tasks.Classification(["cat", "dog", "owl"]))


@pytest.fixture
def folder(tmp_path):
    for number, image in enumerate(PIXELS):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    return tmp_path


def test_files_arrays_and_pil_images_agree(model, folder):
    files = sorted(folder.iterdir())
    expected = model.predict(PIXELS, verbose=0)
    given = {
        "files": files,
        "an array": PIXELS,
        "arrays": list(PIXELS),
        "PIL": [Image.open(file) for file in files],
    }
    for kind, images in given.items():
        predictions = kt.predict(model, images, top=2)
        np.testing.assert_allclose(predictions.outputs, expected, rtol=1e-5, err_msg=kind)
        names = ["cat", "dog", "owl"]
        assert predictions.labels == [names[best] for best in expected.argmax(1)]
        first = predictions[0]
        best = np.argsort(-expected[0])[:2]
        assert list(first["probabilities"]) == [names[at] for at in best]
        assert first["probabilities"][first["label"]] == pytest.approx(expected[0].max(), abs=1e-5)
        assert first.get("file") == (str(files[0]) if kind == "files" else None)


def test_one_file_and_one_picture(model, folder):
    assert kt.predict(model, PIXELS[0]).labels == kt.predict(model, str(folder / "0.png")).labels


def test_pictures_of_other_sizes_and_palettes(model):
    picture = Image.fromarray(PIXELS[0]).resize((50, 40)).convert("P")
    assert len(kt.predict(model, [picture, np.zeros((8, 9), "uint8")])) == 2


def test_it_prints_a_line_an_image_and_a_table_in_notebooks(model, folder):
    predictions = kt.predict(model, folder)
    lines = str(predictions).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"{folder / '0.png'}  {predictions[0]['label']}")
    page = predictions._repr_html_()
    assert page.count("<img") == 3
    assert predictions[0]["label"] in page


def test_several_tasks_have_a_dict_each():
    tasks = {
        "kind": kt.tasks.Classification(["cat", "dog"]),
        "age": kt.tasks.Regression(),
        "tags": kt.tasks.MultiLabel(["red", "round"], thresholds=0.01),
    }
    model = kt.build_model(networks.small(), tasks)
    predictions = kt.predict(model, PIXELS)
    outputs = model.predict(PIXELS, verbose=0)
    assert predictions[1]["age"]["value"] == pytest.approx(float(outputs["age"][1, 0]))
    assert set(predictions[0]["tags"]["probabilities"]) == {"red", "round"}
    assert set(predictions.labels) == {"kind", "age", "tags"}
    assert "kind: " in str(predictions)
    assert kt.model_classes(model) == {"kind": ["cat", "dog"], "tags": ["red", "round"]}


def plain(activation=None):
    images = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(images))
    return keras.Model(images, keras.layers.Dense(3, activation=activation)(x))


def test_a_model_of_ones_own():
    model = plain("softmax")
    probabilities = model.predict(PIXELS, verbose=0)
    assert kt.predict(model, PIXELS).labels == [str(best) for best in probabilities.argmax(1)]
    assert "value" in kt.predict(plain(), PIXELS)[0], "logits of an unknown loss are numbers"
    logits = plain()
    logits.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    shares = kt.predict(logits, PIXELS)[0]["probabilities"]
    assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
    assert kt.model_classes(model) is None


def test_what_cannot_be_labelled(model, tmp_path):
    with pytest.raises(checks.InputError, match="`images` must be a folder or a file that exists"):
        kt.predict(model, [tmp_path / "absent.jpg"])
    with pytest.raises(checks.InputError):
        kt.predict(model, [])
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(checks.InputError, match="must be a readable image"):
        kt.predict(model, tmp_path)


def test_the_names_of_one_task(model):
    assert kt.model_classes(model) == ["cat", "dog", "owl"]
