"""A network of a few layers with all that makes sharing hard: a residual, a plain operation, statistics."""

import keras
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.backbones import base
from keras_transfer.graphs import paths

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (8, 16, 16, 3), dtype="uint8")
TARGETS = {"kind": np.arange(8) % 3, "age": np.linspace(0, 7, 8).astype("float32")}


def network():
    image = keras.Input((16, 16, 3), name="image")
    x = kt.layers.Preprocess("tf", name="preprocess")(image)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="stem_conv")(x)
    x = keras.layers.BatchNormalization(name="stem_bn")(x)
    y = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="block1_a")(x)
    y = keras.layers.Conv2D(8, 3, padding="same", name="block1_b")(y)
    x = keras.layers.ReLU(name="block1_relu")(x + y)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="block2_conv")(x)
    x = keras.layers.BatchNormalization(name="block2_bn")(x)
    x = keras.layers.ReLU(name="block2_relu")(x)
    x = keras.layers.Conv2D(
        16, 3, strides=2, padding="same", activation="relu", name="block3_conv"
    )(x)
    source = {"name": "small", "blocks": r"stem|block\d"}
    made = base.Backbone.of(image, x, source=source, name="small")
    for layer in made.layers:
        if isinstance(
            layer, keras.layers.BatchNormalization
        ):  # else copied statistics would be equal by chance
            layer.moving_mean.assign(np.linspace(-0.5, 0.5, 8))
            layer.moving_variance.assign(np.linspace(0.1, 2, 8))
    return made


def tasks(**options):
    return {"kind": kt.tasks.Classification(3), "age": kt.tasks.Regression(**options)}


def answers(model):
    return {name: np.asarray(value) for name, value in model(PIXELS, training=False).items()}


def same_heads(model, other):
    """Gives `model` the weights that `other` has under the same names."""
    theirs = paths.variables(other)
    for path, variable in paths.variables(model).items():
        if path in theirs:
            variable.assign(theirs[path])


def trains(model):
    return {row["path"] for row in kt.trainable_table(model, layers=True) if row["trainable"]}


def gradients(model, name):
    """The gradient of a task's loss for each trainable weight, by path; None where there is none."""
    import tensorflow as tf

    loss = kt.models.outputs(model)[name].task.loss()
    variables = {path: each for path, each in paths.variables(model).items() if each.trainable}
    with tf.GradientTape() as tape:
        value = loss(TARGETS[name], model(PIXELS, training=True)[name])
    found = tape.gradient(value, [variable.value for variable in variables.values()])
    return {
        path: None if each is None else np.array(each)
        for path, each in zip(variables, found, strict=True)
    }


class Small:
    """What the tests of sharing have in common."""

    pixels, targets = PIXELS, TARGETS
    network, tasks, answers = staticmethod(network), staticmethod(tasks), staticmethod(answers)
    same_heads, trains, gradients = (
        staticmethod(same_heads),
        staticmethod(trains),
        staticmethod(gradients),
    )


@pytest.fixture
def small():
    return Small
