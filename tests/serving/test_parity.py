import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.core import checks

pytestmark = pytest.mark.compiled


def error(path, model, *arguments, kind=checks.InputError, **options):
    with pytest.raises(kind) as raised:
        kt.verify(path, model, *arguments, **options)
    return str(raised.value)


@pytest.fixture
def changed(model):
    """Changes one number of the model's weights, for one test."""
    before = []

    def change(layer, index, by):
        bias = model.get_layer(layer).bias
        before.append((bias, bias.numpy()))
        bias.assign(bias.numpy() + by * np.eye(bias.shape[0])[index])
        return model

    yield change
    for bias, value in before:
        bias.assign(value)


def test_an_export_agrees_on_every_image_of_the_test_split(exported, model, pictures, capsys):
    data = kt.data.from_arrays(
        pictures, np.arange(12) % 3, test=0.25, validation=None, image_size=32, batch_size=2
    )
    held = 3
    assert len(data.targets["test"]) == held
    capsys.readouterr()
    found = kt.verify(exported, model, data)
    assert sorted(found) == ["images", "labels", "signatures", "tolerance"]
    assert found["images"] == held
    assert found["labels"] == {"agree": held, "of": held}
    assert found["tolerance"] == 1e-4
    assert sorted(found["signatures"]) == ["features", "pixels", "serving_default"]
    assert all(0 <= gap <= 1e-5 for gap in found["signatures"].values())
    line = capsys.readouterr().out
    assert line.startswith(
        f"keras_transfer: SavedModel agrees with Keras on {held} of {held} images (max difference "
    )
    assert line.count("\n") == 1


def test_verifying_counts_no_pass_over_the_training_data(exported, model, pictures):
    data = kt.data.from_arrays(pictures, np.arange(12) % 3, validation=None, image_size=32)
    assert kt.verify(exported, model, data)["images"] == 12
    assert data.epochs.next == 0


def test_kinds_of_datasets(quick, pictures):
    model, exported = quick
    labels = np.arange(12)
    images = pictures.astype("float32")
    kinds = {
        "dataset of pairs": tf.data.Dataset.from_tensor_slices((images, labels)).batch(5),
        "dataset of images": tf.data.Dataset.from_tensor_slices(pictures).batch(5),
        "array": pictures,
        "floats": images,
        "pair of arrays": (pictures, labels),
    }
    for name, dataset in kinds.items():
        assert kt.verify(exported, model, dataset)["images"] == 12, name
    assert kt.verify(exported, model)["images"] == 16
    many = np.zeros((70, 8, 8, 3), np.uint8)  # more than one batch
    assert kt.verify(exported, model, many)["labels"] == {"agree": 70, "of": 70}


def test_images_are_rounded_for_both_and_that_is_said(quick, pictures, capsys):
    model, exported = quick
    images = pictures + np.random.default_rng(0).uniform(-0.4, 0.4, pictures.shape)
    kt.verify(exported, model, images)
    assert capsys.readouterr().out.startswith(
        "keras_transfer: images were rounded to whole numbers for the comparison\n"
    )


def test_a_changed_weight_is_found_and_named(exported, changed, pictures):
    model = changed("classification_logits", 1, by=0.5)
    text = error(exported, model, pictures, kind=kt.serving.ParityError)
    assert issubclass(kt.serving.ParityError, ValueError)
    assert not issubclass(kt.serving.ParityError, checks.InputError)
    assert text.startswith(
        "the SavedModel must answer as Keras does, within 0.0001. Given: `pixels` gives probabilities["
    )
    loaded = tf.saved_model.load(str(exported))
    old = loaded.signatures["pixels"](images=tf.constant(pictures))["probabilities"].numpy()
    resized = tf.image.resize(pictures, (32, 32), antialias=True).numpy().round()
    new = model.predict(resized, verbose=0)
    place = tuple(np.argwhere(abs(old - new) > 1e-4)[0])
    assert (
        f"probabilities[{place[1]}] = {old[place]:.6g} for image {place[0]}, Keras {new[place]:.6g};"
        in text
    )
    count = (abs(old - new) > 1e-4).any(axis=1).sum()
    assert f"different images: {count} in pixels, {count} in serving_default, of 12." in text
    assert text.endswith("If the model was changed since, export it again.")


