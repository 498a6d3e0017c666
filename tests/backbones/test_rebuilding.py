import keras
import numpy as np
import pytest
from keras import ops

from keras_transfer.backbones import rebuilding
from keras_transfer.core import checks


def test_a_layer_is_made_once_and_an_operation_is_kept():
    pairs = {}
    swap = rebuilding.make_copier(pairs)
    dense = keras.layers.Dense(2, name="dense", activation="relu")
    copy = swap(dense)
    assert copy is swap(dense)
    assert (copy is not dense, copy.get_config()) == (True, dense.get_config())
    operation = ops.add(keras.Input((2,)), 1)._keras_history.operation
    function = keras.layers.Lambda(lambda x: x)
    assert swap(operation) is operation
    assert swap(function) is function
    assert list(pairs) == [id(dense)]


def test_weights_go_over_adapted_where_the_input_has_other_channels():
    pairs = {}
    swap = rebuilding.make_copier(pairs)
    first, second = keras.layers.Conv2D(4, 3), keras.layers.Conv2D(3, 1)
    second(first(keras.Input((8, 8, 3))))
    swap(second)(swap(first)(keras.Input((8, 8, 1))))
    rebuilding.hand_over(pairs, sizes="", adapt=lambda kernel: kernel.sum(axis=2, keepdims=True))
    old, new = pairs[id(first)]
    np.testing.assert_array_equal(new.kernel, ops.sum(old.kernel, axis=2, keepdims=True))
    np.testing.assert_array_equal(pairs[id(second)][1].kernel, second.kernel)


def test_a_layer_whose_weights_depend_on_the_size():
    pairs = {}
    dense = keras.layers.Dense(2, name="dense")
    dense(keras.Input((8,)))
    rebuilding.make_copier(pairs)(dense)(keras.Input((18,)))
    message = (
        r"layer 'dense' their shapes. Given: 12 x 12, which makes them "
        r"\[\(18, 2\), \(2,\)\] instead of \[\(8, 2\)"
    )
    with pytest.raises(checks.InputError, match=message):
        rebuilding.hand_over(pairs, sizes="12 x 12")


class Plain(keras.layers.Layer):
    def call(self, inputs):
        return inputs


@keras.saving.register_keras_serializable("tests_rebuilding")
class Complete(Plain):
    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable("tests_rebuilding")
class Incomplete(Complete):
    def get_config(self):
        return keras.layers.Layer.get_config(self)


def test_what_can_be_saved():
    assert rebuilding.check_saveable([Complete(3), keras.layers.Dense(2)]) == []
    with pytest.raises(
        checks.InputError,
        match=r"Given: Plain of layer 'own'. Write `@keras.saving.register.*`class Plain`",
    ):
        rebuilding.check_saveable([Plain(name="own")])
    with keras.saving.custom_object_scope({"Plain": Plain}):
        assert rebuilding.check_saveable([Plain()]) == []
    with pytest.raises(
        checks.InputError,
        match=r"Incomplete.from_config\(get_config\(\)\). Given: 'own' \(.*'width'",
    ):
        rebuilding.check_saveable([Incomplete(3, name="own")])


def test_private_names_that_this_stands_on_exist():
    """Fails first when a new Keras renames them."""
    inner = keras.layers.Normalization()
    outer = keras.Sequential([keras.Input((2,)), inner])
    assert inner in outer._flatten_layers()
    assert callable(inner.finalize_state)
