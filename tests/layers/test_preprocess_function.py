import functools
import zipfile

import keras
import numpy as np
import pytest
from keras import ops

import keras_transfer as kt
from keras_transfer import layers, testing
from keras_transfer.core import checks

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 3), dtype="uint8")


@keras.saving.register_keras_serializable("tests")
def halved_and_cropped(pixels):
    return pixels[:, 1:-1] / 2


@keras.saving.register_keras_serializable("tests")
def darker(pixels):
    return ops.cast(pixels - 10, "float16")


def plain(pixels):
    return pixels


def test_contract():
    testing.check_layer(layers.PreprocessFunction(halved_and_cropped), PIXELS.astype("float32"))


def test_what_comes_out_is_what_the_function_gives():
    found = np.asarray(layers.PreprocessFunction(halved_and_cropped)(PIXELS))
    np.testing.assert_array_equal(found, PIXELS[:, 1:-1].astype("float32") / 2)


def test_bytes_are_numbers_before_and_after():
    found = layers.PreprocessFunction(darker)(np.zeros((1, 2, 2, 3), "uint8"))
    assert found.dtype == "float32"
    assert float(found[0, 0, 0, 0]) == -10.0


def test_shapes_follow_the_function():
    layer = layers.PreprocessFunction(halved_and_cropped)
    assert layer(keras.Input((32, None, 3))).shape == (None, 30, None, 3)
    assert layer.compute_output_shape((None, 8, 8, 3)) == (None, 6, 8, 3)


def test_stays_float32_under_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    assert layers.PreprocessFunction(halved_and_cropped)(PIXELS).dtype == "float32"


def test_a_saved_model_holds_the_name_and_no_code(tmp_path):
    image = keras.Input((6, 5, 3))
    model = keras.Model(image, layers.PreprocessFunction(halved_and_cropped, name="own")(image))
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        config = archive.read("config.json").decode()
    assert '"function": "tests>halved_and_cropped"' in config
    again = kt.load_model(tmp_path / "m.keras")
    assert again.get_layer("own").function is halved_and_cropped
    np.testing.assert_array_equal(
        again.predict(PIXELS, verbose=0), model.predict(PIXELS, verbose=0)
    )


@pytest.mark.parametrize(
    ("function", "given"),
    [(plain, "plain"), (lambda pixels: pixels, "<lambda>"), (functools.partial(plain), "partial")],
)
def test_a_function_that_could_not_be_loaded_is_refused(function, given):
    name = "plain" if function is plain else "preprocess"
    line = rf"Write `@keras.saving.register_keras_serializable\('my_package'\)` above `def {name}\(pixels\):`"
    with pytest.raises(checks.InputError, match=f"must be registered.*Given: .*{given}.*{line}"):
        layers.PreprocessFunction(function)


def test_a_name_that_is_not_imported_yet():
    with pytest.raises(
        checks.InputError, match="Given: 'elsewhere>scaled'. Import the module that defines it."
    ):
        layers.PreprocessFunction("elsewhere>scaled")
