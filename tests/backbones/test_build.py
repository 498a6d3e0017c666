"""`kt.backbone` beyond the table: contract, arguments, weights files, errors."""

import pathlib
import urllib.error

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer import testing
from keras_transfer.core import checks


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("tiny", None),
        # The lower part has all kinds of layers; what needs the whole graph is in test_applications.py.
        ("VGG16", "block2_pool"),
        ("MobileNetV2", "block_2_add"),
        ("MobileNetV3Small", "expanded_conv_4_add"),
    ],
)
def test_contract(name, output):
    backbone = kt.backbone(name, weights=None, image_size=32)
    testing.check_backbone(backbone if output is None else kt.backbone(backbone, output=output))


def test_nothing_is_built_until_asked_for():
    assert len(kt.backbones.names()) == 41
    assert kt.backbones.CATALOGUE["VGG16"].family == "vgg16"


def test_a_backbone_is_a_keras_model_that_survives_saving(tmp_path):
    backbone = kt.backbone("tiny")
    backbone.save(tmp_path / "b.keras")
    again = kt.load_model(tmp_path / "b.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    assert again.source == backbone.source
    assert again.levels == backbone.levels
    np.testing.assert_array_equal(
        again.predict(pixels, verbose=0), backbone.predict(pixels, verbose=0)
    )


def test_own_arguments_are_passed_on():
    narrow = kt.backbone("MobileNetV2", weights=None, image_size=32, alpha=0.35)
    assert narrow.count_params() == 410_208
    assert narrow.source["arguments"] == {"alpha": 0.35}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """Keras's own MobileNetV2 of 0.35 times the width, and the folder with its weights in both formats."""
    network = keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.35
    )
    folder = tmp_path_factory.mktemp("narrow")
    network.save_weights(folder / "new.weights.h5")
    keras.src.legacy.saving.legacy_h5_format.save_model_to_hdf5(network, str(folder / "old.h5"))
    return network, folder


def test_weights_from_a_file_equal_the_original(narrow):
    plain, folder = narrow
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    for name in ("new.weights.h5", "old.h5"):
        ours = kt.backbone("MobileNetV2", weights=folder / name, image_size=32, alpha=0.35)
        np.testing.assert_array_equal(
            np.asarray(ours(pixels)), np.asarray(plain(pixels / 127.5 - 1)), err_msg=name
        )


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("mobilenet_v2", {}, "Close names: 'MobileNetV2'"),
        (
            "VGG16",
            {"alpha": 0.5},
            "an argument of VGG16 must be known. Given: 'alpha'. It takes none.",
        ),
        ("MobileNetV2", {"alpah": 0.5}, "It takes: alpha."),
        (
            "Xception",
            {"image_size": 64},
            "`image_size` must be at least 71 for Xception. Given: 64",
        ),
        ("tiny", {"image_size": (32, 31)}, "at least 32 for tiny"),
        (
            "tiny",
            {"weights": "imagenet"},
            "'pretrained', None or an existing file. Given: 'imagenet'",
        ),
        ("VGG16", {"weights": "imagnet"}, "an existing file. Given: 'imagnet'"),
    ],
)
def test_bad_arguments(name, arguments, message):
    with pytest.raises(checks.InputError, match=message):
        kt.backbone(name, **{"weights": None, **arguments})


@pytest.mark.filterwarnings("ignore:Skipping")
def test_a_file_of_another_network(narrow):
    file = narrow[1] / "new.weights.h5"
    for name, arguments in (("MobileNetV2", {"alpha": 0.5}), ("VGG16", {}), ("tiny", {})):
        with pytest.raises(checks.InputError, match="must be a weights file of"):
            kt.backbone(name, **arguments, image_size=32, weights=file)


def test_files_that_are_no_weights(tmp_path):
    (tmp_path / "text.h5").write_text("no weights")
    (tmp_path / "text.txt").write_text("no weights")
    with pytest.raises(checks.InputError, match="must be a weights file of VGG16"):
        kt.backbone("VGG16", image_size=32, weights=tmp_path / "text.h5")
    with pytest.raises(checks.InputError, match=r"an \.h5, \.weights\.h5 or \.keras file"):
        kt.backbone("VGG16", image_size=32, weights=tmp_path / "text.txt")


def test_a_failed_download_says_what_to_do_offline(monkeypatch, tmp_path):
    """Keras's own loading code, with only the connection replaced."""

    def unreachable(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", unreachable)
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    with pytest.raises(
        checks.InputError, match="vgg16_weights.*notop.h5.*Offline: put the file of that name into"
    ):
        kt.backbone("VGG16", image_size=32)


@pytest.mark.realdata
def test_real_weights_through_our_loader(real_data):
    """The same features as Keras's own network with the same file, on real pixels."""
    file = (
        real_data / "weights" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    )
    plain = keras.applications.MobileNetV2(
        input_shape=(224, 224, 3), alpha=0.35, include_top=False, weights=str(file)
    )
    ours = kt.backbone("MobileNetV2", weights=file, alpha=0.35)
    photos = sorted(pathlib.Path(real_data / "caltech24" / "test" / "crab").iterdir())[:4]
    pixels = kt.data.load_images(photos, 224)
    expected = plain(keras.applications.mobilenet_v2.preprocess_input(pixels.astype("float32")))
    np.testing.assert_allclose(np.asarray(ours(pixels)), np.asarray(expected), atol=1e-5)
