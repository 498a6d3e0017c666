"""What tasks choose on validation data once training is over."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.training import calibrating

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype="uint8")
AGES = np.arange(12.0)


@keras.saving.register_keras_serializable("keras_transfer_tests")
class Centred(kt.tasks.Regression):
    """Remembers the mean error on validation data."""

    calibrates = True

    def __init__(self, outputs=1, *, error=None, **options):
        super().__init__(outputs, **options)
        self.error = error

    def calibrate(self, targets, outputs):
        self.error = float(np.mean(outputs - targets.reshape(outputs.shape)))
        return f"error {self.error:.2f}"

    def get_config(self):
        return {**super().get_config(), "error": self.error}


def model_of(tasks):
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, strides=4, name="block1_conv")(image)
    return kt.build_model(keras.Model(image, x, name="small"), tasks)


def test_the_best_weights_are_calibrated_on_labelled_validation_images(capsys):
    tasks = {"age": Centred(), "kind": kt.tasks.Classification(2)}
    model = model_of(tasks)
    ages = np.where(AGES % 4 == 3, np.nan, AGES)
    labels = {"age": ages, "kind": np.arange(12) % 2}
    data = kt.data.from_arrays(PIXELS, labels, validation=0.5, batch_size=4)
    kt.fine_tune(model, data, stages=[kt.Stage(epochs=2, train="head")], seed=0)

    split, known = data.targets["validation"], data.weights["validation"]["age"] > 0
    pixels = np.concatenate([images for images, *_ in data.validation])
    answers = model.predict(pixels, verbose=0)["age"][:, 0]
    task = kt.models.outputs(model)["age"].task
    expected = np.mean(answers[known] - split["age"][known])
    assert task.error == pytest.approx(expected, rel=1e-4)
    assert tasks["age"].error is None
    assert f"age: error {task.error:.2f}" in capsys.readouterr().out


def test_it_travels_with_the_file(tmp_path):
    model = model_of(Centred())
    data = kt.data.from_arrays(PIXELS, AGES, validation=0.5)
    lines = kt.training.calibrate(model, data.validation)
    task = next(iter(kt.models.outputs(model).values())).task
    model.save(tmp_path / "m.keras")
    again = next(iter(kt.models.outputs(kt.load_model(tmp_path / "m.keras")).values())).task
    assert lines == [f"regression: error {task.error:.2f}"]
    assert again.error == task.error


COLOURS = np.random.default_rng(1).integers(0, 256, (240, 16, 16, 3), dtype="uint8")
KINDS = np.arange(240) % 4


@pytest.fixture
def unsure():
    """Labels that images say nothing about, so that a model that is sure is wrong."""
    return kt.data.from_arrays(COLOURS, KINDS, validation=0.5, batch_size=20, seed=0)


def sure_model():
    keras.utils.set_random_seed(0)
    model = model_of(kt.tasks.Classification(4))
    dense = model.get_layer("classification_logits")
    dense.kernel.assign(0.1 * dense.kernel)
    return model


def answers(model, data):
    return model.predict(np.concatenate([images for images, *_ in data.validation]), verbose=0)


def test_confidences_are_corrected_in_the_last_dense_layer(unsure, tmp_path):
    model = sure_model()
    before, error = answers(model, unsure), kt.evaluate(model, unsure.validation, verbose=0)["ece"]
    (line,) = kt.training.calibrate(model, unsure.validation)
    report = kt.evaluate(model, unsure.validation, verbose=0)
    assert report["ece"] < 0.5 * error
    assert f"{error:.3f} before, {report['ece']:.3f} after" in line
    np.testing.assert_array_equal(answers(model, unsure).argmax(axis=1), before.argmax(axis=1))

    model.save(tmp_path / "m.keras")
    again = kt.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(answers(again, unsure), answers(model, unsure))
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in sure_model().layers]


@pytest.mark.parametrize("refit", [False, True])
def test_fine_tune_ships_the_temperature(refit, unsure, tmp_path, capsys):
    """With `refit`, it is that of the first run."""
    stages = [kt.Stage(epochs=2, train="head", learning_rate=1e-9)]
    found, options = {}, {"stages": stages, "refit": refit, "run_dir": tmp_path}
    for calibrate in (False, True):
        model = sure_model()
        history = kt.fine_tune(model, unsure, calibrate=calibrate, **options)
        found[calibrate] = model.get_layer("classification_logits").kernel.numpy()
    temperature = history.record["temperatures"]["classification"]
    assert temperature > 1.5
    np.testing.assert_allclose(found[True], found[False] / temperature, rtol=1e-4)
    assert f"corrected by temperature {temperature:.2f}" in capsys.readouterr().out

    again = sure_model()
    kt.training.load_best(again, tmp_path)
    for one, other in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_answers_for_other_frequencies_and_few_images_stay(unsure):
    adjusted = model_of(kt.tasks.Classification(4, loss="logit_adjusted"))
    assert kt.training.calibrate(adjusted, unsure.validation) == []
    few = kt.data.from_arrays(COLOURS[:19], KINDS[:19], validation=0)
    assert kt.training.calibrate(sure_model(), few.train) == []


def test_too_few_images_are_not_answered(monkeypatch):
    """A pass over them would trace a function for nothing; one more than too few is enough."""
    model = model_of(kt.tasks.Classification(2))
    answered, predict = [], model.predict_on_batch
    monkeypatch.setattr(
        model, "predict_on_batch", lambda images: answered.append(len(images)) or predict(images)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype="uint8")
    dataset = tf.data.Dataset.from_tensor_slices((pixels, np.arange(20) % 2))
    assert kt.training.calibrate(model, dataset.take(19).batch(8)) == []
    assert answered == []
    kt.training.calibrate(model, dataset.batch(8))
    assert answered == [8, 8, 4]


NAMES = ["dark", "light"]


def grey_model(tasks):
    image = keras.Input((8, 8, 3))
    x = keras.layers.AveragePooling2D(8, name="block1_pool")(image)
    return kt.build_model(kt.backbone(keras.Model(image, x), preprocess="tf"), tasks)


def grey_data(labels):
    grey = np.repeat([0, 255], 20)[:, None, None, None]
    pixels = np.broadcast_to(grey, (40, 8, 8, 3)).astype("uint8")
    return kt.data.from_arrays(pixels, labels, validation=0.5, seed=0)


SEEN = np.repeat(NAMES, 20)
UNSEEN = np.tile(NAMES, 20)  # half of both kinds of images
HEAD = [kt.Stage(epochs=1, train="head", learning_rate=0.5)]


@pytest.mark.parametrize("labels", [SEEN, UNSEEN], ids=["seen", "unseen"])
def test_fine_tune_says_where_the_most_frequent_class_does_as_well(labels, capsys):
    model = grey_model(kt.tasks.Classification(NAMES))
    record = kt.fine_tune(model, grey_data(labels), stages=HEAD, verbose=1).record
    said = [note for note in record["notes"] if "always answering" in note]
    assert record["baselines"]["classification"]["scores"] == {"accuracy": 0.5}
    if labels is SEEN:
        assert said == []
        assert record["baselines"]["classification"]["is_beaten"]
    else:
        assert said[0].startswith("Not ")
        assert said[0] in capsys.readouterr().out


def test_each_task_is_told_of_by_its_name():
    tasks = {"kind": kt.tasks.Classification(NAMES), "age": kt.tasks.Regression()}
    ages = np.tile([1.0, 3.0, 2.0, 10.0], 10)
    model = grey_model(tasks)
    history = kt.fine_tune(model, grey_data({"kind": SEEN, "age": ages}), stages=HEAD, verbose=0)
    said = [note for note in history.record["notes"] if "always answering" in note]
    assert len(said) == 1
    assert said[0].startswith("age: Not ")
    assert set(history.record["baselines"]) == {"kind", "age"}


def test_answers_of_maps_are_not_collected(monkeypatch):
    """Those of a segmentation would fill memory for nothing; of a detection only the boxes that are left are kept."""
    tasks = {"mask": kt.tasks.Segmentation(2, width=4), "boxes": kt.tasks.Detection(1, width=4)}
    model = kt.build_model(kt.backbone("tiny", weights=None), tasks)
    pixels = np.zeros((4, 32, 32, 3), "uint8")
    targets = {
        "mask": np.zeros((4, 32, 32), "uint8"),
        "boxes": np.tile(np.float32([0, 0, 8, 8, 0, 0]), (4, 1, 1)),
    }
    batches = tf.data.Dataset.from_tensor_slices((pixels, targets)).batch(2)
    seen = []
    known = calibrating.labelled.known
    monkeypatch.setattr(
        calibrating.labelled, "known", lambda rows, own: seen.append(rows.shape) or known(rows, own)
    )
    assert [line[:6] for line in kt.training.calibrate(model, batches)] == ["boxes:"]
    assert seen == [(2, 1, 6), (2, 100, 7)] * 2
