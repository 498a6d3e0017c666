"""A task of somebody's own whose answers have places: it trains, is measured and cached as every other does."""

import keras
import numpy as np
import pytest
from keras import ops
from networks import small
from PIL import Image

import keras_transfer as kt
from keras_transfer.data import base, pipeline
from keras_transfer.data.targets import masks, pictures

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 32, 32, 3), np.uint8)
MASKS = (IMAGES.mean(axis=-1) > 128).astype(np.uint8)


@keras.saving.register_keras_serializable("tests")
class Bright(kt.tasks.Task):
    """Which pixels are bright, by a dense layer."""

    kind = "bright"
    units = 32 * 32

    def __init__(self, **options):
        super().__init__(**options)
        self.class_names = ["dark", "bright"]

    def activate(self, outputs):
        return ops.sigmoid(ops.reshape(outputs, (-1, 32, 32)))

    def loss(self, targets=None):
        return keras.losses.BinaryCrossentropy()

    def metrics(self):
        return [keras.metrics.BinaryAccuracy(name="accuracy")]

    def encode(self, targets):
        return np.asarray(targets)

    def decode(self, outputs):
        return {"bright": outputs}

    def measure(self, targets, outputs):
        return {"score": float(((outputs > 0.5) == targets).mean()), "support": len(targets)}


@pytest.fixture(params=["arrays", "files"])
def data(request, tmp_path):
    column = MASKS
    if request.param != "arrays":
        paths = [tmp_path / f"{number}.png" for number in range(12)]
        for path, mask in zip(paths, MASKS, strict=True):
            Image.fromarray(mask).save(path)
        sizes = pictures.Pictures((32, 32))
        column, _ = masks.read_files(paths, sizes=sizes, classes=["dark", "bright"], keep=False)
    whole = pipeline.Examples.of(IMAGES, column)
    return base.from_examples(
        {"train": whole.pick(np.arange(8)), "validation": whole.pick(np.arange(8, 12))},
        class_names=["dark", "bright"],
        image_size=(32, 32),
        batch_size=4,
        seed=0,
        digest=f"{masks.__name__}",
        notes=[],
    )


def test_a_task_with_places_trains_and_is_measured(data):
    found = []
    for cache in ("memory", "off"):
        keras.utils.set_random_seed(0)
        model = kt.build_model(small(), Bright())
        stage = kt.Stage(epochs=2, train="head", learning_rate=1e-2, optimizer="sgd")
        history = kt.fine_tune(
            model, data, stages=[stage], cache=cache, seed=0, verbose=0, refit=False
        )
        assert bool(history.record.get("cache")) == (cache == "memory")
        found.append((history.history["loss"], model.get_weights()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    for kept, direct in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(kept, direct, atol=1e-5)
    report = kt.evaluate(model, data.validation)
    answers = model.predict(data.validation, verbose=0)
    assert report["score"] == pytest.approx(((answers > 0.5) == MASKS[8:]).mean())
    model.fit(data.train, shuffle=False, verbose=0)
