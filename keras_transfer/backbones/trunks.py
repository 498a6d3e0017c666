"""Finds the trunk in a Keras model: its graph without nesting, and the place where the head is cut off."""

from collections.abc import Sequence
from typing import NamedTuple

import keras

from keras_transfer import layers
from keras_transfer.backbones import rebuilding
from keras_transfer.core import checks
from keras_transfer.graphs import boundaries, nodes, paths
from keras_transfer.layers import marks

__all__ = ["Trunk", "find"]


class Trunk(NamedTuple):
    """The part of a model that becomes a backbone."""

    network: keras.Model
    """Functional, with one input of images; nested models are dissolved."""
    end: keras.KerasTensor
    """The tensor where the trunk ends."""
    operations: list[keras.Operation]
    """The operations that `end` depends on, bottom to top, without the inputs."""
    mark: layers.Representation | None
    """The mark of a model that the package built."""

    @property
    def is_prepared(self) -> bool:
        """Whether the package put the preprocessing into the network."""
        return self.mark is not None and bool(self.mark.source.get("preprocessing"))


def find(
    model: keras.layers.Layer,
    *,
    output: str | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> Trunk:
    """Returns the trunk of a model, and prints which layers are cut off.

    Args:
        model: Functional, sequential, or anything that can be called on images.
        output: Pattern of the layer where the trunk ends; of several, the uppermost. By default the mark of a
            model that the package built, else the last feature map, else the input of the last layer with weights.
            For a model without a graph that gives a dict, a key.
        image_size: (height, width), for a model without a graph.
        channels: For a model without a graph.

    Raises:
        InputError: If the model does not take images, or has no such layer.

    Example:
        >>> dense = [keras.layers.Flatten(name="flat"), keras.layers.Dense(2, name="logits")]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv"), *dense], name="m")
        >>> find(model).end.shape
        keras_transfer: m is used up to 'conv'; left out above it: flat, logits
        (None, 6, 6, 4)
    """
    if nodes.is_functional(model):
        network = model
    else:
        network, output = _wrap(model, image_size, channels, output)
    _check_images(network)
    flat = _flatten(network)
    order = nodes.nodes(flat)
    mark = marks.representation(flat)
    if output:
        end = _find_named(order, network, output)
    elif mark is not None:
        end = next(node.inputs[0] for node in order if node.operation is mark)
    elif not nodes.is_functional(model):  # a sequential model has a graph since it was called
        end = flat.outputs[0]
    else:
        end = _find_end(flat, order)

    below = sorted(nodes.ancestors(order, [end]))
    operations = [order[position].operation for position in below if order[position].inputs]
    if not operations:
        raise checks.error("`output` must be above the images", given=repr(output))
    trunk = Trunk(flat, end, list(dict.fromkeys(operations)), mark)
    _note_cut_layers(model.name, order, trunk)
    return trunk


def _wrap(
    model: keras.layers.Layer,
    image_size: tuple[int, int] | None,
    channels: int | None,
    output: str | None,
) -> tuple[keras.Model, str | None]:
    """Calls a model without a graph on images; returns the functional model, and `output` unless it was used up."""
    if not isinstance(model, keras.layers.Layer):
        raise checks.error("`source` must be a Keras model or layer", given=type(model).__name__)
    shape = (model.get_build_config() or {}).get("input_shape") if model.built else None
    if not isinstance(shape, tuple | list) or len(shape) != 4:
        shape = (None, None, None, None)
    size = image_size or tuple(shape[1:3])
    if None in size:
        raise checks.error(
            "`image_size` must be given for a model without a graph that was never built",
            given=repr(model.name),
        )

    images = keras.Input((*size, channels or shape[3] or 3), name="image")
    try:
        results = model(images)
    except checks.InputError:
        raise
    except (ValueError, TypeError) as refused:
        raise checks.error(
            f"the model must be callable on images {tuple(images.shape[1:])}",
            given=f"{model.name!r} ({checks.first_line(refused)})",
            fix="Check `image_size` and `channels`.",
        ) from refused

    keys = f"It gives: {', '.join(map(str, results))}." if isinstance(results, dict) else ""
    if keys and output is not None:
        if output not in results:
            expected = "`output` must be a key of what the model gives"
            raise checks.error(expected, given=repr(output), fix=keys)
        results, output = results[output], None
    elif output is not None and not nodes.is_functional(model):
        raise checks.error(
            "`output` must be left out for a model without a graph",
            given=repr(output),
            fix="It is taken as a whole.",
        )
    if not isinstance(results, keras.KerasTensor):
        fix = f"Choose one with `output=`. {keys}" if keys else ""
        raise checks.error(
            "a model without a graph must give one tensor", given=type(results).__name__, fix=fix
        )
    return keras.Model(images, results, name=model.name), output


def _check_images(network: keras.Model) -> None:
    shapes = [tuple(tensor.shape) for tensor in network.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise checks.error(
            "the model must take one batch of images (batch, height, width, channels)",
            given=f"{network.name!r}, which takes {', '.join(map(str, shapes))}",
        )
    for path, layer in paths.leaves(network).items():
        if getattr(layer, "data_format", None) == "channels_first":
            given = f"channels first in {path!r}"
            raise checks.error("the model must have the channels last", given=given)


def _has_own_config(operation: keras.Operation) -> bool:
    """Whether a model is saved as an object of its class, not as the graph of its layers."""
    definer = next(cls for cls in type(operation).__mro__ if "get_config" in vars(cls))
    return nodes.is_functional(operation) and definer.__module__.partition(".")[0] != "keras"


def _flatten(network: keras.Model) -> keras.Model:
    """Dissolves nested models where the result can be saved."""
    if _has_own_config(network):
        images = keras.Input(network.inputs[0].shape[1:], name="image")
        network = keras.Model(images, network(images), name=network.name)
    operations = [node.operation for node in nodes.nodes(network)]
    nested = [operation for operation in operations if nodes.is_functional(operation)]
    try:
        flat = nodes.flatten(network)
        if any(map(_has_own_config, nested)):
            # The layers of some models of KerasHub cannot be made from their configs; the models can.
            rebuilding.check_saveable(node.operation for node in nodes.nodes(flat))
    except checks.InputError as clash:
        names = ", ".join(dict.fromkeys(operation.name for operation in nested))
        reason = str(clash).partition(". ")[0]
        checks.note(f"{network.name}: blocks cannot be told apart within {names}, because {reason}")
        return network
    return flat


def _find_end(flat: keras.Model, order: Sequence[nodes.Node]) -> keras.KerasTensor:
    """Returns the last feature map, the tokens of a headless transformer, or what enters the last weights."""
    feature_map = boundaries.last_map(order)
    if feature_map is not None:
        return feature_map
    whole = flat.outputs[0]
    if len(flat.outputs) == 1 and len(whole.shape) == 3:
        return whole
    ends = boundaries.trunk_end(order)
    return ends[0] if ends and ends[0] is not flat.inputs[0] else whole


def _find_named(
    order: Sequence[nodes.Node], network: keras.Model, output: str
) -> keras.KerasTensor:
    """Returns the output of the uppermost operation that matches by its path or that of a model around it."""
    path_of = {id(layer): path for path, layer in paths.leaves(network).items()}
    ends: dict = {}
    for node in order:
        parts = path_of.get(id(node.operation), node.operation.name).split("/")
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            ends.pop(path, None)  # so that the last call of a path is also the last entry
            ends[path] = node.outputs[0]
    return ends[paths.match(ends, output, argument="output")[-1]]


def _note_cut_layers(name: str, order: Sequence[nodes.Node], trunk: Trunk) -> None:
    kept = {id(operation) for operation in (*trunk.operations, trunk.mark)}
    cut, last = [], ""
    for node in order:
        if any(tensor is trunk.end for tensor in node.outputs):
            last = node.operation.name
        is_layer = node.inputs and isinstance(node.operation, keras.layers.Layer)
        if is_layer and id(node.operation) not in kept:
            cut.append(node.operation.name)
    if cut:
        more = f" and {len(cut) - 4} more" if len(cut) > 4 else ""
        checks.note(f"{name} is used up to {last!r}; left out above it: {', '.join(cut[:4])}{more}")
