"""What a model offers to its clients: images of any size in, named answers and features out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from keras_transfer import layers
from keras_transfer.core import checks
from keras_transfer.evaluation.explain import tracing
from keras_transfer.graphs import logits
from keras_transfer.graphs import nodes as graph
from keras_transfer.layers import marks
from keras_transfer.machine import engine
from keras_transfer.storage import images

__all__ = ["ANSWER_SIZES", "Interface"]

ANSWER_SIZES = ("picture", "model")


@dataclass(frozen=True)
class Interface:
    """A model seen from outside; every export format and the parity check use this view.

    Attributes:
        model: The user's model, untouched.
        names: Of its outputs, in the order of `keras.tree.flatten`.
        tasks: Output name to the task that says what the output means; absent where nothing does.
        activations: Output name to what makes its logits probabilities, for a model of the user's own that was
            compiled with a loss of logits.
        trunk: From the image to the features; shares all layers with `model`.
        source: The name of the layer that gives the features.
        is_marked: Whether `source` is the mark that `build_model` leaves.
        answer_size: "picture" where boxes and maps are in pixels of the pictures that were given, "model" where they
            are in pixels of the model's image.
        explainers: Output name to what makes maps of its answers; empty where none were asked for.

    Example:
        >>> pixels = keras.Input((8, 8, 3))
        >>> Interface.of(keras.Model(pixels, keras.layers.Conv2D(4, 3)(pixels))).size
        (8, 8)
    """

    model: keras.Model
    names: Sequence[str]
    tasks: Mapping[str, Any]
    activations: Mapping[str, Callable]
    trunk: keras.Model
    source: str
    is_marked: bool
    answer_size: str = "picture"
    explainers: Mapping[str, Callable] = field(default_factory=dict)

    @classmethod
    def of(
        cls, model: keras.Model, *, answer_size: str = "picture", explain: str | None = None
    ) -> "Interface":
        """Looks at `model`, which must be functional or sequential, with one image input."""
        checks.choice(answer_size, ANSWER_SIZES, name="answer_size")
        if not isinstance(model, keras.Model):
            raise checks.error("`model` must be a keras.Model", given=type(model).__name__)
        graph.check_functional(model)
        _check_image_input(model)
        nodes = graph.nodes(model)
        makers = {id(tensor): node.operation for node in nodes for tensor in node.outputs}
        names, tasks = [], {}
        for position, (path, tensor) in enumerate(keras.tree.flatten_with_path(_outputs(model))):
            maker = makers[id(tensor)]
            is_task = isinstance(maker, layers.TaskOutput)
            keys = [str(key) for key in path if not isinstance(key, int)]
            name = "/".join(keys) or (maker.name if is_task else f"output_{position}")
            names.append(name)
            if is_task:
                tasks[name] = maker.task
        features = _features(model, nodes)
        source = makers[id(features)]
        found = zip(names, logits.activations(model, len(names)), strict=True)
        return cls(
            model,
            names,
            tasks,
            {name: activation for name, activation in found if activation and name not in tasks},
            keras.Model(model.inputs[0], features),
            source.name,
            isinstance(source, layers.Representation),
            answer_size,
            {} if explain is None else _explainers(model, explain, names),
        )

    @property
    def image(self) -> keras.KerasTensor:
        """The model's input."""
        return self.model.inputs[0]

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width that images are resized to; None if the model takes any."""
        size = tuple(self.image.shape[1:3])
        return None if None in size else size

    @property
    def channels(self) -> int:
        """Of its images."""
        return self.image.shape[3]

    @property
    def decodes(self) -> bool:
        """Whether image files hold what the model takes: grey, RGB, or RGB and alpha."""
        return self.channels in images.CHANNELS

    def resize(self, pixels: tf.Tensor) -> tf.Tensor:
        """Resizes uint8 images, with or without a batch axis, to what the model takes; still uint8."""
        return pixels if self.size is None else images.resize(pixels, self.size)

    def decode(self, data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Turns the bytes of an image file into uint8 pixels that fit the model, and the picture's height and width."""
        pixels = images.decode(data, channels=self.channels)
        shape = (*(self.size or (None, None)), self.channels)
        return tf.ensure_shape(self.resize(pixels), shape), tf.shape(pixels)[:2]

    def scales(self, sizes: tf.Tensor) -> tf.Tensor:
        """Returns how high and wide answers are, as shares of the model's image, for pictures of `sizes` (batch, 2)."""
        sizes = tf.cast(sizes, tf.float32)
        if self.size is None or self.answer_size == "model":
            return tf.ones_like(sizes)
        return sizes / tf.constant(self.size, tf.float32)

    def answers(self, pixels: tf.Tensor, scales: tf.Tensor) -> dict[str, tf.Tensor]:
        """Runs the model in inference mode on a batch that fits, and returns its answers by key.

        Numbers are float32, whatever the model computes in.

        Args:
            pixels: The batch.
            scales: From `scales`.
        """
        image = tf.cast(pixels, self.image.dtype)
        structure = self.image if isinstance(self.model, keras.Sequential) else self.model.input
        outputs = engine.call_with_tensors(
            self.model, keras.tree.pack_sequence_as(structure, [image])
        )
        found: dict = {}
        for name, output in zip(self.names, keras.tree.flatten(outputs), strict=True):
            if name in self.tasks:
                prefix = f"{name}/" if len(self.names) > 1 else ""
                answers = self.tasks[name].place(self.tasks[name].decode(output), scales)
                found |= {prefix + key: value for key, value in answers.items()}
            elif name in self.activations:
                prefix = f"{name}/" if len(self.names) > 1 else ""
                found[f"{prefix}probabilities"] = tf.convert_to_tensor(
                    self.activations[name](output)
                )
            else:
                found[name] = tf.identity(output)
        return {
            key: tf.cast(value, tf.float32) if value.dtype.is_floating else value
            for key, value in found.items()
        }

    def explanations(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns for a batch that fits the map of each output's answer, what it is a map of, and the evidence."""
        answers: dict = {}
        for name, explain in self.explainers.items():
            maps, targets, evidence = explain(pixels)
            task = self.tasks.get(name)
            if task is not None:
                targets = tf.gather(tf.constant(task.explained_names), targets)
            prefix = f"{name}/" if len(self.names) > 1 else ""
            found = {"map": maps, "target": targets, "evidence": evidence}
            answers |= {prefix + key: value for key, value in found.items()}
        return answers

    def features(self, pixels: tf.Tensor) -> tf.Tensor:
        """The representation of a batch that fits, averaged over places: float32 (batch, features)."""
        image = tf.cast(pixels, self.image.dtype)
        features = tf.cast(engine.call_with_tensors(self.trunk, image), tf.float32)
        return tf.reduce_mean(features, axis=list(range(1, features.shape.rank - 1)))


def _explainers(model: keras.Model, method: str, names: Sequence[str]) -> dict[str, Callable]:
    """Returns what makes maps of each output's answers."""
    is_single = len(names) == 1
    return {
        name: tracing.make_traceable(model, method, task=None if is_single else name)
        for name in names
    }


def _check_image_input(model: keras.Model) -> None:
    if len(model.inputs) != 1:
        raise checks.error(
            "`model` must have one input, the image",
            given=f"{len(model.inputs)} inputs of {model.name!r}",
        )
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or shape[3] is None:
        raise checks.error(
            "`model` must take images of shape (batch, height, width, channels)", given=shape
        )


def _outputs(model: keras.Model) -> object:
    """The outputs in the structure in which a call returns them."""
    return model.outputs[0] if isinstance(model, keras.Sequential) else model.output


def _features(model: keras.Model, nodes: Sequence[graph.Node]) -> keras.KerasTensor:
    """Where the features come out: at the mark; without one, below the last layer that has weights."""
    mark = marks.representation(model)
    for node in nodes:
        if mark is not None and node.operation is mark:
            return node.outputs[0]
    weighted = [node for node in nodes if node.inputs and getattr(node.operation, "weights", None)]
    node = weighted[-1] if weighted else nodes[-1]
    is_first = node.inputs[0] is model.inputs[0]
    return node.outputs[0] if is_first else node.inputs[0]
