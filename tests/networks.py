"""Networks that several files of tests train."""

import keras
from keras.src.applications import convnext, densenet, efficientnet, mobilenet_v2, resnet

import keras_transfer as kt


def small(**options):
    """A trunk of four blocks for images of 32 x 32, the third with a shortcut: traced in half the time of `tiny`.

    Its weights are those of Keras's present seed; `options` are those of `kt.backbone`.
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
    return kt.backbone(keras.Model(image, x, name="small"), preprocess="tf", **options)


def shallow(family, *, widths=(8, 8, 8, 8)):
    """A trunk of the layers and skip connections of a family of Keras Applications, for images of 32 x 32.

    It has a block or two in each stage and few filters, where they can be chosen; `widths` are those of ConvNeXt.
    """
    options = {"include_top": False, "weights": None, "input_shape": (32, 32, 3)}
    if family == "MobileNet":
        x = image = keras.Input((32, 32, 3))
        for number, stride in enumerate((2, 2, 1, 1)):
            x = mobilenet_v2._inverted_res_block(x, 2, stride, 1.0, 8, number)
        network, preprocess = keras.Model(image, x, name="mobilenet"), "tf"
    elif family == "ResNet":

        def stack(x):
            x = resnet.stack_residual_blocks_v1(x, 8, 1, stride1=1, name="conv2")
            return resnet.stack_residual_blocks_v1(x, 8, 2, name="conv5")

        network, preprocess = resnet.ResNet(stack, False, True, **options), "caffe"
    elif family == "DenseNet":
        network, preprocess = densenet.DenseNet([1, 1, 1, 2], **options), "torch"
    elif family == "EfficientNet":
        network, preprocess = efficientnet.EfficientNet(0.1, 0.2, 32, **options), "inside"
    else:
        sizes = {"depths": (1, 1, 1, 2), "projection_dims": widths}
        network, preprocess = convnext.ConvNeXt(**sizes, **options), "inside"
    return kt.backbone(network, preprocess=preprocess)
