"""Blocks and levels of small graphs, where the answer can be seen; the real networks are in tests/backbones."""

import keras

from keras_transfer.graphs import blocks


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
    found = {
        block.name: set(block.layers) for block in blocks.blocks(network(), pattern=r"block\d")
    }
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
    assert sorted(path for layers in found for path in layers) == sorted(
        layer.name for layer in network().layers
    )


def test_levels_do_not_depend_on_the_image_size():
    expected = {"P2": "block1_add", "P3": "add", "P4": "last"}
    for size in (None, 32, 75):
        found = blocks.levels(network(size), pattern=r"block\d")
        assert found["P2"] == expected["P2"]
        assert found["P3"].startswith(
            "add"
        )  # what enters the pooling that closes block 2: an operation
        assert found["P4"] == expected["P4"]


def test_until_leaves_the_head_out():
    model = network(32)
    head = keras.layers.Dense(2, name="head")(keras.layers.Flatten(name="flat")(model.output))
    found = blocks.blocks(keras.Model(model.input, head), pattern=r"block\d", until=model.output)
    assert [block.name for block in found] == ["stem", "block1", "block2", "top"]


def test_nested_models_are_one_operation_with_all_their_layers():
    inner = keras.Sequential(
        [keras.Input((16, 16, 2)), keras.layers.Conv2D(2, 3, strides=2, name="conv")], name="down"
    )
    inputs = keras.Input((16, 16, 2), name="in")
    model = keras.Model(inputs, conv(inner(inputs), "block1_conv", 2))
    assert [block.layers for block in blocks.blocks(model)] == [
        ("in", "down/conv"),
        ("block1_conv",),
    ]
    assert blocks.levels(model) == {"P2": "block1_conv"}


def test_what_normalises_goes_with_the_convolution_below_and_pixels_with_the_first():
    inputs = keras.Input((16, 16, 3), name="in")
    x = keras.layers.Normalization(mean=0.0, variance=1.0, name="scale")(inputs)
    for number in (1, 2):
        x = keras.layers.BatchNormalization(name=f"bn{number}")(conv(x, f"conv{number}"))
        x = keras.layers.ReLU(name=f"relu{number}")(x)
    assert blocks.blocks(keras.Model(inputs, x)) == [
        blocks.Block("conv1", ("in", "scale", "conv1", "bn1", "relu1")),
        blocks.Block("conv2", ("conv2", "bn2", "relu2")),
    ]


def test_a_model_without_weights_is_one_block():
    inputs = keras.Input((8, 8, 3), name="in")
    model = keras.Model(inputs, keras.layers.ReLU(name="relu")(inputs))
    assert blocks.blocks(model) == [blocks.Block("relu", ("in", "relu"))]


def test_a_layer_that_is_called_twice_is_in_one_block():
    inputs = keras.Input((8, 8, 2), name="in")
    shared = keras.layers.Conv2D(2, 3, padding="same", name="shared")
    model = keras.Model(inputs, conv(shared(conv(shared(inputs), "between")), "last"))
    found = [path for block in blocks.blocks(model) for path in block.layers]
    assert sorted(found) == ["between", "in", "last", "shared"]


def test_levels_without_a_pattern_are_the_last_narrow_places():
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.ReLU(name="relu")(conv(conv(inputs, "a", 2), "b", 2))
    x = keras.layers.Dropout(0.1, name="drop")(keras.layers.MaxPooling2D(name="pool")(x))
    x = conv(keras.layers.ZeroPadding2D(name="pad")(x), "c", 2)
    assert blocks.levels(keras.Model(inputs, x)) == {"P2": "relu", "P3": "drop", "P4": "c"}


@keras.saving.register_keras_serializable("tests_blocks")
class Stage(keras.layers.Layer):
    """Two convolutions of stride 2, valid padding: a layer made of others."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.parts = [keras.layers.Conv2D(2, 3, strides=2) for _ in range(2)]

    def build(self, shape):
        for part in self.parts:
            part.build(shape)
            shape = part.compute_output_shape(shape)

    def call(self, inputs):
        return self.parts[1](self.parts[0](inputs))


def test_strides_of_layers_and_models_that_hold_others():
    inputs = keras.Input((75, 75, 3))
    assert blocks.levels(keras.Model(inputs, Stage(name="stage")(inputs))) == {"P2": "stage"}
    both = keras.Input((75, 75, 3))
    sides = keras.Model(both, conv(both, "left", 4) + conv(both, "right", 4), name="sides")
    assert blocks.levels(keras.Model(inputs, sides(inputs))) == {"P2": "sides"}


def test_a_prefix_is_no_part_of_a_blocks_name():
    model = keras.Sequential(
        [keras.Input((4,)), *(keras.layers.Dense(2, name=f"block9_b{n}") for n in (1, 2))]
    )
    assert [block.name for block in blocks.blocks(model, pattern=r"b\w*\d", prefix="block9_")] == [
        "b1",
        "b2",
    ]
    assert [block.name for block in blocks.blocks(model, prefix="block9_")] == ["b1", "b2"]


def test_ends_are_where_blocks_end():
    image = keras.Input((4,))
    x = keras.layers.Dense(4, name="one")(image)
    x = x + keras.layers.Dense(4, name="two_a")(x)
    model = keras.Model(image, keras.layers.Dense(2, name="three")(x))
    found = blocks.ends(model, pattern="one|two|three")
    assert list(found) == ["one", "two", "three"]
    assert found["two"] is x
