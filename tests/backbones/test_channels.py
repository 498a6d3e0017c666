"""Other than three channels: the first layer is adapted exactly, and everything above it stays as it was."""

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer import layers, testing
from keras_transfer.backbones import build, channels, tiny
from keras_transfer.core import checks


def named(name, *, weights="imagenet", side=None, channel_mode="mean", **options):
    family = kt.backbones.FAMILIES[kt.backbones.CATALOGUE[name].family]
    side = side or max(32, family.minimum)
    given = {
        "weights": weights,
        "image_size": (side, side),
        "channels": 3,
        "arguments": {},
        **options,
    }
    return build.from_name(name, channel_mode=channel_mode, **given)


def features(model, pixels):
    return np.asarray(model(pixels, training=False))


def gap(found, expected):
    """The largest difference, relative to the largest feature."""
    return np.abs(found - expected).max() / np.abs(expected).max()


def grey(side, count=2):
    return np.random.default_rng(0).uniform(0, 255, (count, side, side, 1)).astype("float32")


# Mean and variance of the colours.
IMAGENET = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]) ** 2
KERNEL = np.arange(2 * 2 * 3 * 2, dtype="float32").reshape(2, 2, 3, 2)
RED, GREEN, BLUE = (KERNEL[:, :, at : at + 1] for at in range(3))


@pytest.mark.parametrize(
    ("mode", "count", "expected"),
    [
        ("mean", 1, [RED + GREEN + BLUE]),
        ("mean", 2, [(RED + GREEN + BLUE) / 2] * 2),
        ("mean", 5, [(RED + GREEN + BLUE) / 5] * 5),
        ("tile", 1, [3 * RED]),
        ("tile", 4, [RED * 0.75, GREEN * 0.75, BLUE * 0.75, RED * 0.75]),
        ("zero-extra", 3, [RED, GREEN, BLUE]),
        ("zero-extra", 5, [RED, GREEN, BLUE, 0 * RED, 0 * RED]),
    ],
)
def test_widened_kernels_by_hand(mode, count, expected):
    found = channels.widen(KERNEL, count, mode)
    assert found.dtype == KERNEL.dtype
    np.testing.assert_allclose(found, np.concatenate(expected, axis=2), rtol=1e-6)


def convolution(mode, inputs, *, count=3, channel_mode="mean"):
    """A network of one convolution that pads with zeros."""
    pixels = channels.preprocess(mode, count, channel_mode)(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(5, 3, padding="same")(pixels))


def adapted(mode, count, channel_mode):
    """A convolution for RGB and the same for `count` channels, pixels first."""
    original = convolution(mode, keras.Input((7, 6, 3)))
    wide = convolution(mode, keras.Input((7, 6, count)), count=count, channel_mode=channel_mode)
    channels.transfer(original, wide, mode=mode, channels=count, channel_mode=channel_mode)
    return original, wide


@pytest.mark.parametrize("mode", layers.preprocess.MODES)
@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_the_mean_is_exact_at_the_borders_too(mode, count):
    original, wide = adapted(mode, count, "mean")
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 7, 6, 1)).astype("float32")
    expected = features(original, pixels.repeat(3, axis=-1))
    np.testing.assert_allclose(
        features(wide, pixels.repeat(count, axis=-1)), expected, atol=2e-6 * np.abs(expected).max()
    )


@pytest.mark.parametrize("mode", ["torch", "caffe"])
def test_without_its_plane_the_border_would_be_of_another_colour(mode):
    original, wide = adapted(mode, 1, "mean")
    kernel = wide.layers[-1].kernel
    assert kernel.shape == (3, 3, 2, 5)
    inner = kernel.numpy()
    shift = inner[:, :, 1].sum(
        axis=(0, 1)
    )  # what the plane adds away from the border, put into the bias
    inner[:, :, 1] = 0
    wide.layers[-1].set_weights([inner, shift])
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 7, 6, 1)).astype("float32")
    difference = np.abs(features(wide, pixels) - features(original, pixels.repeat(3, axis=-1)))
    scale = np.abs(features(wide, pixels)).max()
    assert difference[:, 1:-1, 1:-1].max() < 1e-5 * scale
    assert difference.max() > 1e-3 * scale


@pytest.mark.parametrize("mode", layers.preprocess.MODES)
def test_tiles_of_the_colours_give_what_the_colours_gave(mode):
    original, wide = adapted(mode, 6, "tile")
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 7, 6, 3)).astype("float32")
    expected = features(original, pixels)
    np.testing.assert_allclose(
        features(wide, np.tile(pixels, 2)), expected, atol=2e-6 * np.abs(expected).max()
    )


@pytest.mark.parametrize("mode", layers.preprocess.MODES)
def test_extra_channels_change_nothing_at_first(mode):
    original, wide = adapted(mode, 5, "zero-extra")
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 7, 6, 5)).astype("float32")
    expected = features(original, pixels[..., :3])
    np.testing.assert_allclose(features(wide, pixels), expected, atol=2e-6 * np.abs(expected).max())


