import keras

from keras_transfer import layers
from keras_transfer.graphs import ancestors, nodes


def names(model, ends):
    return [
        tensor._keras_history.operation.name
        for tensor in ancestors.deepest(nodes.nodes(model), ends)
    ]


def dense(name, x):
    return keras.layers.Dense(3, name=name)(x)


def test_chains_that_part_at_different_heights():
    image = keras.Input((3,))
    low = dense("low", image)
    high = dense("high", low)
    ends = [dense("a", low), dense("b", high), dense("c", high)]
    model = keras.Model(image, ends)
    assert names(model, ends) == ["low"]
    assert names(model, ends[1:]) == ["high"]
    assert names(model, [ends[0], ends[0]]) == ["a"]


def test_an_end_on_the_way_of_another():
    image = keras.Input((3,))
    low = dense("low", image)
    high = dense("high", low)
    assert names(keras.Model(image, [low, high]), [low, high]) == ["low"]


def test_two_tensors_cross_within_a_residual():
    image = keras.Input((3,))
    low = dense("low", image)
    inner = dense("inner", low)
    ends = [keras.layers.Add(name=f"add_{name}")([dense(name, inner), low]) for name in "ab"]
    assert names(keras.Model(image, ends), ends) == ["low", "inner"]


def test_what_is_mixed_is_shared_before_it_is_mixed():
    image = keras.Input((3,))
    one, other = dense("one", image), dense("other", image)
    ends = layers.CrossStitch(name="stitch")([one, other])
    assert names(keras.Model(image, ends), ends) == ["one", "other"]


def test_nothing_to_learn_is_nothing_shared():
    image = keras.Input((3,))
    scaled = keras.layers.Normalization(mean=1.0, variance=2.0)(keras.layers.ReLU()(image))
    ends = [dense("a", scaled), dense("b", scaled)]
    assert names(keras.Model(image, ends), ends) == []
    assert names(keras.Model(image, ends), []) == []
