"""What `fine_tune` takes as data, checked against the model before training starts."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.core import checks, labelled
from keras_transfer.data import adapt
from keras_transfer.data.changes import augment
from keras_transfer.data.targets import columns, encoding
from keras_transfer.graphs import pixel_range
from keras_transfer.layers import marks
from keras_transfer.training import label_fit

__all__ = ["Inputs", "check", "for_tasks", "inputs", "narrow"]


@dataclass(frozen=True, kw_only=True)
class Inputs(adapt.Splits):
    """Splits as training takes them: data sets with the targets that the model has tasks for.

    Attributes:
        train: The training data, with random changes if there are `changes`.
        validation: The validation data, or None.
        targets: Targets of all training examples, an array or a dict of arrays, or None where unknown.
        weights: Their weights, 0 for a missing label: for all targets, or a dict by target; None where unknown or
            all 1.
        remarks: The notes that are still to be printed: those of checking the data against the model.
        sample: Training data that can be read without counting a pass, or None.
        passes: Counters of the passes over the training data, each with a settable `next`.
        changes: The random changes of `train`, a `kt.data.Augment`, or None.
        original: The training data without these changes; None if there are none.
        moving: The names of targets that move with the images, as for `Augment.apply`.
    """

    train: tf.data.Dataset
    validation: tf.data.Dataset | None
    targets: Any
    weights: Any = None
    remarks: tuple[str, ...] = ()
    sample: tf.data.Dataset | None = None
    passes: tuple = ()
    changes: augment.Augment | None = None
    original: tf.data.Dataset | None = None
    moving: Collection[str] | None = None

    @property
    def plain(self) -> tf.data.Dataset:
        """The training data without random changes."""
        return self.train if self.original is None else self.original

    @property
    def identity(self) -> list:
        """A JSON-able fingerprint of the data and its order."""
        values = None
        if self.targets is not None:
            arrays = keras.tree.flatten(self.targets)
            if self.weights is not None:
                arrays += keras.tree.flatten(self.weights)
            hashed = hashlib.sha256()
            for array in arrays:
                # Of masks and boxes the text would be a hundred times as long.
                is_large = np.ndim(array) > 2
                text = "" if is_large else repr(np.asarray(array).tolist())
                hashed.update(columns.content(array) if is_large else text.encode())
            values = hashed.hexdigest()
        return [self.digest, *self.order, self.known_steps, values, repr(self.plain.element_spec)]

    @property
    def is_weighted(self) -> bool:
        """Whether examples have weights."""
        return len(self.train.element_spec) == 3

    @property
    def is_masked(self) -> bool:
        """Whether all weights are known to be 0 or 1, so that they only say which labels are missing."""
        return self.weights is not None and labelled.are_masks(self.weights)

    @property
    def known_steps(self) -> int | None:
        """Batches in a pass over the training data, if known."""
        known = int(self.train.cardinality())
        return known if known >= 0 else None

    @property
    def steps(self) -> int:
        """Batches in a pass over the training data; counted where the data set does not know."""
        return sum(1 for _ in self.train) if self.known_steps is None else self.known_steps

    @property
    def examples(self) -> int | None:
        """How many training examples there are, if known."""
        if self.targets is None:
            return None
        return len(keras.tree.flatten(self.targets)[0])


def inputs(data: object) -> Inputs:
    """Adapts the data that `fine_tune` is given: see `data.adapt`."""
    splits = adapt.split(data, training=True)
    train, validation = splits.first("train"), splits.parts.get("validation")
    if train is None:
        given = ", ".join(map(str, splits.parts)) or "nothing"
        raise checks.error("`data` must have a training part", given=given)
    train.check("data")
    return Inputs(
        **vars(splits),
        train=train.training,
        validation=None if validation is None else validation.check("data").dataset,
        targets=train.targets,
        weights=train.weights,
        sample=None if train.shuffled is None else train.dataset,
        passes=train.passes,
    )


def check(model: keras.Model, given: Inputs) -> Inputs:
    """Returns the data as the model takes it, with all targets known, or raises an error before training starts.

    For a model with tasks, the targets of a plain dataset are read once, and targets of no task are left out. The
    first batch of each part is looked at. Data from `kt.data` does not count this as a pass. Any other dataset is
    iterated once more: one that reshuffles in every pass trains on its next order, and a generator is started again.
    """
    for name, dataset in (("train", given.train), ("validation", given.validation)):
        if dataset is not None:
            _check_spec(model, dataset, name)
    given = _add_notes(given, _check_pixels(model, given))
    outputs = marks.outputs(model)
    for dataset in (given.train, given.validation):
        if dataset is not None:
            _check_shapes(outputs, dataset.element_spec[1])
    if not outputs:
        label_fit.check_labels(model, given.targets, given.train.element_spec[1])
        return given
    if given.targets is None:
        targets, *weights = _read_answers(given.sample or given.train)
        given = replace(given, targets=targets, weights=weights[0] if weights else None)

    by_task = marks.targets_by_task(model, given.targets)
    for name, targets in by_task.items():
        task = outputs[name].task
        _check_targets(model, task, targets, name if len(outputs) > 1 else "")
        marks.check_labelled(name, labelled.known(targets, labelled.of_task(given.weights, name)))
        _check_names(name, task.class_names, labelled.of_task(given.class_names, name))
    if not isinstance(given.targets, Mapping) or set(given.targets) == set(by_task):
        return given
    return _drop_other_targets(given, list(by_task))


def _check_shapes(outputs: Mapping[str, Any], specs: Any) -> None:
    """Raises an error where the targets of a batch have not the size of a task's answers."""
    for name, output in outputs.items():
        spec = specs.get(name) if isinstance(specs, Mapping) else specs
        if isinstance(spec, tf.TensorSpec) and spec.shape.rank is not None:
            output.task.check_shape(tuple(spec.shape), tuple(output.output.shape))


