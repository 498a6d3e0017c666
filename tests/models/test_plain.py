"""`kt.to_keras`: equal answers from Keras's own layers."""

import keras
import networks
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import checks
from keras_transfer.models import plain

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype="uint8")
LABELS = {"kind": np.array([0, 1, 2, 0]), "age": np.arange(4.0)}


def tasks():
    return {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression()}


@pytest.mark.parametrize(
    ("sharing", "balancing"),
    [
        (None, "pcgrad"),
        (None, "uncertainty"),
        ("cross_stitch", None),
        ("experts", None),
        ("attention", None),
        ({"age": "block4_conv"}, None),
    ],
)
def test_several_tasks(sharing, balancing):
    model = kt.build_model(networks.small(), tasks(), sharing=sharing, balancing=balancing)
    kt.models.outputs(model)["age"].take_unit(LABELS["age"])
    plain_model = kt.to_keras(model)
    expected, answers = (each.predict(PIXELS, verbose=0) for each in (model, plain_model))
    assert set(answers) == {"kind", "age"}
    for name in answers:
        np.testing.assert_allclose(answers[name], expected[name], rtol=1e-5, atol=1e-5)
    assert not any(plain.is_own(layer) for layer in plain_model._flatten_layers())


def test_heads_on_maps():
    """Boxes, masks, depths and pictures, also from the file."""
    on_maps = {
        "boxes": kt.tasks.Detection(2, width=4, depth=1),
        "mask": kt.tasks.Segmentation(2, width=4),
        "depth": kt.tasks.Depth(width=4),
        "picture": kt.tasks.ImageToImage(width=4),
    }
    model = kt.build_model(kt.backbone("tiny", weights=None), on_maps)
    plain_model = kt.to_keras(model)
    assert not any(plain.is_own(layer) for layer in plain_model._flatten_layers())
    loaded = keras.models.model_from_json(plain_model.to_json())
    loaded.set_weights(plain_model.get_weights())
    expected, answers = (each.predict_on_batch(PIXELS) for each in (model, loaded))
    for name in on_maps:
        np.testing.assert_allclose(answers[name], expected[name], rtol=1e-5, atol=1e-4)


def test_the_twin_is_independent_and_measures_the_same():
    model = kt.build_model(networks.small(), kt.tasks.Classification(3, hidden=[4]))
    model.fit(PIXELS, LABELS["kind"], verbose=0)
    plain_model = kt.to_keras(model)
    expected = model.evaluate(PIXELS, LABELS["kind"], verbose=0, return_dict=True)
    assert plain_model.evaluate(
        PIXELS, LABELS["kind"], verbose=0, return_dict=True
    ) == pytest.approx(expected, rel=1e-5)
    before = model.get_weights()
    plain_model.fit(PIXELS, LABELS["kind"], verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("mode", ["tf", "torch", "caffe", "0-1", "inside"])
def test_every_mode_of_preprocessing(mode, channels):
    for plane in (0.0, 2.0):
        layer = kt.layers.Preprocess(mode, channels=channels, plane=plane, name="preprocess")
        images = keras.Input((4, 4, channels))
        twin = keras.Model(images, layer.to_keras(images))
        pixels = np.random.default_rng(1).uniform(0, 255, (2, 4, 4, channels)).astype("float32")
        np.testing.assert_allclose(twin(pixels), layer(pixels), rtol=1e-5, atol=1e-5)


def test_a_backbone_and_a_nested_one():
    backbone = networks.small()
    images = keras.Input((32, 32, 3))
    nested = keras.Model(images, keras.layers.Dense(2)(backbone(images)))
    for model in (backbone, nested):
        twin = kt.to_keras(model)
        np.testing.assert_allclose(
            twin.predict(PIXELS, verbose=0), model.predict(PIXELS, verbose=0), rtol=1e-5, atol=1e-5
        )
        assert not any(plain.is_own(layer) for layer in twin._flatten_layers())


def test_a_layer_without_an_equal_is_named():
    @keras.saving.register_keras_serializable("test_plain")
    def halved(pixels):
        return pixels / 2

    images = keras.Input((32, 32, 3))
    network = keras.Model(images, keras.layers.Conv2D(2, 3)(images))
    model = kt.build_model(kt.backbone(network, preprocess=halved), kt.tasks.Classification(2))
    with pytest.raises(checks.InputError, match="that Keras's own can replace.*PreprocessFunction"):
        kt.to_keras(model)


@pytest.mark.parametrize(
    ("own", "y_true"),
    [
        (kt.losses.Crossentropy(), np.array([0, 2])),
        (kt.losses.TagCrossentropy(), np.array([[0.0, 1, 1], [1, 0, 0]])),
        (kt.losses.ScaledHuber(delta=0.3), np.array([[0.2, 0.5, 4], [1, 1, 1]])),
    ],
)
def test_losses_that_have_an_equal(own, y_true):
    y_pred = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]], "float32")
    weights = np.array([0.5, 2.0])
    for options in ({}, {"sample_weight": weights}):
        expected = float(own(y_true, y_pred, **options))
        assert float(own.to_keras()(y_true, y_pred, **options)) == pytest.approx(expected, rel=1e-5)


def test_losses_that_have_none():
    for own in (
        kt.losses.Crossentropy(label_smoothing=0.1),
        kt.losses.Crossentropy(class_weights=[1, 2]),
        kt.losses.ScaledHuber(scale=2.0),
    ):
        assert own.to_keras() is None
    assert not hasattr(kt.losses.Focal(), "to_keras")
