"""The mark in a model where a task's answer comes out."""

import copy
from typing import Any

import keras
from keras import ops

__all__ = ["TaskOutput"]


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

    def __init__(self, task: Any, **kwargs: object) -> None:
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

    def to_keras(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Computes the same with Keras's own layers, as `kt.to_keras` does."""
        answer = inputs
        if getattr(self.task, "has_unit", False):
            scale, offset = (ops.convert_to_numpy(part) for part in (self.scale, self.offset))
            answer = keras.layers.Rescaling(
                scale.tolist(), offset.tolist(), dtype="float32", name=f"{self.name}_unit"
            )(answer)
        if answer.dtype != "float32":
            answer = ops.cast(answer, "float32")
        answer = self.task.activate(answer)
        return keras.layers.Identity(dtype="float32", name=self.name)(answer)

    def take_unit(self, targets: object) -> None:
        """Sets scale and offset from the training targets, if the task has a unit that is not known yet."""
        if getattr(self.task, "has_unit", False) and not self.unit_is_known():
            scale, offset = self.task.spread(targets)
            self.scale.assign(scale)
            self.offset.assign(offset)

    def calibrate(self, targets: object, outputs: object) -> str:
        """Lets the task choose what its answers depend on from validation data; other models keep theirs."""
        self.task = copy.copy(self.task)
        return self.task.calibrate(targets, outputs)

    def unit_is_known(self) -> bool:
        """Whether scale and offset differ from what they start as."""
        return bool(ops.any(self.scale != 1.0)) or bool(ops.any(self.offset != 0.0))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The shape stays."""
        return input_shape

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {**super().get_config(), "task": keras.saving.serialize_keras_object(self.task)}
