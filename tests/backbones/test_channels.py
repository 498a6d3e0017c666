"""Other than three channels: the first layer is adapted exactly, and everything above it stays as it was."""

import functools
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras.src.initializers import random_initializers

import keras_transfer as kt
from keras_transfer import layers, testing
from keras_transfer.backbones import build, channels
from keras_transfer.core import checks
from keras_transfer.graphs import paths

APPLICATIONS = [name for name in kt.backbones.CATALOGUE if name != "tiny"]
# The quickest network of each family, and of each way of preprocessing in it: these are built whole.
QUICK = {
    "ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "EfficientNetV2S", "InceptionResNetV2",
    "InceptionV3", "MobileNet", "MobileNetV2", "MobileNetV3Small", "NASNetMobile", "ResNet50", "ResNet50V2", "VGG16",
    "VGG19", "Xception",
}  # fmt: skip
IMAGENET = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
TABLE = np.random.default_rng(0).standard_normal(99_991).astype("float32").clip(-2, 2)


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
    return build.named(name, channel_mode=channel_mode, **given)


def features(model, pixels):
    return np.asarray(model(pixels, training=False))


def gap(found, expected):
    """The largest difference, relative to the largest feature."""
    return np.abs(found - expected).max() / np.abs(expected).max()


def grey(side, count=2):
    return np.random.default_rng(0).uniform(0, 255, (count, side, side, 1)).astype("float32")


@pytest.fixture
def draws(monkeypatch):
    """Takes random weights from a small table, or zeros: drawing them is half of the time of building a network."""

    def drawn(shape):
        return np.resize(TABLE, shape) if source.is_random else np.zeros(shape, "float32")

    def normal(shape, mean=0.0, stddev=1.0, **_):
        return drawn(shape) * np.float32(stddev) + np.float32(mean)

    def uniform(shape, minval=0.0, maxval=1.0, **_):
        return drawn(shape) * np.float32((maxval - minval) / 4) + np.float32((maxval + minval) / 2)

    own = random_initializers.random
    source = SimpleNamespace(
        is_random=True,
        truncated_normal=normal,
        normal=normal,
        uniform=uniform,
        make_default_seed=own.make_default_seed,
    )
    monkeypatch.setattr(random_initializers, "random", source)
    return source


class StemBuiltError(Exception):
    """Carries what the first convolution, or the nested model that holds it, gave."""


def stem_of(builder, monkeypatch):
    """Makes a builder that stops behind the first convolution."""

    @functools.wraps(builder)
    def build_stem(*, input_tensor, **options):
        depth, call = 0, keras.layers.Layer.__call__

        def counted(layer, *arguments, **more):
            nonlocal depth
            depth += 1
            outputs = call(layer, *arguments, **more)
            depth -= 1
            if depth == 0 and isinstance(layer, (keras.layers.Conv2D, keras.Sequential)):
                raise StemBuiltError(outputs)
            return outputs

        with monkeypatch.context() as patched:
            patched.setattr(keras.layers.Layer, "__call__", counted)
            try:
                builder(input_tensor=input_tensor, **options)
            except StemBuiltError as stopped:
                inputs = keras.utils.get_source_inputs(input_tensor)
                return keras.Model(inputs, stopped.args[0])
        raise AssertionError("no convolution at all")

    return build_stem


@pytest.fixture
def published(monkeypatch, draws):
    """Makes a network of random weights the published one of its name; returns it, its stem, and a switch.

    Of a network that is not the quickest of its family both are the stem.

    What `named` loads is then that very network, so that the whole path from the name to the adapted weights runs.
    """

    def publish(name):
        builder, draws.is_random = getattr(keras.applications, name), True
        if name not in QUICK:
            monkeypatch.setattr(keras.applications, name, stem_of(builder, monkeypatch))
        original = named(name, weights=None)
        draws.is_random = False  # what is not copied stays zero
        set_statistics(original)
        stem = keras.Model(original.input, stem_layer(original).output)

        def use(whole):
            make = builder if whole else stem_of(builder, monkeypatch)
            kept = original if whole else stem

            @functools.wraps(builder)
            def build_or_load(*, weights, **options):
                return kept if weights == "imagenet" else make(weights=weights, **options)

            monkeypatch.setattr(keras.applications, name, build_or_load)

        return original, stem, use

    yield publish
    keras.backend.clear_session()


def stem_layer(model):
    return next(
        layer
        for layer in model.layers
        if isinstance(layer, (keras.layers.Conv2D, keras.Sequential))
    )


