"""Blocks and levels of small graphs, where the answer can be seen; the real networks are in tests/backbones."""

import keras

from keras_transfer.core import blocks


def conv(x, name, strides=1):
    return keras.layers.Conv2D(2, 3, strides=strides, padding="same", name=name)(x)


def network(size=None):
    inputs = keras.Input((size, size, 3), name="in")
    x = conv(inputs, "stem_conv", 2)
    shortcut = keras.layers.Conv2D(2, 1, strides=2, padding="same", name="block1_skip")(x)
    x = conv(conv(x, "block1_a", 2), "block1_b")
    x = keras.layers.Add(name="block1_add")([x, shortcut])
    x = keras.layers.ZeroPadding2D(name="pad")(x)
    x = conv(x, "block2_a", 2)
    x = x + conv(x, "block2_b")
    x = keras.layers.MaxPooling2D(name="block2_pool")(x)
    return keras.Model(inputs, keras.layers.ReLU(name="last")(x))


def test_blocks_do_not_cut_a_residual():
    found = {block.name: set(block.layers) for block in blocks.blocks(network(), pattern=r"block\d")}
    assert found == {
        "stem": {"in", "stem_conv"},
        "block1": {"block1_skip", "block1_a", "block1_b", "block1_add"},
        "block2": {"pad", "block2_a", "block2_b", "block2_pool"},
        "top": {"last"},
    }


def test_without_a_pattern_each_narrow_stretch_with_weights_is_a_block():
    found = [block.layers for block in blocks.blocks(network())]
    assert found[0] == ("in", "stem_conv")
    assert set(found[1]) == {"block1_skip", "block1_a", "block1_b", "block1_add"}
    assert sorted(path for layers in found for path in layers) == sorted(layer.name for layer in network().layers)


def test_levels_do_not_depend_on_the_image_size():
    expected = {"P2": "block1_add", "P3": "add", "P4": "last"}
    for size in (None, 32, 75):
        found = blocks.levels(network(size), pattern=r"block\d")
        assert found["P2"] == expected["P2"]
        assert found["P3"].startswith("add")  # what enters the pooling that closes block 2: an operation
        assert found["P4"] == expected["P4"]


def test_until_leaves_the_head_out():
    model = network(32)
    head = keras.layers.Dense(2, name="head")(keras.layers.Flatten(name="flat")(model.output))
    found = blocks.blocks(keras.Model(model.input, head), pattern=r"block\d", until=model.output)
    assert [block.name for block in found] == ["stem", "block1", "block2", "top"]


def test_nested_models_are_one_operation_with_all_their_layers():
    inner = keras.Sequential([keras.Input((16, 16, 2)), keras.layers.Conv2D(2, 3, strides=2, name="conv")], name="down")
    inputs = keras.Input((16, 16, 2), name="in")
    model = keras.Model(inputs, conv(inner(inputs), "block1_conv", 2))
    assert [block.layers for block in blocks.blocks(model)] == [("in", "down/conv"), ("block1_conv",)]
    assert blocks.levels(model) == {"P2": "block1_conv"}
