"""What tasks choose on validation data once training is over."""

import keras
import numpy as np
import pytest

import keras_transfer as kt

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
