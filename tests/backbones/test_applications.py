"""Every network of the table, built once for all its checks: pixels, blocks, levels, and other than three channels.

What a graph tells is checked without weights and without a forward pass. What needs a forward pass is checked
for the quickest network of each family; of the others the first convolution alone is run.
"""

import contextlib
import functools
import importlib
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras.src.backend.common import global_state
from keras.src.initializers import random_initializers

import keras_transfer as kt
from keras_transfer.graphs import nodes, paths
from keras_transfer.layers import marks

APPLICATIONS = [name for name in kt.backbones.names() if name != "tiny"]
# The quickest network of each family, and of each way of preprocessing in it.
QUICK = {
    "ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "EfficientNetV2S", "InceptionResNetV2",
    "InceptionV3", "MobileNet", "MobileNetV2", "MobileNetV3Small", "NASNetMobile", "ResNet50", "ResNet50V2", "VGG16",
    "VGG19", "Xception",
}  # fmt: skip
# Those of QUICK that are too large to be built a second time for one channel.
LARGE = {"EfficientNetV2S", "InceptionResNetV2", "NASNetMobile"}
# The quickest for each mode of preprocessing, outside of the network and inside, and with statistics of the colours.
QUICKEST = {
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "MobileNet",
    "MobileNetV3Small",
    "VGG16",
}
# One of each family that rescales the pixels itself.
INSIDE = {"EfficientNetB0", "EfficientNetV2B0", "MobileNetV3Small", "ConvNeXtTiny"}
IMAGENET = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
TABLE = np.random.default_rng(0).standard_normal(99_991).astype("float32").clip(-2, 2)

# The stride of the last feature map, and the levels of one network a family, as the papers have them.
LEVELS = {
    "ResNet50": {
        "P2": "conv2_block3_out",
        "P3": "conv3_block4_out",
        "P4": "conv4_block6_out",
        "P5": "conv5_block3_out",
    },
    "VGG16": {
        "P2": "block3_conv3",
        "P3": "block4_conv3",
        "P4": "block5_conv3",
        "P5": "block5_pool",
    },
    "MobileNetV2": {
        "P2": "block_2_add",
        "P3": "block_5_add",
        "P4": "block_12_add",
        "P5": "out_relu",
    },
    "DenseNet121": {"P2": "pool2_conv", "P3": "pool3_conv", "P4": "pool4_conv", "P5": "relu"},
    "EfficientNetB0": {
        "P2": "block2b_add",
        "P3": "block3b_add",
        "P4": "block5c_add",
        "P5": "top_activation",
    },
    "NASNetMobile": {
        "P2": "reduction_concat_stem_1",
        "P3": "normal_concat_3",
        "P4": "normal_concat_8",
    },
    "InceptionV3": {"P3": "mixed2", "P4": "mixed7", "P5": "mixed10"},
}


def family_of(name):
    return kt.backbones.FAMILIES[kt.backbones.CATALOGUE[name].family]


def side_of(name):
    return max(64, family_of(name).minimum)


def built(name, *, weights="imagenet", channels=3, channel_mode="mean"):
    options = {"image_size": side_of(name), "channels": channels, "channel_mode": channel_mode}
    return kt.backbone(name, weights=weights, **options)


def features(model, pixels):
    return np.asarray(model(pixels, training=False))


def gap(found, expected):
    """The largest difference, relative to the largest feature."""
    return np.abs(found - expected).max() / np.abs(expected).max()


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
    """Makes a network the published one of its name; returns it, its stem, and a switch.

    What `kt.backbone` loads is then that very network, so that the whole path from the name to the adapted weights
    runs. Its weights are random if it is the quickest of its family; else only its stem has weights.
    """

    def publish(name):
        builder, draws.is_random = getattr(keras.applications, name), name in QUICK
        # Of a network that is not run, the weights above the stem are never made: they are half the time of building.
        lazily = keras.StatelessScope(initialize_variables=False)
        with contextlib.nullcontext() if name in QUICK else lazily:
            original = built(name, weights=None)
        global_state.set_global_attribute(
            "uninitialized_variables", []
        )  # so that nothing makes them
        draws.is_random = False  # what is not copied stays zero
        stem = keras.Model(original.input, stem_layer(original).output)
        if name not in QUICK:
            for number, weight in enumerate(stem.weights):
                weight._deferred_initialize()
                weight.assign(np.resize(TABLE[number:], weight.shape))
        set_statistics(original if name in QUICK else stem)

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

    Its batch normalisation halves the variance (fresh, it lets everything pass): else the depth of EfficientNetV2S
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


def test_the_table_has_all_applications():
    there = {
        name
        for name in dir(keras.applications)
        if name[0].isupper() and callable(getattr(keras.applications, name))
    }
    assert set(APPLICATIONS) == there
    assert len(there) == 40


def test_each_way_of_preprocessing_is_built_whole():
    ways = {name: (row.family, row.outside) for name, row in kt.backbones.CATALOGUE.items()}
    assert {ways[name] for name in QUICK} == {ways[name] for name in APPLICATIONS}


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined or non-square")
@pytest.mark.parametrize("name", APPLICATIONS)
def test_network(name, published):
    original, stem, use = published(name)
    check_pixels(name, original)
    check_blocks(name, original)
    check_levels(name, original)
    check_grey_pictures(name, original, stem, use)
    if name in INSIDE:
        check_that_preprocessing_is_inside(original)
    if name == "EfficientNetB0":  # it holds the statistics of the colours as weights
        check_that_channels_keep_the_statistics_of_their_colours(name, stem, use)


