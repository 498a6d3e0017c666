"""Every network of the table: builds, prepares its pixels as its authors did, has levels and blocks."""

import importlib

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.graphs import nodes, paths
from keras_transfer.layers import marks

# Networks that take longer than 20 seconds on two cores.
LARGE = {
    "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge", "EfficientNetB7", "EfficientNetV2L", "EfficientNetV2M",
    "NASNetLarge", "InceptionResNetV2", "DenseNet201", "ResNet152", "ResNet152V2", "ConvNeXtSmall", "EfficientNetB6",
}  # fmt: skip
APPLICATIONS = [name for name in kt.backbones.names() if name != "tiny"]

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


def module_of(name):
    """The module with the network's own `preprocess_input`."""
    return importlib.import_module(f"keras.applications.{kt.backbones.CATALOGUE[name].family}")


def row(name):
    return pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name


def test_the_table_has_all_applications():
    there = {
        name
        for name in dir(keras.applications)
        if name[0].isupper() and callable(getattr(keras.applications, name))
    }
    assert set(APPLICATIONS) == there
    assert len(there) == 40


@pytest.fixture(autouse=True)
def _forget_graphs():
    yield
    keras.backend.clear_session()


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined or non-square")
@pytest.mark.parametrize("name", [row(name) for name in APPLICATIONS])
def test_network(name):
    family = kt.backbones.FAMILIES[kt.backbones.CATALOGUE[name].family]
    size = max(64, family.minimum)
    backbone = kt.backbone(name, weights=None, image_size=size)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype("float32")

    prepared = np.asarray(backbone.get_layer("preprocess")(pixels))
    expected = np.asarray(module_of(name).preprocess_input(pixels.copy()))
    np.testing.assert_allclose(prepared, expected, atol=1e-5 * max(1, np.abs(expected).max()))
    after = keras.Model(backbone.get_layer("preprocess").output, backbone.output)
    features, same = np.asarray(backbone(pixels)), np.asarray(after(expected))
    np.testing.assert_allclose(features, same, atol=1e-5 * np.abs(same).max())

    blocks = backbone.blocks
    listed = [path for block in blocks for path in block.layers]
    trunk = [path for path in paths.leaves(backbone) if path != "representation"]
    assert sorted(listed) == sorted(trunk), "each layer is in exactly one block"
    assert len({block.name for block in blocks}) == len(blocks) >= 5
    if family.blocks.startswith("(?:normal"):
        assert set(backbone.levels) == {"P2", "P3", "P4", "P5"}
    else:
        assert_blocks_end_where_one_tensor_crosses(backbone)
    check_levels(backbone, size)
    if name in LEVELS:
        assert LEVELS[name].items() <= backbone.levels.items()


def assert_blocks_end_where_one_tensor_crosses(backbone):
    order = nodes.nodes(backbone)
    by_name = {node.operation.name: position for position, node in enumerate(order)}
    lower = set()
    for block in backbone.blocks[:-1]:
        tops = {by_name[path.partition("/")[0]] for path in block.layers}
        lower |= nodes.ancestors(
            order, [tensor for position in tops for tensor in order[position].outputs]
        )
        closed = lower | additions_of(order, lower)
        assert len(nodes.crossing(order, closed, backbone.outputs)) == 1, block.name


def additions_of(order, lower):
    """Operations that are no layers (the `+` of a ConvNeXt block) belong to the block whose branch they close."""
    more = set()
    for position, node in enumerate(order):
        made = {id(tensor) for p in lower | more for tensor in order[p].outputs}
        if not isinstance(node.operation, keras.layers.Layer) and all(
            id(tensor) in made for tensor in node.inputs
        ):
            more.add(position)
    return more


def check_levels(backbone, size):
    """The side of a level's map is the image's, divided by its stride; valid padding may cost a few pixels."""
    outputs = {node.operation.name: node.outputs[0] for node in nodes.nodes(backbone)}
    assert set(backbone.levels) >= {"P3", "P4", "P5"}
    for level, name in backbone.levels.items():
        side = outputs[name].shape[1]
        stride = 2 ** int(level[1:])
        assert size / stride - 4 <= side <= size / stride + 1, (level, name, side)


def test_preprocessing_inside_the_network_is_there():
    """Mode "inside" leaves pixels alone because the network itself rescales them."""
    for name in ("EfficientNetB0", "EfficientNetV2B0", "MobileNetV3Small", "ConvNeXtTiny"):
        backbone = kt.backbone(name, weights=None, image_size=32)
        kinds = {type(layer).__name__ for layer in backbone.layers}
        assert kinds & {"Rescaling", "Normalization"}, name
        assert marks.representation(backbone).source["preprocessing"] == "inside"
