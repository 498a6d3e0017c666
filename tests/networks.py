"""Networks that several files of tests train."""

import keras

import keras_transfer as kt


def small():
    """A trunk of four blocks for images of 32 x 32, the third with a shortcut: traced in half the time of `tiny`.

    Its weights are those of Keras's present seed.
    """
    x = image = keras.Input((32, 32, 3))
    for number in (1, 2, 3, 4):
        name = f"block{number}"
        strides = 1 if number == 3 else 2
        y = keras.layers.Conv2D(
            6, 3, strides=strides, padding="same", use_bias=False, name=f"{name}_conv"
        )(x)
        y = keras.layers.BatchNormalization(name=f"{name}_norm")(y)
        y = keras.layers.ReLU(name=f"{name}_relu")(y)
        x = keras.layers.Add(name=f"{name}_add")([x, y]) if number == 3 else y
    return kt.backbone(keras.Model(image, x, name="small"), preprocess="tf")
