"""One output of a model, prepared to be asked why: what speaks for each class, and gradients of it."""

import functools
from collections.abc import Callable, Sequence
from typing import Any  # tensors of Keras's backend, tasks

import keras
import numpy as np

from keras_transfer import layers, tasks
from keras_transfer.core import checks, lookup
from keras_transfer.graphs import gradients, logits, nodes, paths
from keras_transfer.layers import marks
from keras_transfer.machine import engine

__all__ = ["Subject"]

EDGE = 1e-7  # probabilities of a model of the user's own, before their logit is taken
PASSING = (layers.StopGradient, layers.Balance)  # values pass unchanged, gradients do not
ELSE = "Use method='occlusion', which needs the answers only, or 'rollout' with attention."
SOON = 10  # calls that are not worth the time to compile


class Subject:
    """One output of a model.

    What speaks for a class is its logit; for a model of the user's own that answers with probabilities, theirs. The
    model is not changed, and all its layers are shared.

    Args:
        model: Functional or sequential, with one input of images; models may be nested.
        task: Name of the output; None for the only one.
        layer: Pattern of a layer whose output has places, for methods that look at a feature map; None for the trunk's
            end.
        has_places: Whether the method looks at a feature map.

    Raises:
        InputError: If there is no such output or layer, or a map is needed and there is none.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(["cat", "dog"]))
        >>> subject = Subject(model)
        >>> subject.names, subject.evidence(np.zeros((1, 32, 32, 3))).shape
        (['cat', 'dog'], (1, 2))
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        task: str | None = None,
        layer: str | None = None,
        has_places: bool = True,
    ) -> None:
        nodes.check_functional(model)
        if len(model.inputs) != 1:
            given = f"{len(model.inputs)} inputs"
            raise checks.error("`model` must have one input, the images", given=given)
        self.model = model
        self.flat = _flatten(model)
        self.task_name, self._answer, self.task = _choose(self.flat, task)
        # The logits, where there is a task, and the answer.
        self._ends = [self._answer]
        if self.task is not None:
            self._ends = [_below_mark(self.flat, self._answer), self._answer]
        self._activation = None if self.task else _activation(model, self.flat, self._answer)
        self.names = self.task.explained_names if self.task else _numbers(self._answer)

        self.place: keras.KerasTensor | None = None
        if has_places:
            self.place = _find_place(self.flat, self._answer, layer)
            self._lower, self._upper = _cut(self.flat, self.place, self._ends)
        self._last: tuple = (None, None)
        self._calls: dict[int, int] = {}

    @functools.cached_property
    def _whole(self) -> keras.Model:
        return _passing(self.flat, self.flat.inputs, self._ends)

    # What speaks for each class.

    def evidence(self, images: np.ndarray) -> np.ndarray:
        """Returns what speaks for each class in each image, (images, classes)."""
        if self.place is None:
            ends = self._run(self._whole, self._take(images))
        else:
            ends = self._run(self._upper, self.features(images))
        return keras.ops.convert_to_numpy(self._measure(ends))

    def run(self, images: np.ndarray) -> None:
        """Calls the model's layers one by one, for methods that listen to some of them."""
        self._whole(self._take(images), training=False)

    @property
    def has_classes(self) -> bool:
        """Whether the output chooses among classes, as far as is known."""
        return self.task is None or self.task.class_names is not None

    def chosen(self, evidence: np.ndarray) -> np.ndarray:
        """Returns the target of each image where the user names none: the likeliest class, or the first number."""
        return evidence.argmax(axis=1) if self.has_classes else np.zeros(len(evidence), "int64")

    def of_targets(self, images: Any, targets: np.ndarray) -> np.ndarray:
        """Returns what speaks for the target of each image."""
        return np.take_along_axis(self.evidence(images), targets[:, None], axis=1)[:, 0]

    # Gradients.

    def features(self, images: np.ndarray) -> list:
        """Returns the feature map of images, then whatever else the upper part of the model takes.

        The last ones are kept: a target is often chosen from the features that are explained next.
        """
        if self._last[0] is not images:
            found = self._run(self._lower, self._take(images))
            self._last = (images, keras.tree.flatten(found))
        return self._last[1]

    def gradients_of_features(self, images: np.ndarray, targets: np.ndarray) -> tuple[Any, Any]:
        """Returns the feature map, (images, height, width, channels), and the gradient of the targets' evidence."""
        features, *others = self.features(images)

        def of_targets(features: Any) -> Any:
            return self._select(
                self._measure(self._upper([features, *others], training=False)), targets
            )

        features = keras.ops.cast(features, "float32")
        _, gradient = gradients.value_and_gradient(of_targets, features)
        return features, gradient

    def trace(self, images: Any, combine: Callable[[Any, Any], Any]) -> tuple[Any, Any, Any]:
        """Returns maps of the answers, their targets and the evidence for these, as a compiled function computes them.

        Args:
            images: A batch that the model takes.
            combine: What makes a map of the features and their gradient, as for `CAM`.
        """
        features, *others = keras.tree.flatten(self._lower(self._take(images), training=False))
        features = keras.ops.cast(features, "float32")

        def speak(features: Any) -> Any:
            return self._measure(self._upper([features, *others], training=False))

        evidence = speak(features)
        targets = keras.ops.argmax(evidence, axis=1)
        if not self.has_classes:
            targets = keras.ops.zeros_like(targets)
        found, gradient = gradients.value_and_gradient(
            lambda features: self._select(speak(features), targets), features
        )
        maps = keras.ops.relu(combine(features, gradient))
        size = images.shape[1:3]
        resized = keras.ops.image.resize(maps[..., None], size, interpolation="bilinear")
        return resized[..., 0], targets, found

    def gradients_of_pixels(self, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Returns the gradient of the targets' evidence by the pixels, in the shape of the images.

        Raises:
            InputError: If the model has no gradient there.
        """

        def of_targets(pixels: Any) -> Any:
            return self._select(self._measure(self._whole(pixels, training=False)), targets)

        pixels = keras.ops.convert_to_tensor(np.asarray(images, "float32"))
        _, gradient = gradients.value_and_gradient(of_targets, pixels)
        if gradient is None:
            given = f"{self.model.name!r}, where pixels have none"
            raise checks.error("`model` must have gradients for this method", given=given, fix=ELSE)
        return keras.ops.convert_to_numpy(gradient)

    def _run(self, part: keras.Model, inputs: Any) -> Any:
        """Calls a part of the model; one that is called often is compiled, which takes a while and then pays."""
        self._calls[id(part)] = self._calls.get(id(part), 0) + 1
        if self._calls[id(part)] <= SOON:
            return part(inputs, training=False)
        if not part.compiled:
            part.compile(jit_compile=engine.jit_compile())
        return engine.predict_on_batch(part, inputs)

    def _take(self, images: Any) -> Any:
        return keras.ops.cast(images, self.flat.inputs[0].dtype)

    def _measure(self, ends: Any) -> Any:
        """Returns what speaks for each class, from the outputs of `_ends`."""
        ends = [keras.ops.cast(end, "float32") for end in keras.tree.flatten(ends)]
        answers = ends[-1]
        if self.task is not None:
            return self.task.evidence(ends[0], answers)
        if self._activation == "probabilities":
            answers = keras.ops.clip(answers, EDGE, 1 - EDGE)
            answers = keras.ops.log(answers) - keras.ops.log(1 - answers)
        count = keras.ops.shape(answers)[0]
        return keras.ops.mean(keras.ops.reshape(answers, (count, -1, answers.shape[-1])), axis=1)

    def _select(self, evidence: Any, targets: Any) -> Any:
        is_target = keras.ops.one_hot(targets, len(self.names), dtype="float32")
        return keras.ops.sum(evidence * is_target, axis=1)


def _flatten(model: keras.Model) -> keras.Model:
    """Returns the model without nesting; as it is where two layers have one name."""
    try:
        flat = nodes.flatten(model)
    except checks.InputError:
        flat = model
    return getattr(flat, "_functional", None) or flat


def _choose(
    model: keras.Model, name: str | None
) -> tuple[str, keras.KerasTensor, tasks.Task | None]:
    """Returns the name of an output, its tensor and its task, if it has one."""
    makers = {id(tensor): node.operation for node in nodes.nodes(model) for tensor in node.outputs}
    tensors = {}
    for own_name, tensor in zip(model.output_names, model.outputs, strict=True):
        maker = makers[id(tensor)]
        tensors[maker.name if isinstance(maker, layers.TaskOutput) else own_name] = tensor
    if name is None and len(tensors) > 1:
        fix = f"The outputs are {', '.join(map(repr, tensors))}."
        raise checks.error("`task` must name the output to explain", given="none", fix=fix)
    name = next(iter(tensors)) if name is None else name
    answer = lookup.find(name, tensors, argument="task")
    if len(answer.shape) < 2 or answer.shape[-1] is None:
        given = f"{name!r} of shape {tuple(answer.shape)}"
        raise checks.error("`task` must be an output of vectors or maps", given=given)
    maker = makers[id(answer)]
    return name, answer, maker.task if isinstance(maker, layers.TaskOutput) else None


def _numbers(answer: keras.KerasTensor) -> list[str]:
    return [str(number) for number in range(answer.shape[-1])]


def _below_mark(model: keras.Model, answer: keras.KerasTensor) -> keras.KerasTensor:
    """Returns what the task's mark takes: the head's last tensor."""
    makers = {id(tensor): node for node in nodes.nodes(model) for tensor in node.outputs}
    return makers[id(answer)].inputs[0]


def _activation(model: keras.Model, flat: keras.Model, answer: keras.KerasTensor) -> str | None:
    """Returns "probabilities" where an output of the user's own comes from a softmax or a sigmoid."""
    if any(logits.activations(model, len(model.outputs))):
        return None  # the loss says that these are logits
    made = {id(tensor): node for node in nodes.nodes(flat) for tensor in node.outputs}
    node = made[id(answer)]
    while isinstance(node.operation, keras.layers.Identity):
        node = made[id(node.inputs[0])]
    activation = getattr(node.operation, "activation", None)
    name = getattr(activation, "__name__", type(node.operation).__name__).lower()
    return "probabilities" if name in ("softmax", "sigmoid") else None


def _find_place(
    model: keras.Model, answer: keras.KerasTensor, layer: str | None
) -> keras.KerasTensor:
    """Returns the feature map that an answer is explained by."""
    order = nodes.nodes(model)
    below = [order[position] for position in sorted(nodes.ancestors(order, [answer]))]
    if layer is not None:
        outputs = {node.operation.name: node.outputs[0] for node in below}
        name = paths.match(outputs, layer, argument="layer")[-1]
        if not _has_places(outputs[name]):
            given = f"{name!r} of shape {tuple(outputs[name].shape)}"
            expected = "`layer` must give a map, (batch, height, width, channels)"
            raise checks.error(expected, given=given, fix=_last_map(below))
        return outputs[name]

    mark = marks.representation(model, below=answer)
    end = next((node.inputs[0] for node in reversed(below) if node.operation is mark), answer)
    trunk = [order[position] for position in sorted(nodes.ancestors(order, [end]))]
    found, has_tokens = None, False
    for node in trunk:
        tensor = node.outputs[0]
        if node.inputs and tensor is not answer and _has_places(tensor):
            found, has_tokens = tensor, False
        elif len(tensor.shape) == 3 and getattr(node.operation, "weights", None):
            has_tokens = True  # a transformer: the map below it is of patches that know nothing of each other
    if found is None or has_tokens:
        where = "trunk" if mark else "network"
        given = f"{model.name!r}, whose {where} ends in a tensor of shape {tuple(end.shape)}"
        if has_tokens:
            given += ", made of tokens"
        raise checks.error("this method needs a layer with places", given=given, fix=ELSE)
    return found


def _has_places(tensor: keras.KerasTensor) -> bool:
    """Whether a tensor is a map of more than one place."""
    return len(tensor.shape) == 4 and tuple(tensor.shape[1:3]) != (1, 1)


def _last_map(below: Sequence[nodes.Node]) -> str:
    names = [node.operation.name for node in below if node.inputs and _has_places(node.outputs[0])]
    return f"The last one with places is {names[-1]!r}." if names else ELSE


def _cut(
    model: keras.Model, place: keras.KerasTensor, ends: Sequence[keras.KerasTensor]
) -> tuple[keras.Model, keras.Model]:
    """Returns the model below a tensor, whose first output that is, and the part above it, with `ends` as outputs."""
    order = nodes.nodes(model)
    lower = nodes.ancestors(order, [place])
    inputs = {position for position, node in enumerate(order) if not node.inputs}
    needed = nodes.ancestors(order, ends)
    above = [order[position] for position in sorted(needed - lower - inputs)]
    used = {id(tensor) for node in above for tensor in node.inputs} | {id(end) for end in ends}
    made = [tensor for at in sorted(lower | inputs) for tensor in order[at].outputs]
    others = [tensor for tensor in made if id(tensor) in used and tensor is not place]
    crossing = [place, *others]
    return keras.Model(model.inputs[0], crossing), _passing(model, crossing, ends)


def _passing(
    model: keras.Model, inputs: Sequence[keras.KerasTensor], ends: Sequence[keras.KerasTensor]
) -> keras.Model:
    """Returns the part of a model between tensors, through which gradients pass as they are."""
    part = keras.Model(list(inputs), list(ends))
    if not any(isinstance(node.operation, PASSING) for node in nodes.nodes(part)):
        return part

    def swap(operation: keras.Operation) -> Any:
        if isinstance(operation, layers.Balance):
            return operation.to_keras
        return (lambda x: x) if isinstance(operation, layers.StopGradient) else operation

    fresh = [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in inputs]
    return keras.Model(fresh, nodes.replay(part, fresh, part.outputs, swap=swap))
