"""From arrays of other channels than three to an export that answers as Keras does."""

import networks
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import checks


@pytest.mark.parametrize("channels", [1, 2, pytest.param(4, marks=pytest.mark.compiled)])
def test_train_export_verify(channels, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 2
    pixels = rng.integers(0, 100, (24, 32, 32, channels), dtype=np.uint8)
    pixels[labels == 1, :, :, -1] += 150  # only the last channel tells the classes apart
    data = kt.data.from_arrays(pixels, labels, channels=channels, validation=0.25, batch_size=6)
    trunk = networks.small(channels=channels)
    model = kt.build_model(trunk, kt.tasks.Classification(data.class_names))
    kernel = model.get_layer("block1_conv").kernel.numpy()
    kt.fine_tune(model, data, epochs=(1, 1), unfreeze="block1*", verbose=0)
    assert not np.array_equal(kernel, model.get_layer("block1_conv").kernel)
    report = kt.evaluate(model, data.validation)
    assert report["support"] == 6
    report.save(tmp_path / "report.html")

    path = kt.export(model, tmp_path / "1")
    found = kt.verify(path, model, data)
    assert found["images"] == 6
    assert ("serving_default" in found["signatures"]) == (channels != 2)

    model.save(tmp_path / "model.keras")
    again = kt.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.predict(pixels, verbose=0), model.predict(pixels, verbose=0)
    )


def test_data_of_other_channels_are_refused_before_training():
    grey = np.random.default_rng(0).integers(0, 256, (8, 32, 32), dtype=np.uint8)
    data = kt.data.from_arrays(grey, np.arange(8) % 2, channels=1)
    model = kt.build_model(
        kt.backbone("tiny", weights=None), kt.tasks.Classification(data.class_names)
    )
    with pytest.raises(
        checks.InputError, match="must have 3 channels as the model takes. Given: 1"
    ) as raised:
        kt.fine_tune(model, data, verbose=0)
    assert "\n" not in str(raised.value)