def test_the_published_weights_of_efficientnet(monkeypatch, tmp_path):
    """With them Keras divides the colours once more, by a layer that a network of random weights does not have."""
    file = tmp_path / "published.h5"
    plain = keras.applications.EfficientNetB0(
        weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    for layer in plain.layers:
        if isinstance(layer, keras.layers.BatchNormalization):  # fresh, it lets everything pass
            layer.moving_variance.assign(2 * layer.moving_variance)
        if isinstance(layer, keras.layers.Normalization):
            layer.set_weights([*IMAGENET, np.array(1)])
            layer.finalize_state()
    keras.src.legacy.saving.legacy_h5_format.save_model_to_hdf5(plain, str(file))
    monkeypatch.setattr(
        "keras.src.applications.efficientnet.file_utils.get_file", lambda *_, **__: str(file)
    )
    original, wide = (named("EfficientNetB0", channels=count) for count in (3, 4))
    assert sum(isinstance(layer, keras.layers.Rescaling) for layer in original.layers) == 2
    pictures = grey(32)
    expected = features(original, pictures.repeat(3, axis=-1))
    assert gap(features(wide, pictures.repeat(4, axis=-1)), expected) <= 1e-5


def test_contract():
    backbone = named("VGG16", weights=None, channels=2)
    testing.check_backbone(kt.backbone(backbone, output="block2_pool"))


def test_every_channel_learns_filters_of_its_own():
    backbone = named("tiny", weights="pretrained", channels=4)
    kernel = backbone.get_layer("stem_conv").kernel
    assert kernel.shape == (3, 3, 4, 32)
    before = kernel.numpy()
    np.testing.assert_array_equal(before[:, :, 0], before[:, :, 3])
    model = kt.build_model(backbone, kt.tasks.Classification(2))
    model.fit(
        np.random.default_rng(0).integers(0, 256, (4, 32, 32, 4)), np.array([0, 1, 0, 1]), verbose=0
    )
    moved = np.abs(kernel.numpy() - before).max(axis=(0, 1, 3))
    assert (moved > 0).all()
    assert not np.array_equal(kernel.numpy()[:, :, 0], kernel.numpy()[:, :, 3])


def test_what_was_done_is_in_the_source():
    source = named("ConvNeXtTiny", weights=None, channels=2).source
    assert (source["channels"], source["channel_mode"], source["preprocessing"]) == (
        2,
        "mean",
        "torch",
    )
    assert "channels" not in named("tiny", weights=None).source


@pytest.mark.parametrize("ending", ["new.weights.h5", "old.h5"])
def test_weights_of_a_file_are_adapted_or_taken_as_they_are(ending, tmp_path):
    """A file for RGB is widened; one that was saved for as many channels is loaded."""
    image = keras.Input((32, 32, 3))
    plain = keras.Model(image, tiny.network(image))
    narrow, own = tmp_path / f"narrow-{ending}", tmp_path / f"own-{ending}"
    save(plain, narrow)
    wide = named("tiny", weights=narrow, channels=4)
    pictures = grey(32)
    expected = np.asarray(plain(pictures.repeat(3, axis=-1) / 127.5 - 1))
    assert gap(features(wide, pictures.repeat(4, axis=-1)), expected) <= 1e-5

    kernel = wide.get_layer("stem_conv").kernel
    kernel.assign(kernel * np.arange(1, 5).reshape(1, 1, 4, 1))
    save(wide, own)
    again = named("tiny", weights=own, channels=4)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 4)).astype("float32")
    np.testing.assert_array_equal(features(again, pixels), features(wide, pixels))
    with pytest.raises(checks.InputError, match="must be a weights file of tiny"):
        named("tiny", weights=own, channels=5)


def save(model, path):
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        keras.src.legacy.saving.legacy_h5_format.save_model_to_hdf5(model, str(path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "`channels` must be a whole number of at least 1. Given: 0."),
        ({"channels": 2.0}, "`channels` must be a whole number of at least 1. Given: 2.0."),
        (
            {"channels": 4, "channel_mode": "copy"},
            "`channel_mode` must be one of 'mean', 'tile', 'zero-extra'",
        ),
        (
            {"channels": 2, "channel_mode": "zero-extra"},
            "must have the 3 colours and more. Given: channels=2.",
        ),
    ],
)
def test_bad_channels(options, message):
    with pytest.raises(checks.InputError, match=message):
        named("tiny", weights=None, **options)


@pytest.mark.realdata
def test_real_weights_on_real_grey_photos(real_data):
    file = (
        real_data / "weights" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
    )
    options = {"weights": file, "side": 96, "arguments": {"alpha": 0.35}}
    photos = sorted((real_data / "caltech24" / "test" / "crab").iterdir())[:4]
    pictures = (
        kt.data.load_images(photos, 96).mean(axis=-1, keepdims=True).round().astype("float32")
    )
    expected = features(named("MobileNetV2", **options), pictures.repeat(3, axis=-1))
    for count in (1, 4):
        wide = named("MobileNetV2", channels=count, **options)
        assert gap(features(wide, pictures.repeat(count, axis=-1)), expected) <= 1e-4
