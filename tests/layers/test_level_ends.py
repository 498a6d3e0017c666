import keras
import numpy as np

from keras_transfer import layers
from keras_transfer.graphs import blocks
from keras_transfer.layers import marks

MAPS = [np.ones((2, 4, 4, 3), "float32"), np.full((2, 2, 2, 3), 7, "float32")]


def pyramid():
    images = keras.Input((32, 32, 3))
    low = keras.layers.Conv2D(3, 8, strides=8, name="low")(images)
    high = keras.layers.Conv2D(3, 2, strides=2, name="high")(low)
    low = keras.layers.Conv2D(3, 1, name="low_again")(low)
    return keras.Model(images, layers.LevelEnds(["P3", "P4"])([low, high]))


def test_the_last_map_goes_on():
    layer = layers.LevelEnds(["P3", "P4"])
    np.testing.assert_array_equal(layer(MAPS), MAPS[1])


def test_the_names_are_saved():
    layer = layers.LevelEnds(["P2"], is_decoded=True)
    again = layers.LevelEnds.from_config(layer.get_config())
    assert (again.level_names, again.is_decoded) == (["P2"], True)


def test_levels_are_those_that_the_layer_names():
    model = pyramid()
    assert blocks.levels(model) == {"P3": "low_again", "P4": "high"}
    assert marks.named_levels(model).level_names == ["P3", "P4"]
