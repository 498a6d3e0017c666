"""What counts as pixels, for which model: a table of models, and one of batches."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.graphs import pixel_range


def network(*layers, size=8):
    return keras.Sequential([keras.Input((size, size, 3)), *layers])


def conv():
    return keras.layers.Conv2D(2, 3)


def nested():
    inner = network(keras.layers.Rescaling(1 / 127.5, offset=-1), conv())
    return network(keras.layers.RandomFlip(), inner)


def functional(verb):
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, conv()(verb(inputs)))


def normalised(mean):
    return network(keras.layers.Normalization(mean=mean, variance=[1.0] * 3), conv())


class Subclassed(keras.Model):
    def __init__(self, *own):
        super().__init__()
        self.own = list(own)

    def call(self, inputs):
        for layer in self.own:
            inputs = layer(inputs)
        return inputs


MODELS = {
    "tiny": (lambda: kt.backbone("tiny", weights=None), "pixels"),
    "tiny with a head": (
        lambda: kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(2)),
        "pixels",
    ),
    "preprocessing inside": (
        lambda: kt.backbone("MobileNetV3Small", weights=None, image_size=32),
        "pixels",
    ),
    "keras with rescaling": (
        lambda: keras.applications.EfficientNetV2B0(
            weights=None, include_top=False, input_shape=(32, 32, 3)
        ),
        "pixels",
    ),
    "keras without": (
        lambda: keras.applications.MobileNetV2(
            weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.35
        ),
        "raw",
    ),
    "convolution": (lambda: network(conv()), "raw"),
    "resized, augmented convolution": (
        lambda: network(keras.layers.Resizing(9, 9), keras.layers.RandomFlip(), conv()),
        "raw",
    ),
    "rescaling": (lambda: network(keras.layers.Rescaling(1 / 255), conv()), "pixels"),
    "nested rescaling": (nested, "pixels"),
    "rescaling after the first weights": (
        lambda: network(conv(), keras.layers.Rescaling(1 / 255)),
        "raw",
    ),
    "another rescaling": (lambda: network(keras.layers.Rescaling(0.1), conv()), "unknown"),
    "normalisation of pixels": (lambda: normalised([124.0, 117.0, 104.0]), "pixels"),
    "normalisation of shares": (lambda: normalised([0.485, 0.456, 0.406]), "unknown"),
    "batch normalisation": (lambda: network(keras.layers.BatchNormalization(), conv()), "unknown"),
    "arithmetic": (lambda: functional(lambda x: x / 127.5 - 1), "unknown"),
    "no weights": (lambda: network(keras.layers.GlobalAveragePooling2D()), "unknown"),
    "head on a plain network": (
        lambda: kt.build_model(network(conv(), size=32), kt.tasks.Classification(2)),
        "raw",
    ),
    "subclassed": (lambda: Subclassed(conv()), "unknown"),
    "subclassed with rescaling": (
        lambda: Subclassed(keras.layers.Rescaling(1 / 255), conv()),
        "pixels",
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_what_models_take(case):
    make, expected = MODELS[case]
    assert pixel_range.takes(make()) == expected


def test_a_trunk_that_says_how_it_preprocesses_takes_pixels():
    inputs = keras.Input((8, 8, 3))
    trunk = kt.backbones.Backbone.of(
        inputs, conv()(inputs / 3), source={"name": "mine", "preprocessing": "layer"}
    )
    assert pixel_range.takes(trunk) == "pixels"


def noise(low, high, dtype="float32", seed=0):
    values = np.random.default_rng(seed).uniform(low, high, (2, 8, 8, 3))
    return values.astype(dtype)


def with_value(images, value):
    images = images.copy()
    images[1, 2, 3, 0] = value
    return images


# batch: images, then what a model of pixels and one without rescaling say: "error", "note" or None.
BATCHES = {
    "uint8": (noise(0, 256, "uint8"), None, "note"),
    "floats of pixels": (noise(0, 256, "uint8").astype("float32"), None, "note"),
    "fractional pixels": (noise(0, 255), None, "note"),
    "0..1": (noise(0, 1), "error", None),
    "0..1 in float64": (noise(0, 1, "float64"), "error", None),
    "0..1 in float16": (noise(0, 1, "float16"), "error", None),
    "-1..1": (noise(-1, 1), "error", None),
    "standardised": (noise(-2.1, 2.6), "error", None),
    "beyond 255": (with_value(noise(0, 255), 300), "error", "note"),
    "16 bits": (noise(0, 2**16, "uint16"), "error", "note"),
    "negative": (with_value(noise(0, 255), -20), "error", "note"),
    "a little beyond by resizing": (with_value(noise(0, 255), 255.6), None, "note"),
    "not a number": (with_value(noise(0, 255), np.nan), "error", "error"),
    "infinite": (with_value(noise(0, 255), np.inf), "error", "error"),
    "black uint8": (np.zeros((2, 8, 8, 3), "uint8"), None, None),
    "dark uint8": (noise(0, 2, "uint8"), None, None),
    "black floats": (np.zeros((2, 8, 8, 3), "float32"), None, None),
    "dark floats with one brighter value": (with_value(noise(0, 1), 3), None, None),
    "floats of 0 and 1": (noise(0, 2, "uint8").astype("float32"), "note", None),
    "truth values": (noise(0, 2, "uint8").astype(bool), "note", None),
    "none": (np.zeros((0, 8, 8, 3), "float32"), None, None),
}


@pytest.fixture(scope="module")
def models():
    return network(keras.layers.Rescaling(1 / 255), conv()), network(conv())


def outcome(model, images, **options):
    try:
        found = pixel_range.check(model, images, **options)
    except checks.InputError:
        return "error"
    return found and "note"


@pytest.mark.parametrize("case", BATCHES)
def test_what_is_said_of_batches(case, models):
    images, of_pixels, of_raw = BATCHES[case]
    assert outcome(models[0], images) == of_pixels
    assert outcome(models[1], images) == of_raw


def test_a_normalised_batch_explains_itself(models):
    with pytest.raises(
        checks.InputError,
        match=r"images of train must have values 0\.\.255.*Multiply them by 255, or",
    ) as wrong:
        pixel_range.check(models[0], noise(0, 1), name="images of train")
    assert len(str(wrong.value).splitlines()) == 1
    with pytest.raises(
        checks.InputError, match=r"Use \(images \+ 1\) \* 127\.5, or leave the rescaling out"
    ):
        pixel_range.check(models[0], noise(-1, 1))
    with pytest.raises(checks.InputError, match="divided by 257"):
        pixel_range.check(models[0], noise(0, 2**16, "uint16"))


def test_a_dark_start_is_looked_beyond(models):
    dark, bright = noise(0, 0.9), noise(0, 255)
    assert outcome(models[0], dark, more=[dark, dark]) == "error"
    assert outcome(models[0], dark, more=[dark, bright]) is None
    assert outcome(models[0], noise(0, 2, "uint8").astype("float32"), more=[bright]) is None


def test_more_is_not_asked_for_without_suspicion(models):
    def more():
        raise AssertionError("read")
        yield

    assert outcome(models[0], noise(0, 255), more=more()) is None


def test_further_reads_a_bounded_number_of_batches():
    dataset = tf.data.Dataset.range(100).map(lambda at: (tf.fill((1, 2, 2, 3), at), at))
    assert [int(images[0, 0, 0, 0]) for images in pixel_range.further(dataset)] == list(
        range(1, 17)
    )


SHAPES = {
    "fits": ((None, 32, 32, 3), (None, 32, 32, 3), None),
    "any": ((None, None, None, None), (4, 7, 9, 3), None),
    "unknown": ((None, 32, 32, 3), (None, None, None, None), None),
    "single": (
        (None, 32, 32, 3),
        (32, 32, 3),
        r"must have shape .*Batch the dataset: `data\.batch\(32\)`",
    ),
    "channels": (
        (None, 32, 32, 1),
        (None, 32, 32, 3),
        r"must have 1 channel as the model takes\. Given: 3\. Set `channels=1` where .* or `channels=3` for the back",
    ),
    "more channels": (
        (None, 32, 32, 4),
        (None, 64, 64, 3),
        r"must have 4 channels as the model takes\. Given: 3",
    ),
    "size": (
        (None, 32, 32, 3),
        (None, 64, 64, 3),
        r"must have shape \(None, 32, 32, 3\)\. .*Set `image_size`",
    ),
    "rank": ((None, 32, 32, 3), (None, 5), "must have shape"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_shapes(case):
    wanted, given, message = SHAPES[case]
    if message is None:
        pixel_range.check_shape(wanted, given, name="`images`")
    else:
        with pytest.raises(checks.InputError, match=message):
            pixel_range.check_shape(wanted, given, name="`images`")
