import keras
import pytest

from keras_transfer.core import checks
from keras_transfer.graphs import paths


def nested():
    inner = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, name="dense"),
            keras.layers.BatchNormalization(name="bn"),
        ],
        name="inner",
    )
    return keras.Sequential([inner, keras.layers.Dense(2, name="dense")], name="outer")


def test_leaves_follow_the_nesting():
    assert list(paths.leaves(nested())) == ["inner/dense", "inner/bn", "dense"]


def test_leaves_follow_the_graph_not_the_construction():
    inputs = keras.Input((4,), name="in")
    late, early = keras.layers.Dense(4, name="late"), keras.layers.Dense(4, name="early")
    model = keras.Model(inputs, late(early(inputs)))
    assert list(paths.leaves(model)) == ["in", "early", "late"]


def test_shared_layer_is_listed_once():
    inputs = keras.Input((4,), name="in")
    twice = keras.layers.Dense(4, name="twice")
    assert list(paths.leaves(keras.Model(inputs, twice(twice(inputs))))) == ["in", "twice"]


@keras.saving.register_keras_serializable("tests")
class OwnWeights(keras.layers.Layer):
    """Has a weight beside that of its layer."""

    def build(self, shape):
        self.inside = keras.layers.Dense(shape[-1], name="inside")
        self.inside.build(shape)
        self.factor = self.add_weight(name="factor", shape=())
        self.built = True

    def call(self, inputs):
        return self.factor * self.inside(inputs)


def test_a_layer_with_weights_of_its_own_is_innermost():
    model = keras.Sequential([keras.Input((4,)), OwnWeights(name="own")])
    assert list(paths.leaves(model)) == ["own"]
    assert sorted(paths.variables(model)) == ["own/factor", "own/inside/bias", "own/inside/kernel"]


def test_variables_have_unique_paths_and_none_is_lost():
    model = nested()
    found = paths.variables(model)
    assert list(found)[:3] == ["inner/dense/kernel", "inner/dense/bias", "inner/bn/gamma"]
    assert {id(variable) for variable in found.values()} == {
        id(variable) for variable in model.weights
    }


NAMES = ["stem", "trunk/block1_conv", "trunk/block2_conv", "head"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("block*", ["trunk/block1_conv", "trunk/block2_conv"]),
        ("trunk/*", ["trunk/block1_conv", "trunk/block2_conv"]),
        ("head", ["head"]),
        (["head", "stem"], ["stem", "head"]),
        ("block?_conv", ["trunk/block1_conv", "trunk/block2_conv"]),
    ],
)
def test_match(pattern, expected):
    assert paths.match(NAMES, pattern, argument="below") == expected


@pytest.mark.parametrize("pattern", ["blok1*", "lock1_conv", ["head", "haed"]])
def test_no_match_is_an_error_with_close_paths(pattern):
    with pytest.raises(checks.InputError, match="`below` must match a layer"):
        paths.match(NAMES, pattern, argument="below")


def test_the_error_names_close_paths():
    with pytest.raises(checks.InputError, match="Close: 'block1_conv'"):
        paths.match(NAMES, "blok1*", argument="below")
