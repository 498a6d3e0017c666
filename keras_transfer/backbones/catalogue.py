"""The table of networks: family, image size, preprocessing, names of blocks.

Only data; nothing is built here. One more network of a known family is a row in `CATALOGUE`; one more family is a row
in `FAMILIES`.
"""

from typing import NamedTuple

__all__ = ["CATALOGUE", "FAMILIES", "Family", "Row", "names"]


class Family(NamedTuple):
    """What the networks of one module have in common."""

    preprocessing: str
    """Mode of `layers.Preprocess` that turns pixels 0..255 into what the network expects."""
    blocks: str
    """Regular expression of a block's name within the name of an operation, see `graphs.blocks`."""
    minimum: int = 32
    """Smallest image side."""
    normalises: bool = False
    """Whether the network holds the mean and deviation of each colour as weights."""


class Row(NamedTuple):
    """One network."""

    family: str
    """Key of `FAMILIES`, and the module's name in `keras.applications`."""
    size: int = 224
    """Image side it was pretrained at, used when the user names none."""
    outside: str = ""
    """Mode of `layers.Preprocess` that replaces its own preprocessing layers if the channels are not 3."""


FAMILIES = {
    "convnext": Family("inside", r"(?:stage_\d+|downsampling)_block_\d+"),
    "densenet": Family("torch", r"conv\d_block\d+|pool[2-4]"),
    "efficientnet": Family("inside", r"block\d[a-z](?=_)", normalises=True),
    "efficientnet_v2": Family("inside", r"block\d[a-z](?=_)"),
    "inception_resnet_v2": Family("tf", r"mixed_\d[a-z]|block\d+_\d+", minimum=75),
    "inception_v3": Family("tf", r"mixed\d+", minimum=75),
    "mobilenet": Family("tf", r"conv_[dp]w_\d+"),
    "mobilenet_v2": Family("tf", r"block_\d+|expanded_conv"),
    "mobilenet_v3": Family("inside", r"expanded_conv(?:_\d+)?"),
    "nasnet": Family("tf", r"(?:normal|reduction)_concat_\w+"),
    "resnet": Family("caffe", r"conv\d_block\d+"),
    "resnet_v2": Family("tf", r"conv\d_block\d+"),
    "tiny": Family("tf", r"stem|block\d+"),
    "vgg16": Family("caffe", r"block\d"),
    "vgg19": Family("caffe", r"block\d"),
    "xception": Family("tf", r"block\d+", minimum=71),
}

CATALOGUE = {
    "ConvNeXtBase": Row("convnext", outside="torch"),
    "ConvNeXtLarge": Row("convnext", outside="torch"),
    "ConvNeXtSmall": Row("convnext", outside="torch"),
    "ConvNeXtTiny": Row("convnext", outside="torch"),
    "ConvNeXtXLarge": Row("convnext", outside="torch"),
    "DenseNet121": Row("densenet"),
    "DenseNet169": Row("densenet"),
    "DenseNet201": Row("densenet"),
    "EfficientNetB0": Row("efficientnet"),
    "EfficientNetB1": Row("efficientnet", size=240),
    "EfficientNetB2": Row("efficientnet", size=260),
    "EfficientNetB3": Row("efficientnet", size=300),
    "EfficientNetB4": Row("efficientnet", size=380),
    "EfficientNetB5": Row("efficientnet", size=456),
    "EfficientNetB6": Row("efficientnet", size=528),
    "EfficientNetB7": Row("efficientnet", size=600),
    "EfficientNetV2B0": Row("efficientnet_v2", outside="torch"),
    "EfficientNetV2B1": Row("efficientnet_v2", size=240, outside="torch"),
    "EfficientNetV2B2": Row("efficientnet_v2", size=260, outside="torch"),
    "EfficientNetV2B3": Row("efficientnet_v2", size=300, outside="torch"),
    "EfficientNetV2L": Row("efficientnet_v2", size=480),
    "EfficientNetV2M": Row("efficientnet_v2", size=480),
    "EfficientNetV2S": Row("efficientnet_v2", size=384),
    "InceptionResNetV2": Row("inception_resnet_v2", size=299),
    "InceptionV3": Row("inception_v3", size=299),
    "MobileNet": Row("mobilenet"),
    "MobileNetV2": Row("mobilenet_v2"),
    "MobileNetV3Large": Row("mobilenet_v3"),
    "MobileNetV3Small": Row("mobilenet_v3"),
    "NASNetLarge": Row("nasnet", size=331),
    "NASNetMobile": Row("nasnet"),
    "ResNet101": Row("resnet"),
    "ResNet101V2": Row("resnet_v2"),
    "ResNet152": Row("resnet"),
    "ResNet152V2": Row("resnet_v2"),
    "ResNet50": Row("resnet"),
    "ResNet50V2": Row("resnet_v2"),
    "VGG16": Row("vgg16"),
    "VGG19": Row("vgg19"),
    "Xception": Row("xception", size=299),
    "tiny": Row("tiny", size=32),
}


def names() -> list[str]:
    """Returns the names that `backbone` knows.

    Example:
        >>> "MobileNetV2" in names()
        True
    """
    return sorted(CATALOGUE, key=str.lower)
