"""The contract of a layer."""

import keras
import numpy as np

from keras_transfer.testing.running import rebuild, require, run

__all__ = ["check_layer"]


def check_layer(layer: keras.layers.Layer, inputs: np.ndarray) -> None:
    """Checks a layer: the shape that it announces, and equal outputs after it is made again from its config.

    Example:
        >>> check_layer(kt.layers.Preprocess("tf"), np.zeros((2, 4, 4, 3), "float32"))
    """
    run((announces_its_shape, config_makes_the_layer_again), layer, inputs)


def announces_its_shape(layer: keras.layers.Layer, inputs: np.ndarray) -> None:
    """Checks that `compute_output_shape` tells the shape of the outputs."""
    announced = tuple(layer.compute_output_shape(inputs.shape))
    shape = tuple(layer(inputs).shape)
    require(announced == shape, f"{announced} announced, {shape} came out")


def config_makes_the_layer_again(layer: keras.layers.Layer, inputs: np.ndarray) -> None:
    """Checks that config and weights give a layer with the same outputs."""
    expected = np.asarray(layer(inputs))
    again = rebuild(layer)
    again(inputs)  # builds it
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(np.asarray(again(inputs)), expected)
