"""A model in Keras's own layers, and its losses, metrics and optimizer as Keras has them."""

from collections.abc import Callable
from typing import Any  # whatever `compile` takes

import keras

from keras_transfer.backbones import rebuilding
from keras_transfer.core import checks
from keras_transfer.graphs import compiling, nodes
from keras_transfer.optimizers import Scaled, schedules

__all__ = ["compile_arguments", "is_own", "replacement", "to_keras"]

PACKAGE = "keras_transfer>"


def to_keras(model: keras.Model) -> keras.Model:
    """Returns a model of Keras's own layers that gives the same answers.

    Its file loads with `keras.models.load_model` where keras_transfer is not installed. Names of classes, units and
    balancers are not in it. It has weights of its own: training it leaves `model` as it is. It is compiled with the
    loss of `model` where Keras has an equal one, else not compiled. Layers of your own stay as they are.

    Args:
        model: A functional model, of `kt.build_model` or `kt.backbone`.

    Raises:
        InputError: If a layer cannot be replaced: a SavedModel, a preprocessing function, a task of your own that does
            not compute with keras.ops.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(2))
        >>> [type(layer).__name__ for layer in to_keras(model).layers[-3:]]
        ['GlobalAveragePooling2D', 'Dense', 'Identity']
    """
    nodes.check_functional(model)
    if any(is_own(layer) and layer not in model.layers for layer in model._flatten_layers()):
        model = nodes.flatten(model)
    pairs: rebuilding.Pairs = {}
    copy = rebuilding.make_copier(pairs)

    def in_keras(operation: keras.Operation) -> Callable:
        if is_own(operation):
            return replacement(operation)
        if not isinstance(operation, keras.layers.Layer):
            return operation
        return copy(operation)

    inputs = []
    for tensor in model.inputs:
        name = tensor._keras_history.operation.name
        inputs.append(keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name))
    outputs = nodes.replay(model, inputs, model.outputs, swap=in_keras)
    plain = keras.Model(
        keras.tree.pack_sequence_as(model.input, inputs),
        keras.tree.pack_sequence_as(model.output, outputs),
        name=model.name,
    )
    for layer, made in pairs.values():
        made.set_weights(layer.get_weights())

    if getattr(model, "compiled", False):
        arguments = compile_arguments(model)
        if arguments["loss"] is not None:
            plain.compile_from_config(keras.saving.serialize_keras_object(arguments))
    return plain


def is_own(operation: object) -> bool:
    """Returns whether an object is of a class of this package.

    Example:
        >>> is_own(keras.layers.Dense(2))
        False
    """
    return keras.saving.get_registered_name(type(operation)).startswith(PACKAGE)


def replacement(layer: keras.layers.Layer) -> Callable:
    """Returns what to call in the place of a layer of the package; it raises an InputError if Keras has no equal.

    A task of the user's own may compute its answer with what takes no symbolic tensors.
    """

    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return layer.to_keras(*arguments, **options)
        except (AttributeError, TypeError, ValueError) as failed:
            raise checks.error(
                "`model` must have layers that Keras's own can replace",
                given=f"{layer.name!r}, a {type(layer).__name__}",
                fix="Save it as it is and load it with kt.load_model, or use kt.export.",
            ) from failed

    return call


def compile_arguments(model: keras.Model) -> dict[str, Any]:
    """Returns what a compiled model was compiled with, in Keras's own classes.

    Where Keras has no equal loss, "loss" is None, so that nothing trains by another one. Metrics without an equal are
    left out. An optimizer has one rate for all variables, and the highest rate of a schedule that is not Keras's.
    """
    own = compiling.arguments(model)
    loss = keras.tree.map_structure(_in_keras, own.get("loss"))
    has_equal = loss is not None and None not in keras.tree.flatten(loss)
    return {
        **own,
        "optimizer": _optimizer(own["optimizer"]),
        "loss": loss if has_equal else None,
        "metrics": _metrics(own.get("metrics")),
        "weighted_metrics": _metrics(own.get("weighted_metrics")),
    }


def _in_keras(value: Any) -> Any:
    """Returns a loss or a metric as Keras has it, None where it has no equal."""
    if not is_own(value):
        return value
    return value.to_keras() if hasattr(value, "to_keras") else None


def _metrics(metrics: Any) -> Any:
    if isinstance(metrics, dict):
        return {name: _metrics(each) for name, each in metrics.items()}
    if isinstance(metrics, list | tuple):
        return [metric for metric in map(_metrics, metrics) if metric is not None]
    return _in_keras(metrics)


def _optimizer(optimizer: Any) -> Any:
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        return optimizer
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        inner = keras.saving.serialize_keras_object(_optimizer(inner))
        return type(optimizer).from_config({**optimizer.get_config(), "inner_optimizer": inner})

    config = optimizer.get_config()
    rate = config.get("learning_rate")
    has_own_schedule = isinstance(rate, dict) and PACKAGE in str(rate.get("registered_name"))
    if not has_own_schedule and not isinstance(optimizer, Scaled):
        return optimizer
    if has_own_schedule:
        # The highest: at the start of a warm-up and at the end of a run the present one is 0.
        config["learning_rate"] = schedules.peak(keras.saving.deserialize_keras_object(rate))
    for name in ("factors", "rows"):
        config.pop(name, None)
    return getattr(optimizer, "plain", type(optimizer)).from_config(config)
