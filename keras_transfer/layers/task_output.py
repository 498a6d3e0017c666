"""The mark in a model where a task's answer comes out."""

from collections.abc import Mapping

import keras
from keras import ops

from keras_transfer.core import checks, labelled

__all__ = ["TaskOutput", "check_labelled", "outputs", "settled_losses", "targets_by_task"]


@keras.saving.register_keras_serializable("keras_transfer")
class TaskOutput(keras.layers.Layer):
    """Turns a head's last tensor into the task's answer, in float32, and carries the task along.

    The task travels in the layer's config, so a loaded model knows its class names, loss and
    metrics. What the answer is, the task says: `task.activate(tensor)`.

    Args:
        task: The task; any object with `activate` and `get_config` that Keras can serialise.

    Example:
        >>> TaskOutput.__name__
        'TaskOutput'
    """

    def __init__(self, task: object, **kwargs: object) -> None:
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.task = keras.saving.deserialize_keras_object(task) if isinstance(task, dict) else task

    def build(self, input_shape: tuple) -> None:
        """Makes room for what the task learns from the targets before training (its unit)."""
        if getattr(self.task, "has_unit", False):
            shape = (input_shape[-1],)
            self.scale = self.add_weight(
                name="scale", shape=shape, initializer="ones", trainable=False
            )
            self.offset = self.add_weight(
                name="offset", shape=shape, initializer="zeros", trainable=False
            )
        self.built = True

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the answer for a head's output."""
        raw = ops.cast(inputs, "float32")
        if getattr(self.task, "has_unit", False):
            return self.task.activate(raw * self.scale + self.offset)
        return self.task.activate(raw)

    def take_unit(self, targets: object) -> None:
        """Sets scale and offset from the training targets, if the task has a unit that is not known yet."""
        if getattr(self.task, "has_unit", False) and not self.unit_is_known():
            scale, offset = self.task.spread(targets)
            self.scale.assign(scale)
            self.offset.assign(offset)

    def unit_is_known(self) -> bool:
        """Whether scale and offset differ from what they start as."""
        return bool(ops.any(self.scale != 1.0)) or bool(ops.any(self.offset != 0.0))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The shape stays."""
        return input_shape

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {**super().get_config(), "task": keras.saving.serialize_keras_object(self.task)}


def outputs(model: keras.Model) -> dict[str, TaskOutput]:
    """Returns the task outputs of `model` by name, in the order of its outputs; empty for a plain Keras model.

    Example:
        >>> outputs(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
        {}
    """
    found = {layer.name: layer for layer in model.layers if isinstance(layer, TaskOutput)}
    order = list(model.output) if isinstance(getattr(model, "output", None), dict) else list(found)
    return {name: found[name] for name in order if name in found}


def targets_by_task(model: keras.Model, targets: object) -> dict[str, object]:
    """Returns the targets of each task of `model`; targets of no task are left out.

    Args:
        model: A model with task outputs.
        targets: As the model is trained on: an array for one task, a dict by name for several.

    Raises:
        InputError: If a task has no targets, or there is one unnamed target too few or too many.
    """
    found = outputs(model)
    if not isinstance(model.output, Mapping):
        if isinstance(targets, Mapping):
            raise checks.error(
                "`data` must have one target for a model with one task",
                given=f"targets {', '.join(targets)}",
            )
        return {next(iter(found)): targets}
    if not isinstance(targets, Mapping) or not set(found) <= set(targets):
        given = (
            ", ".join(map(str, targets)) if isinstance(targets, Mapping) else "one unnamed target"
        )
        raise checks.error(
            f"`data` must have a target for each task: {', '.join(found)}", given=given
        )
    return {name: targets[name] for name in found}


def check_labelled(name: str, targets: object) -> None:
    """Raises an error where a task has no label at all.

    Args:
        name: Of the task.
        targets: Those training targets that have a label.

    Example:
        >>> check_labelled("age", [])
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `data` must have a label of some training image for 'age'. Given: none.
    """
    if not len(targets):
        raise checks.error(
            f"`data` must have a label of some training image for {name!r}",
            given="none",
            fix="Leave the task out, or look for what is taken as a missing label.",
        )


def settled_losses(
    model: keras.Model, targets: object, weights: object = None
) -> dict[str, object]:
    """Returns a loss for each task with what depends on the training targets settled; sets the units, too.

    A model that was trained without a unit keeps its answers as they are.

    Args:
        model: A model with task outputs.
        targets: As for `targets_by_task`.
        weights: 0 for a missing label, which nothing depends on: for all tasks, or a dict by task.
    """
    trained = getattr(model, "optimizer", None) is not None and int(
        ops.convert_to_numpy(model.optimizer.iterations)
    )
    losses = {}
    for name, mine in targets_by_task(model, targets).items():
        layer = outputs(model)[name]
        mine = labelled.known(mine, labelled.of_task(weights, name))
        check_labelled(name, mine)
        if not trained:
            layer.take_unit(mine)
        losses[name] = layer.task.loss(mine)
    return losses