def _check_targets(model: keras.Model, task: Any, targets: Any, name: str) -> None:
    """Raises an error where a task cannot learn from its targets; of several tasks it says which."""
    try:
        task.check_targets(labelled.sample(targets), tuple(model.inputs[0].shape[1:3]))
    except checks.InputError as wrong:
        if not name:
            raise
        raise checks.InputError(f"Task '{name}': {wrong}") from None


def _drop_other_targets(given: Inputs, names: list[str]) -> Inputs:
    """Returns the data with the targets of the tasks only: `fit` takes no others."""
    datasets = {}
    for part in ("train", "validation", "sample"):
        dataset = getattr(given, part)
        if dataset is not None:
            datasets[part] = dataset.map(lambda images, *rest: (images, *narrow(rest, names)))
    targets, weights = narrow((given.targets, given.weights), names)
    others = sorted(set(given.targets) - set(names))
    given = _add_notes(given, [f"targets without a task are left out: {', '.join(others)}"])
    return replace(given, **datasets, targets=targets, weights=weights)


def narrow(answers: Sequence[object], names: Iterable[str]) -> tuple:
    """Returns targets, and weights if there are any, of some tasks only; arrays stay as they are.

    Example:
        >>> narrow(({"kind": 1, "age": 2}, {"kind": 0.0, "age": 1.0}), ["age"])
        ({'age': 2}, {'age': 1.0})
    """
    parts = []
    for part in answers:
        if isinstance(part, Mapping):
            part = {name: part[name] for name in names if name in part}
        parts.append(part)
    return tuple(parts)


def for_tasks(model: keras.Model, dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Leaves out the targets, and their weights, for which the model has no task: Keras takes no others."""
    names = set(marks.outputs(model)) if hasattr(model, "layers") else set()
    spec = dataset.element_spec
    if not names or not isinstance(spec[1], Mapping) or not names < set(spec[1]):
        return dataset
    return dataset.map(lambda images, *answers: (images, *narrow(answers, names)))


def _check_names(task: str, expected: list[str] | None, given: list[str] | None) -> None:
    """Raises an error if class names differ; names that are the numbers 0, 1, 2 ... agree with any others."""
    if expected is None or given is None:
        return
    expected, given = list(expected), list(given)
    if expected == given:
        return
    for names in (expected, given):
        if names == list(map(str, range(len(names)))):
            return

    index = 0
    while expected[: index + 1] == given[: index + 1] and index < len(given):
        index += 1
    name = repr(given[index]) if index < len(given) else "nothing"
    raise checks.error(
        f"the data's class names must be those of {task!r}, in its order",
        given=f"{name} as class {index}",
        fix="Make the task with `Classification(data.class_names)`.",
    )


def _check_spec(model: keras.Model, dataset: tf.data.Dataset, name: str) -> None:
    images = dataset.element_spec[0]
    is_one_tensor = isinstance(images, tf.TensorSpec) and images.shape.rank is not None
    if is_one_tensor and len(model.inputs) == 1:
        pixel_range.check_shape(model.inputs[0].shape, images.shape, name=f"images of {name}")


def _check_pixels(model: keras.Model, given: Inputs) -> list[str]:
    """Returns warnings about the pixels of the first batches; what cannot work raises an error."""
    warnings = []
    for name, dataset in (("train", given.sample or given.train), ("validation", given.validation)):
        if dataset is None or not isinstance(dataset.element_spec[0], tf.TensorSpec):
            continue  # nothing to look at, or several inputs
        for images, *_ in dataset.take(1):
            more = pixel_range.further(dataset)
            name = f"images of {name}"
            warnings.append(pixel_range.check(model, images.numpy(), name=name, more=more))
    return [warning for warning in warnings if warning]


def _add_notes(given: Inputs, notes: list[str]) -> Inputs:
    return replace(given, notes=(*given.notes, *notes), remarks=(*given.remarks, *notes))


def _read_answers(dataset: tf.data.Dataset) -> tuple:
    """Returns the targets of all examples, and their weights if they have any, from one pass over the data."""
    batches = [element[1:] for element in dataset.as_numpy_iterator()]
    if not batches:
        raise checks.error("`data` must have training examples", given="an empty dataset")
    return keras.tree.map_structure(lambda *parts: encoding.concatenate(parts), *batches)
