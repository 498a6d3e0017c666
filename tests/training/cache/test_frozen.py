"""Which part of a model is frozen."""

import keras

from keras_transfer.training.cache import frozen


def model_of(*layers):
    model = keras.Sequential([keras.Input((4,)), *layers])
    return model, frozen.candidates(model)


def dense(name, trainable=False):
    return keras.layers.Dense(3, name=name, trainable=trainable)


def test_an_unstable_call_ends_the_frozen_part():
    drop = keras.layers.Dropout(0.5)
    model, candidates = model_of(dense("a"), drop, dense("top", trainable=True))
    part = frozen.find(model, candidates, {2: "it draws"})
    assert (list(part.lower), part.reason) == ([0, 1], "")
    assert part.crossing[0] is model.get_layer("a").output


def test_frozen_weights_behind_an_unstable_call_are_a_reason():
    layers = [dense("a"), keras.layers.Dropout(0.5), dense("b"), dense("top", trainable=True)]
    model, candidates = model_of(*layers)
    assert frozen.find(model, candidates, {2: "it draws"}).reason == "it draws"
    assert frozen.find(model, candidates).reason == ""


def test_an_output_is_always_computed():
    image = keras.Input((4,))
    inner = dense("a")(image)
    model = keras.Model(image, [dense("top", trainable=True)(inner), inner])
    assert frozen.candidates(model).positions == {0}


def test_statistics_count_as_training():
    norm = keras.layers.BatchNormalization(scale=False, center=False)
    model, candidates = model_of(dense("a"), norm, dense("top", trainable=True))
    assert candidates == ({0, 1}, {2, 3})
    norm.trainable = False
    assert frozen.candidates(model) == ({0, 1, 2}, {3})