def test_a_difference_in_a_later_batch_is_counted_from_the_first(quick, small):
    """Black images give no features, since the convolution has no bias: the changed kernel shows on white ones only."""
    exported, path = quick
    model = small()
    model.set_weights(exported.get_weights())
    logits = model.get_layer("classification_logits")
    logits.kernel.assign(logits.kernel.numpy() * 2)
    images = np.zeros((70, 8, 8, 3), np.uint8)
    images[[40, 66]] = 255
    text = error(path, model, images, kind=kt.serving.ParityError)
    assert " for image 40, Keras " in text
    assert "different images: 2 in pixels, 2 in serving_default, of 70." in text


def test_tolerance_is_what_is_accepted(exported, changed, pictures):
    model = changed("classification_logits", 1, by=1e-3)
    found = kt.verify(exported, model, pictures, tolerance=1e-2)
    assert 1e-5 < found["signatures"]["pixels"] < 1e-3
    error(exported, model, pictures, kind=kt.serving.ParityError, tolerance=1e-5)
    assert "`tolerance` must be a number" in error(exported, model, pictures, tolerance=-1)


def test_the_trunk_is_compared_where_no_answer_shows_it(small, pictures, tmp_path):
    model = small()
    model.get_layer("classification_logits").kernel.assign(np.zeros((4, 3)))
    path = kt.export(model, tmp_path / "1")
    model.get_layer("conv").bias.assign(np.full(4, 0.5))
    text = error(path, model, pictures, kind=kt.serving.ParityError)
    assert "`features` gives features[0] = " in text
    assert "different images: 12 in features, of 12" in text


def test_large_numbers_are_compared_relatively(small, pictures, tmp_path):
    model = small(kt.tasks.Regression())
    layer = model.get_layer("regression")
    layer.scale.assign([1e6])
    layer.offset.assign([1e7])
    path = kt.export(model, tmp_path / "1")
    layer.offset.assign([1e7 + 500])  # 5e-5 of the value
    found = kt.verify(path, model, pictures)
    assert found["labels"] == {"agree": 0, "of": 0}
    assert 1e-5 < found["signatures"]["pixels"] < 1e-4
    layer.offset.assign([1e7 + 5000])
    assert "`pixels` gives value[0] = " in error(path, model, pictures, kind=kt.serving.ParityError)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_what_is_no_number_agrees_with_nothing(value, small, pictures, tmp_path):
    model = small(kt.tasks.Regression())
    model.get_layer("regression").offset.assign([float(value)])
    path = kt.export(model, tmp_path / "1")
    text = error(path, model, pictures, kind=kt.serving.ParityError)
    assert (
        f"`pixels` gives value[0] = {value} for image 0, Keras {value}; different images: 12 in pixels"
        in text
    )


def tied(small, first, second):
    """A model whose first two classes are equally likely but for `first` - `second` in their logits."""
    model = small(kt.tasks.Classification(["cat", "dog", "cow"]))
    logits = model.get_layer("classification_logits")
    logits.kernel.assign(np.zeros((4, 3)))
    logits.bias.assign([first, second, -1.0])
    return model


def test_a_tie_may_swap_labels_and_is_counted(small, pictures, tmp_path):
    path = kt.export(tied(small, 1e-5, 0), tmp_path / "1")
    found = kt.verify(path, tied(small, 0, 1e-5), pictures)
    assert found["labels"] == {"agree": 0, "of": 12}
    text = error(path, tied(small, 0, 1e-5), pictures, kind=kt.serving.ParityError, tolerance=1e-6)
    assert "`pixels` gives probabilities[0] = " in text


@keras.saving.register_keras_serializable("tests")
class Renamed(kt.tasks.Classification):
    """Says other labels than the model that was exported."""

    swapped = False

    def decode(self, outputs):
        answers = super().decode(outputs)
        if Renamed.swapped:
            answers["label"] = tf.reverse(tf.constant(self.class_names), [0])[
                : tf.shape(outputs)[0]
            ]
        return answers