def check_pixels(name, backbone):
    """They are prepared as the network's authors did, and the features are those of what they prepared."""
    side, prepare = side_of(name), backbone.get_layer("preprocess")
    pixels = np.random.default_rng(0).uniform(0, 255, (2, side, side, 3)).astype("float32")
    module = importlib.import_module(f"keras.applications.{kt.backbones.CATALOGUE[name].family}")
    expected = np.asarray(module.preprocess_input(pixels.copy()))
    atol = 1e-5 * max(1, np.abs(expected).max())
    np.testing.assert_allclose(np.asarray(prepare(pixels)), expected, atol=atol)
    if name in QUICK:
        after = keras.Model(prepare.output, backbone.output)
        same = features(after, expected)
        np.testing.assert_allclose(features(backbone, pixels), same, atol=1e-5 * np.abs(same).max())


def check_blocks(name, backbone):
    blocks = backbone.blocks
    listed = [path for block in blocks for path in block.layers]
    trunk = [path for path in paths.leaves(backbone) if path != "representation"]
    assert sorted(listed) == sorted(trunk), "each layer is in exactly one block"
    assert len({block.name for block in blocks}) == len(blocks) >= 5
    if family_of(name).blocks.startswith("(?:normal"):
        assert set(backbone.levels) == {"P2", "P3", "P4", "P5"}
    else:
        assert_blocks_end_where_one_tensor_crosses(backbone, blocks)


def assert_blocks_end_where_one_tensor_crosses(backbone, blocks):
    order = nodes.nodes(backbone)
    by_name = {node.operation.name: position for position, node in enumerate(order)}
    lower = set()
    for block in blocks[:-1]:
        tops = {by_name[path.partition("/")[0]] for path in block.layers}
        ends = [tensor for position in tops for tensor in order[position].outputs]
        lower |= nodes.ancestors(order, ends)
        closed = lower | additions_of(order, lower)
        assert len(nodes.crossing(order, closed, backbone.outputs)) == 1, block.name


def additions_of(order, lower):
    """Operations that are no layers (the `+` of a ConvNeXt block) belong to the block whose branch they close."""
    made = {id(tensor) for position in lower for tensor in order[position].outputs}
    more = set()
    for position, node in enumerate(order):
        is_closed = all(id(tensor) in made for tensor in node.inputs)
        if is_closed and not isinstance(node.operation, keras.layers.Layer):
            more.add(position)
            made.update(id(tensor) for tensor in node.outputs)
    return more


def check_levels(name, backbone):
    """The side of a level's map is the image's, divided by its stride; valid padding may cost a few pixels."""
    outputs = {node.operation.name: node.outputs[0] for node in nodes.nodes(backbone)}
    levels = backbone.levels
    assert set(levels) >= {"P3", "P4", "P5"}
    for level, operation in levels.items():
        side, stride = outputs[operation].shape[1], 2 ** int(level[1:])
        assert side_of(name) / stride - 4 <= side <= side_of(name) / stride + 1, (level, side)
    assert LEVELS.get(name, {}).items() <= levels.items()


def check_grey_pictures(name, original, stem, use):
    """One, two and four channels of the same grey give what its RGB copy gave the original.

    The quickest of each family, unless it is large, is built whole for one channel, and one network for each way of
    preprocessing for four, too; their features are compared. Otherwise the stem is compared: the weights above it are
    copied by the same lines.
    """
    side = side_of(name)
    pictures = np.random.default_rng(0).uniform(0, 255, (2, side, side, 1)).astype("float32")
    rgb = pictures.repeat(3, axis=-1)
    below = features(stem, rgb)
    is_compared_whole = name in QUICK - LARGE
    whole = features(original, rgb) if is_compared_whole else below
    assert gap(whole[:1], whole[1:]) > 1e-2, "pictures must differ in their features"
    gaps = {}
    for count in (1, 2, 4):
        is_whole = (count == 1 and is_compared_whole) or (count == 4 and name in QUICKEST)
        use(is_whole)
        wide = built(name, channels=count)
        assert wide.input_shape == (None, side, side, count)
        expected = whole if is_whole else below
        gaps[count] = gap(features(wide, pictures.repeat(count, axis=-1)), expected)
        if is_whole:
            assert_only_the_first_layer_differs(original, wide)
    assert max(gaps.values()) <= 1e-4, gaps


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


def check_that_preprocessing_is_inside(backbone):
    """Mode "inside" leaves pixels alone because the network itself rescales them."""
    kinds = {type(layer).__name__ for layer in backbone.layers}
    assert kinds & {"Rescaling", "Normalization"}
    assert marks.representation(backbone).source["preprocessing"] == "inside"


def check_that_channels_keep_the_statistics_of_their_colours(name, stem, use):
    use(False)
    side = side_of(name)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, side, side, 3)).astype("float32")
    expected = features(stem, pixels)
    for channel_mode in ("tile", "zero-extra"):
        wide = built(name, channels=6, channel_mode=channel_mode)
        assert gap(features(wide, np.tile(pixels, 2)), expected) <= 1e-5, channel_mode
