"""`kt.explain`: what it is given, and what it refuses."""

import keras
import networks
import numpy as np
import pytest
from errors import told
from PIL import Image

import keras_transfer as kt

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype="uint8")


@pytest.fixture(scope="module")
def model():
    tasks = {"kind": kt.tasks.Classification(["cat", "dog"]), "age": kt.tasks.Regression()}
    return kt.build_model(networks.small(), tasks, balancing="pcgrad", seed=0)


def test_files_and_arrays_agree_in_batches_of_any_size(model, tmp_path):
    for number, image in enumerate(PIXELS):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    arrays = kt.explain(model, PIXELS, task="kind", target=["cat", "dog", 0])
    files = kt.explain(model, tmp_path, task="kind", target=["cat", 1, "cat"], batch_size=2)
    assert arrays.targets == files.targets == ["cat", "dog", "cat"]
    np.testing.assert_allclose(arrays.maps, files.maps, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(arrays.evidence, files.evidence, rtol=1e-4)

    assert arrays.overlay(0).shape == (32, 32, 3)
    assert arrays._repr_html_().count("<img") == 3


def test_pictures_have_the_size_and_the_name_of_their_files(model, tmp_path):
    file = tmp_path / "cat.jpg"
    Image.fromarray(PIXELS[0]).resize((64, 48)).save(file)
    written = kt.explain(model, [file, file], task="kind").save(tmp_path / "maps")
    assert [path.rpartition("/")[2] for path in written] == ["cat.png", "cat_1.png"]
    for path in written:
        with Image.open(path) as picture:
            assert picture.size == (64, 48)


def test_the_likeliest_class_is_explained_where_none_is_named(model):
    answers = model.predict(PIXELS, verbose=0)
    explanation = kt.explain(model, PIXELS, task="kind")
    assert explanation.targets == [["cat", "dog"][best] for best in answers["kind"].argmax(1)]
    numbers = kt.explain(model, PIXELS, task="age")
    np.testing.assert_allclose(numbers.evidence, answers["age"][:, 0], rtol=1e-4)


def test_explaining_changes_nothing(model):
    """Gradients pass the layer that balances tasks, whose state moves when they do in training."""
    before = model.get_weights()
    kt.explain(model, PIXELS, task="kind")
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_bad_input_is_told_before_anything_runs(model, monkeypatch):
    monkeypatch.setattr(kt.evaluation.GradCAM, "explain", None)
    told(lambda: kt.explain(model, PIXELS, method="gradcma", task="kind"), "'gradcam'")
    told(lambda: kt.explain(model, PIXELS, method=3, task="kind"), "'gradcam'", "3")
    told(lambda: kt.explain(model, PIXELS), "`task`", "'kind'", "'age'")
    told(lambda: kt.explain(model, PIXELS, task="kin"), "'kind'")
    for target in ("zebra", 2, 0.5, ["cat", 7], ["cat"], True):
        told(lambda: kt.explain(model, PIXELS, task="kind", target=target), "`target`")  # noqa: B023
    told(lambda: kt.explain(model, PIXELS, task="kind", layer="kind_logits"), "map", "(None, 2)")
    told(lambda: kt.explain(model, PIXELS, task="kind", layer="konv"), "`layer`")

    vectors = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten()])
    told(lambda: kt.explain(vectors, PIXELS), "places", "occlusion")
