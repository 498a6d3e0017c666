"""Where dense networks of KerasHub end for us: the maps of their feature pyramid, or the map of their decoder.

What depends on the classes is left out, and so is the rest of a detector beyond its pyramid. RetinaNet's loss divides
by the anchors of the whole batch, so that no image can have a weight of 0 in it (a missing annotation) and a batch
without objects teaches nothing. D-FINE's decoder picks its queries by the scores of the classes and has these in every
layer: with other classes it begins at random. The pyramids know nothing of classes, and with the head and the loss of
`tasks.Detection` on them, data, reports and exports are the same as of any other backbone.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import keras

from keras_transfer.core import checks
from keras_transfer.graphs import nodes
from keras_transfer.layers import CornerResize, LevelEnds

__all__ = ["ENDS", "Ends", "end_in_levels"]


class Ends(NamedTuple):
    """The maps in which a network ends."""

    network: keras.Model
    """Up to the maps."""
    maps: Mapping[str, keras.KerasTensor]
    """By level, from the lowest up; tensors of the graph of `network`."""
    is_decoded: bool
    """Whether the one map is that of a decoder."""


def end_in_levels(network: keras.Model) -> keras.Model | None:
    """Returns a network that ends in the maps of its levels, in one `LevelEnds`; None for one without such maps.

    Example:
        >>> end_in_levels(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])) is None
        True
    """
    find = ENDS.get(type(network).__name__)
    if find is None:
        return None
    ends = find(network)
    names = list(ends.maps)
    whole = f"{names[0]} to {names[-1]}" if len(names) > 1 else names[0]
    if ends.is_decoded:
        checks.note(f"{network.name} has a decoder of its own, whose map is its level {whole}")
    else:
        checks.note(f"{network.name} has a feature pyramid of its own: its levels are {whole}")

    layer = LevelEnds(names, is_decoded=ends.is_decoded, name="level_ends")
    named = []
    for name, level_map in ends.maps.items():
        named.append(keras.layers.Identity(name=f"level_{name}")(level_map))
    return keras.Model(ends.network.inputs, layer(named), name=network.name)


def _call_whole(network: keras.Model) -> keras.Model:
    """Calls a network as one layer, whose inner layers KerasHub's own class makes again when it is loaded."""
    images = keras.Input(network.inputs[0].shape[1:], name="image")
    return keras.Model(images, network(images), name=network.name)


def _retinanet(network: keras.Model) -> Ends:
    whole = _call_whole(network)
    return Ends(whole, whole.output, False)


def _d_fine(network: keras.Model) -> Ends:
    """Ends in the maps of the hybrid encoder; of what it returns, they come first."""
    node = next(node for node in nodes.nodes(network) if node.operation is network.encoder)
    strides = network.encoder.feat_strides
    maps = {f"P{stride.bit_length() - 1}": node.outputs[at] for at, stride in enumerate(strides)}
    return Ends(network, maps, False)


def _segformer(network: keras.Model) -> Ends:
    whole = _call_whole(network)
    return Ends(whole, {"P2": whole.output}, True)


def _deeplab(network: keras.Model) -> Ends:
    """Ends below the enlarging at the top: a head of 1 x 1 convolutions gives the same there, for less work."""
    calls = [
        node
        for node in nodes.nodes(network)
        if isinstance(node.operation, keras.layers.UpSampling2D)
    ]
    top = calls[-1]

    def swap(operation: keras.Operation) -> Callable:
        is_pooling = type(operation).__name__ == "SpatialPyramidPooling"
        return functools.partial(_pool_pyramid, operation) if is_pooling else operation

    images = keras.Input(network.inputs[0].shape[1:], name="image")
    (end,) = nodes.replay(network, [images], [top.inputs[0]], swap=swap)
    level = f"P{top.operation.size[0].bit_length() - 1}"
    return Ends(keras.Model(images, end), {level: end}, True)


def _pool_pyramid(layer: keras.layers.Layer, inputs: keras.KerasTensor) -> keras.KerasTensor:
    """Calls the parts of KerasHub's `SpatialPyramidPooling`, which as a whole can be saved but not loaded."""
    *views, context = (part(inputs) for part in layer.aspp_parallel_channels)
    views.append(keras.ops.zeros_like(views[0]) + context)
    return layer.projection(keras.layers.Concatenate(name="aspp_views")(views))


def _depth_anything(network: keras.Model) -> Ends:
    """Ends below the last convolution of the head, which makes one number of the channels of a pixel."""
    head = network.head
    node = next(node for node in nodes.nodes(network) if node.operation is head)
    x = node.inputs[head.head_in_index]
    x = head.conv1(head.padding1(x))
    x = CornerResize(head.interpolate_size, name="head_resize")(x)
    x = head.activation1(head.conv2(head.padding2(x)))
    return Ends(network, {"P0": x}, True)


# Class of the network: its function from the network to the maps in which it ends.
ENDS: dict[str, Callable[[keras.Model], Ends]] = {
    "RetinaNetBackbone": _retinanet,
    "DFineBackbone": _d_fine,
    "SegFormerBackbone": _segformer,
    "DeepLabV3Backbone": _deeplab,
    "DepthAnythingBackbone": _depth_anything,
}
