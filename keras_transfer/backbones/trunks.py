"""The trunk within a Keras model: its graph, flat, and the place where the head is cut off."""

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
    """What of a model becomes a backbone."""

    network: keras.Model
    """Functional, with one input of images; nested models are dissolved."""
    end: keras.KerasTensor
    """Where it ends."""
    operations: list[keras.Operation]
    """What `end` needs, bottom to top, without the inputs."""
    mark: layers.Representation | None
    """The mark of a model that the package built."""

    @property
    def prepared(self) -> bool:
        """Whether the package put the preprocessing into the network."""
        return self.mark is not None and bool(self.mark.source.get("preprocessing"))


def find(
    model: keras.layers.Layer,
    *,
    output: str | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> Trunk:
    """Returns the trunk of a model. What is cut off is printed.

    Args:
        model: Functional, sequential, or anything that can be called on images.
        output: Pattern of the layer where the trunk ends; of several, the uppermost. By default the mark of a
            model that the package built, else the last feature map, else what enters the last layer with weights.
            Of a model without a graph that gives a dict, a key.
        image_size: (height, width) for a model without a graph.
        channels: For a model without a graph.

    Raises:
        InputError: If the model is none of images, or has no such layer.

    Example:
        >>> dense = [keras.layers.Flatten(name="flat"), keras.layers.Dense(2, name="logits")]
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv"), *dense], name="m")
        >>> find(model).end.shape
        keras_transfer: m ends at 'conv'; left out above it: flat, logits
        (None, 6, 6, 4)
    """
    if nodes.is_functional(model):
        network = model
    else:
        network, output = _called(model, image_size, channels, output)
    _check_images(network)
    flat = _flat(_nested(network) if _has_own_config(network) else network)
    order = nodes.nodes(flat)
    mark = marks.representation(flat)
    is_opaque = not nodes.is_functional(model)  # a sequential model has a graph once it was called
    end = _named_end(order, network, output) if output else _end(flat, order, mark, is_opaque)
    below = nodes.ancestors(order, [end])
    operations = [order[position].operation for position in sorted(below) if order[position].inputs]
    if not operations:
        raise checks.error("`output` must be above the images", given=repr(output))
    trunk = Trunk(flat, end, list(dict.fromkeys(operations)), mark)
    _note_what_is_cut(model.name, order, trunk)
    return trunk


def _called(
    model: keras.layers.Layer,
    image_size: tuple[int, int] | None,
    channels: int | None,
    output: str | None,
) -> tuple[keras.Model, str | None]:
    """A functional model of one layer: `model`, called on images. What of `output` is left to be found in it."""
    if not isinstance(model, keras.layers.Layer):
        raise checks.error("`source` must be a Keras model or layer", given=type(model).__name__)
    height, width, planes = _built_for(model)
    size = image_size or (height, width)
    if None in size:
        raise checks.error(
            "`image_size` must be given for a model without a graph that was never built",
            given=repr(model.name),
        )
    images = keras.Input((*size, channels or planes or 3), name="image")
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
    if isinstance(results, dict) and output is not None:
        if output not in results:
            raise checks.error(
                "`output` must be a key of what the model gives",
                given=repr(output),
                fix=_known(results),
            )
        results, output = results[output], None
    elif output is not None and not nodes.is_functional(model):
        raise checks.error(
            "`output` must be left out for a model without a graph",
            given=repr(output),
            fix="It is taken as a whole.",
        )
    if not isinstance(results, keras.KerasTensor):
        fix = f"Choose one with `output=`. {_known(results)}" if isinstance(results, dict) else ""
        raise checks.error(
            "a model without a graph must give one tensor", given=type(results).__name__, fix=fix
        )
    return keras.Model(images, results, name=model.name), output


def _known(results: dict) -> str:
    return f"It gives: {', '.join(map(str, results))}."


def _built_for(model: keras.layers.Layer) -> tuple[int | None, int | None, int | None]:
    """The (height, width, channels) that a model was built with, as far as it says so."""
    shape = (model.get_build_config() or {}).get("input_shape") if model.built else None
    return (
        tuple(shape[1:])
        if isinstance(shape, tuple | list) and len(shape) == 4
        else (None, None, None)
    )


def _check_images(network: keras.Model) -> None:
    shapes = [tuple(tensor.shape) for tensor in network.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise checks.error(
            "the model must take one batch of images (batch, height, width, channels)",
            given=f"{network.name!r}, which takes {', '.join(map(str, shapes))}",
        )
    for path, layer in paths.leaves(network).items():
        if getattr(layer, "data_format", None) == "channels_first":
            raise checks.error(
                "the model must have the channels last", given=f"channels first in {path!r}"
            )


def _has_own_config(operation: keras.Operation) -> bool:
    """Whether a model is saved as an object of its class, not as the graph of its layers."""
    definer = next(cls for cls in type(operation).__mro__ if "get_config" in vars(cls))
    return nodes.is_functional(operation) and definer.__module__.partition(".")[0] != "keras"


def _nested(network: keras.Model) -> keras.Model:
    images = keras.Input(network.inputs[0].shape[1:], name="image")
    return keras.Model(images, network(images), name=network.name)


def _flat(network: keras.Model) -> keras.Model:
    """`network` with nested models dissolved, where that can be saved."""
    nested = [
        node.operation for node in nodes.nodes(network) if nodes.is_functional(node.operation)
    ]
    try:
        flat = nodes.flatten(network)
        if any(map(_has_own_config, nested)):
            # The layers of some models of KerasHub cannot be made from their configs; the models can.
            rebuilding.check_saveable(node.operation for node in nodes.nodes(flat))
    except checks.InputError as clash:
        whole = ", ".join(dict.fromkeys(operation.name for operation in nested))
        checks.note(
            f"{network.name}: one block each for {whole}, because {str(clash).partition('. ')[0]}"
        )
        return network
    return flat


def _end(
    flat: keras.Model,
    order: Sequence[nodes.Node],
    mark: layers.Representation | None,
    is_opaque: bool,
) -> keras.KerasTensor:
    if mark is not None:
        return next(node.inputs[0] for node in order if node.operation is mark)
    if is_opaque:
        return flat.outputs[0]
    found = boundaries.last_map(order)
    if found is not None:
        return found
    if len(flat.outputs) == 1 and len(flat.outputs[0].shape) == 3:
        return flat.outputs[0]  # tokens, without a head
    ends = boundaries.trunk_end(order)
    return ends[0] if ends and ends[0] is not flat.inputs[0] else flat.outputs[0]


def _named_end(order: Sequence[nodes.Node], network: keras.Model, output: str) -> keras.KerasTensor:
    """The output of the uppermost operation whose path, or that of a model around it, matches."""
    known = {id(layer): path for path, layer in paths.leaves(network).items()}
    ends = {}
    for node in order:
        parts = known.get(id(node.operation), node.operation.name).split("/")
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            ends.pop(path, None)  # the last call comes last
            ends[path] = node.outputs[0]
    return ends[paths.match(ends, output, argument="output")[-1]]


def _note_what_is_cut(name: str, order: Sequence[nodes.Node], trunk: Trunk) -> None:
    kept = {id(operation) for operation in trunk.operations} | {id(trunk.mark)}
    above = [
        node.operation.name
        for node in order
        if node.inputs
        and id(node.operation) not in kept
        and isinstance(node.operation, keras.layers.Layer)
    ]
    if above:
        last = next(
            node.operation.name
            for node in order
            if any(tensor is trunk.end for tensor in node.outputs)
        )
        more = f" and {len(above) - 4} more" if len(above) > 4 else ""
        checks.note(f"{name} ends at {last!r}; left out above it: {', '.join(above[:4])}{more}")
