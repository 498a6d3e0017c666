"""Where trunks end and outputs part, in small graphs where the answer can be seen."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_transfer import layers
from keras_transfer.graphs import boundaries, nodes


def conv(x, name, strides=1):
    return keras.layers.Conv2D(2, 3, strides=strides, padding="same", name=name)(x)


def pooled(x):
    return keras.layers.Dense(5, name="logits")(x)


HEADS = {
    "global": lambda x: pooled(keras.layers.GlobalAveragePooling2D()(x)),
    "flatten": lambda x: pooled(keras.layers.Flatten()(x)),
    "kept_places": lambda x: keras.layers.Conv2D(5, 1)(
        keras.layers.GlobalMaxPooling2D(keepdims=True)(x)
    ),
    "operation": lambda x: keras.layers.Conv2D(5, 1)(ops.mean(x, axis=(1, 2), keepdims=True)),
    "whole_window": lambda x: pooled(keras.layers.Flatten()(keras.layers.AveragePooling2D(8)(x))),
    "decoded_vector": lambda x: keras.layers.Reshape((1, 1, 5))(pooled(keras.layers.Flatten()(x))),
}


@pytest.mark.parametrize("head", HEADS)
def test_the_last_map_lies_below_the_head(head):
    inputs = keras.Input((32, 32, 3))
    x = conv(conv(inputs, "a", 2), "b", 2)
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = keras.layers.Multiply(name="excited")([x, keras.layers.Conv2D(2, 1)(gate)])
    model = keras.Model(inputs, HEADS[head](x))
    assert boundaries.last_map(nodes.nodes(model)) is x
    assert boundaries.trunk_end(nodes.nodes(model)) == [x]


def test_pooling_of_a_small_map_is_part_of_the_trunk():
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.MaxPooling2D(4, name="pool")(conv(inputs, "a"))
    wide = keras.layers.MaxPooling2D(2, name="half")(
        keras.layers.MaxPooling2D(2)(conv(inputs, "b"))
    )
    assert boundaries.last_map(nodes.nodes(keras.Model(inputs, x))).shape == (None, 4, 4, 2)
    assert boundaries.last_map(nodes.nodes(keras.Model(inputs, wide))).shape == (None, 1, 1, 2)


def test_a_transformer_has_no_last_map_unless_it_lays_its_tokens_out():
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Reshape((16, 2))(keras.layers.Conv2D(2, 4, strides=4, name="patches")(inputs))
    x = keras.layers.Dense(2, name="mix")(x)
    vector = keras.layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, pooled(vector))
    assert boundaries.last_map(nodes.nodes(model)) is None
    assert boundaries.trunk_end(nodes.nodes(model)) == [vector]
    laid_out = keras.layers.Reshape((4, 4, 2))(x)
    assert boundaries.last_map(nodes.nodes(keras.Model(inputs, laid_out))) is laid_out


def test_a_nested_model_is_the_trunk():
    def nested(*layers, name):
        return keras.Sequential([keras.Input((16, 16, 3)), *layers], name=name)

    inputs = keras.Input((16, 16, 3))
    convolution = keras.layers.Conv2D(4, 3, name="inner")
    trunk = nested(convolution, name="trunk")(inputs)
    model = keras.Model(inputs, pooled(keras.layers.Flatten()(conv(trunk, "head_conv"))))
    assert boundaries.trunk_end(nodes.nodes(model)) == [trunk]
    vector = nested(
        keras.layers.Conv2D(8, 3), keras.layers.GlobalAveragePooling2D(), name="pooling_trunk"
    )(inputs)
    head = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)], name="head")
    assert boundaries.trunk_end(nodes.nodes(keras.Model(inputs, head(vector)))) == [vector]


def test_statistics_of_pixels_make_no_map():
    inputs = keras.Input((8, 8, 1))
    scale = keras.layers.Normalization(name="scale")
    scale.adapt(np.ones((2, 8, 8, 1)))
    x = scale(inputs)
    hidden = keras.layers.Dense(4, name="hidden")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, pooled(hidden))
    assert boundaries.last_map(nodes.nodes(model)) is None
    assert boundaries.trunk_end(nodes.nodes(model)) == [hidden]
    assert (
        boundaries.trunk_end(nodes.nodes(keras.Model(inputs, keras.layers.Flatten()(inputs)))) == []
    )


def shared_names(model, ends):
    return [
        tensor._keras_history.operation.name
        for tensor in boundaries.deepest_shared(nodes.nodes(model), ends)
    ]


def dense(name, x):
    return keras.layers.Dense(3, name=name)(x)


def test_chains_that_part_at_different_heights():
    image = keras.Input((3,))
    low = dense("low", image)
    high = dense("high", low)
    ends = [dense("a", low), dense("b", high), dense("c", high)]
    model = keras.Model(image, ends)
    assert shared_names(model, ends) == ["low"]
    assert shared_names(model, ends[1:]) == ["high"]
    assert shared_names(model, [ends[0], ends[0]]) == ["a"]


def test_an_end_on_the_way_of_another():
    image = keras.Input((3,))
    low = dense("low", image)
    high = dense("high", low)
    assert shared_names(keras.Model(image, [low, high]), [low, high]) == ["low"]


def test_two_tensors_cross_within_a_residual():
    image = keras.Input((3,))
    low = dense("low", image)
    inner = dense("inner", low)
    ends = [keras.layers.Add(name=f"add_{name}")([dense(name, inner), low]) for name in "ab"]
    assert shared_names(keras.Model(image, ends), ends) == ["low", "inner"]


def test_what_is_mixed_is_shared_before_it_is_mixed():
    image = keras.Input((3,))
    one, other = dense("one", image), dense("other", image)
    ends = layers.CrossStitch(name="stitch")([one, other])
    assert shared_names(keras.Model(image, ends), ends) == ["one", "other"]


def test_nothing_to_learn_is_nothing_shared():
    image = keras.Input((3,))
    scaled = keras.layers.Normalization(mean=1.0, variance=2.0)(keras.layers.ReLU()(image))
    ends = [dense("a", scaled), dense("b", scaled)]
    assert shared_names(keras.Model(image, ends), ends) == []
    assert shared_names(keras.Model(image, ends), []) == []