def set_statistics(network):
    """Gives a network of random weights what makes the comparison mean something.

    Its batch normalisation halves the variance (fresh, it lets everything pass): else the depth of EfficientNetV2L
    makes numbers so large that its gates saturate, and rounding errors grow until nothing agrees. No layer shifts its
    input, so features are small in the small networks but lose no digits, and an error of the first layer stays as
    large, relatively, up to the last. Where the network normalises the colours, it gets the statistics of ImageNet.
    """
    for layer in paths.leaves(network).values():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(2 * layer.moving_variance)
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.set_weights([IMAGENET[0], IMAGENET[1] ** 2, np.array(1)])
            layer.finalize_state()


def test_each_way_of_preprocessing_is_built_whole():
    ways = {
        name: (row.family, row.outside)
        for name, row in kt.backbones.CATALOGUE.items()
        if name != "tiny"
    }
    assert {ways[name] for name in QUICK} == set(ways.values())


@pytest.mark.parametrize("name", APPLICATIONS)
def test_grey_pictures_keep_their_features(name, published):
    """One, two and four channels of the same grey give what its RGB copy gave the original.

    The quickest of each family is built whole for one channel and for four, and compared in its features. Otherwise
    the stem is compared: the weights above it are copied by the same lines.
    """
    original, stem, use = published(name)
    side = original.input_shape[1]
    pictures = grey(side)
    expected = features(original, pictures.repeat(3, axis=-1))
    below = features(stem, pictures.repeat(3, axis=-1))
    assert gap(expected[:1], expected[1:]) > 1e-2, "pictures must differ in their features"
    found = {}
    for count in (1, 2, 4):
        whole = count != 2 and name in QUICK
        use(whole)
        wide = named(name, channels=count)
        assert wide.input_shape == (None, side, side, count)
        found[count] = gap(
            features(wide, pictures.repeat(count, axis=-1)), expected if whole else below
        )
        if whole:
            assert_only_the_first_layer_differs(original, wide)
    print(f"{name:20}", *(f"{count}: {error:.0e}" for count, error in found.items()))
    assert max(found.values()) <= 1e-4, found


def assert_only_the_first_layer_differs(original, wide):
    """Every other weight is the original's, bit by bit."""
    weighted = [
        [leaf for leaf in paths.leaves(model).values() if leaf.weights]
        for model in (original, wide)
    ]
    adapted = [
        type(old).__name__
        for old, new in zip(*weighted, strict=True)
        if not all(map(np.array_equal, old.get_weights(), new.get_weights()))
    ]
    assert adapted in (["Conv2D"], ["Normalization", "Conv2D"])


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


@pytest.mark.parametrize("channel_mode", ["tile", "zero-extra"])
def test_networks_that_normalise_colours_keep_them(channel_mode, published):
    """EfficientNet holds the statistics of the colours as weights: each channel gets those of its colour."""
    original, _, use = published("EfficientNetB0")
    use(True)
    wide = named("EfficientNetB0", channels=6, channel_mode=channel_mode)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    expected = features(original, pixels)
    assert gap(features(wide, np.tile(pixels, 2)), expected) <= 1e-5


def test_the_published_weights_of_efficientnet(monkeypatch, tmp_path):
    """With them Keras divides the colours once more, by a layer that a network of random weights does not have."""
    file = tmp_path / "published.h5"
    plain = keras.applications.EfficientNetB0(
        weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    set_statistics(plain)
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
    testing.check_backbone(named("VGG16", weights=None, channels=2))


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
    plain = keras.applications.MobileNetV2(
        weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.35
    )
    narrow, own = tmp_path / f"narrow-{ending}", tmp_path / f"own-{ending}"
    save(plain, narrow)
    options = {"arguments": {"alpha": 0.35}, "side": 32}
    wide = named("MobileNetV2", weights=narrow, channels=4, **options)
    pictures = grey(32)
    expected = np.asarray(plain(pictures.repeat(3, axis=-1) / 127.5 - 1))
    assert gap(features(wide, pictures.repeat(4, axis=-1)), expected) <= 1e-5

    kernel = wide.get_layer("Conv1").kernel
    kernel.assign(kernel * np.arange(1, 5).reshape(1, 1, 4, 1))
    save(wide, own)
    again = named("MobileNetV2", weights=own, channels=4, **options)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 4)).astype("float32")
    np.testing.assert_array_equal(features(again, pixels), features(wide, pixels))
    with pytest.raises(checks.InputError, match="must be a weights file of MobileNetV2"):
        named("MobileNetV2", weights=own, channels=5, **options)


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
    options = {"weights": file, "side": 224, "arguments": {"alpha": 0.35}}
    photos = sorted((real_data / "caltech24" / "test" / "crab").iterdir())[:4]
    pictures = (
        kt.data.load_images(photos, 224).mean(axis=-1, keepdims=True).round().astype("float32")
    )
    expected = features(named("MobileNetV2", **options), pictures.repeat(3, axis=-1))
    for count in (1, 2, 4):
        wide = named("MobileNetV2", channels=count, **options)
        assert gap(features(wide, pictures.repeat(count, axis=-1)), expected) <= 1e-4
