import pathlib

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.backbones import sources
from keras_transfer.core import checks


def small_network():
    image = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, name="conv")(image)
    return keras.Model(image, keras.layers.Conv2D(8, 3, strides=2, name="deep")(x), name="small")


def test_one_call_takes_a_name_a_model_and_a_file(tmp_path):
    network = small_network()
    network.save(tmp_path / "network.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    expected = network(pixels / 255.0)
    for source in (network, tmp_path / "network.keras", str(tmp_path / "network.keras")):
        np.testing.assert_array_equal(kt.backbone(source, preprocess="0-1")(pixels), expected)
    assert kt.backbone("tiny", weights=None).source["name"] == "tiny"


def test_each_kind_of_source_is_recognised(tmp_path):
    kinds = [
        ("VGG16", "name in the catalogue"),
        (small_network(), "Keras model"),
        ("kerashub:resnet_18_imagenet", "KerasHub preset"),
        ("network.keras", "file of a Keras model"),
        (pathlib.Path("network.h5"), "file of a Keras model"),
        (tmp_path, "SavedModel"),
        ("https://tfhub.dev/a/b/1", "SavedModel"),
        ("module.tar.gz", "SavedModel"),
        ("vgg16", None),
    ]
    for source, kind in kinds:
        rows = sources.ORIGINS.items()
        assert next((name for name, row in rows if row.recognises(source)), None) == kind, source


@pytest.mark.parametrize(
    ("source", "arguments", "message"),
    [
        ("MobilNetV2", {}, "Close names: 'MobileNetV2'"),
        (
            "no/such/folder",
            {},
            "`source` must be a known name, or an existing file or folder. Given: 'no/such/folder'",
        ),
        (3, {}, "`source` must be a name, a path, a handle or a keras.Model. Given: int"),
        ("tiny", {"preprocess": "tf"}, "`preprocess` must be left out for tiny"),
        ("tiny", {"output": "block2"}, "`output` must be left out for tiny"),
        ("tiny", {"channels": 0}, "`channels` must be a whole number of at least 1"),
        ("tiny", {"alpha": 0.5}, "an argument of tiny must be known. Given: 'alpha'"),
        ("absent.keras", {"preprocess": "tf"}, "absent.keras"),
        ("absent.h5", {"preprocess": "tf"}, "absent.h5"),
    ],
)
def test_what_cannot_be_a_source_is_one_line(source, arguments, message):
    with pytest.raises(checks.InputError) as raised:
        kt.backbone(source, weights="pretrained", **arguments)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_model_needs_its_preprocessing_said():
    with pytest.raises(checks.InputError, match="`preprocess` must be given") as raised:
        kt.backbone(small_network())
    assert str(raised.value).count("0-1") == 1
