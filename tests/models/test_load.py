import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import checks

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")


def test_a_trained_model_comes_back_whole(tmp_path):
    model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(["cat", "dog"]))
    model.fit(PIXELS, np.array([0, 1, 0, 1]), verbose=0)
    model.save(tmp_path / "m.keras")
    again = kt.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(PIXELS, verbose=0), model.predict(PIXELS, verbose=0))
    assert again.evaluate(PIXELS, np.array([0, 1, 0, 1]), verbose=0) == model.evaluate(
        PIXELS, np.array([0, 1, 0, 1]), verbose=0
    )
    assert kt.layers.outputs(again)["classification"].task.class_names == ["cat", "dog"]
    first = [again.fit(PIXELS, np.array([0, 1, 0, 1]), verbose=0).history["loss"] for _ in range(1)]
    assert first == [model.fit(PIXELS, np.array([0, 1, 0, 1]), verbose=0).history["loss"]], "optimizer state too"


def test_code_needs_trust(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2)])
    model.save(tmp_path / "code.keras")
    with pytest.raises(checks.InputError, match="must not carry code.*trust=True"):
        kt.load_model(tmp_path / "code.keras")
    assert kt.load_model(tmp_path / "code.keras", trust=True)(np.ones((1, 2))).numpy().tolist() == [[2.0, 2.0]]


def test_absent_and_broken_files(tmp_path):
    with pytest.raises(checks.InputError, match="existing .keras file"):
        kt.load_model(tmp_path / "absent.keras")
    (tmp_path / "broken.keras").write_bytes(b"no zip")
    with pytest.raises(checks.InputError, match="whole Keras file"):
        kt.load_model(tmp_path / "broken.keras")