def test_wrong_labels_of_right_probabilities_are_an_error(small, pictures, tmp_path, monkeypatch):
    model = small(Renamed(["cat", "dog", "cow"]))
    logits = model.get_layer("classification_logits")
    logits.kernel.assign(np.zeros((4, 3)))
    logits.bias.assign([1.0, 0, -1.0])
    monkeypatch.setattr(Renamed, "swapped", True)
    path = kt.export(model, tmp_path / "1")
    monkeypatch.setattr(Renamed, "swapped", False)
    text = error(path, model, pictures[:3], kind=kt.serving.ParityError)
    assert (
        "`pixels` gives label = cow for image 0, Keras cat; different images: 2 in pixels" in text
    )


def test_an_export_of_another_model_is_refused(exported, small, pictures):
    other = small(kt.tasks.Classification(5), shape=(32, 32, 3))
    assert "gives probabilities of shape (12, 3), Keras (12, 5)" in error(
        exported, other, pictures, kind=kt.serving.ParityError
    )
    number = small(kt.tasks.Regression(), shape=(32, 32, 3))
    assert "`pixels` gives classes, label, probabilities, Keras value" in error(
        exported, number, pictures, kind=kt.serving.ParityError
    )


def test_folders_that_are_no_export(exported, model, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name in ("absent", "empty", "file"):
        assert (
            error(tmp_path / name, model)
            == f"`path` must be a SavedModel folder. Given: '{tmp_path / name}'."
        )
    shutil.copytree(exported, tmp_path / "cut")
    whole = (exported / "saved_model.pb").read_bytes()
    (tmp_path / "cut" / "saved_model.pb").write_bytes(whole[: len(whole) // 2])
    assert error(tmp_path / "cut", model).startswith(
        f"`path` must be a whole SavedModel. Given: '{tmp_path / 'cut'}' ("
    )
    shutil.copytree(exported, tmp_path / "hollow")
    shutil.rmtree(tmp_path / "hollow" / "variables")
    assert error(tmp_path / "hollow", model).startswith(
        "`path` must be a whole SavedModel. Given: "
    )


def test_a_saved_model_without_the_signatures(model, tmp_path):
    model.export(tmp_path / "keras", verbose=False)
    assert error(tmp_path / "keras", model) == (
        "`path` must have the signatures of kt.export: serving_default, pixels, features. "
        f"Given: serve, serving_default in '{tmp_path / 'keras'}'."
    )


def test_datasets_that_cannot_be_compared(quick, pictures):
    model, exported = quick
    endless = tf.data.Dataset.from_tensors(pictures).repeat()
    single = tf.data.Dataset.from_tensor_slices(pictures)
    cases = [
        (pictures[:0], "`dataset` must have at least one image. Given: none."),
        (
            tf.data.Dataset.from_tensors(pictures).take(0),
            "`dataset` must have at least one image. Given: none.",
        ),
        (endless, "`dataset` must end. Given: an endless dataset. Use `dataset.take(n)`."),
        (
            single,
            "the images must be numbers of shape (batch, height, width, 3). Given: uint8 of shape (40, 70, 3). "
            "Batch the dataset: `dataset.batch(32)`.",
        ),
        (
            pictures[..., :1],
            "the images must be numbers of shape (batch, height, width, 3). Given: uint8 of shape (12, 40, 70, 1).",
        ),
        (pictures - 300.0, "the images must have values 0..255. Given: "),
        (
            np.full((2, 32, 32, 3), np.nan),
            "the images must have values 0..255. Given: nan in image 0 of a batch.",
        ),
        (
            "photos",
            "`dataset` must be a folder or a file that exists. Given: 'photos'.",
        ),
        (
            3,
            "`dataset` must come from kt.data or be what Keras's fit takes: ",
        ),
    ]
    for dataset, text in cases:
        assert error(exported, model, dataset).startswith(text)


def test_the_model_must_be_one(exported):
    assert error(exported, "model") == "`model` must be a keras.Model. Given: str."
