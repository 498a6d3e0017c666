"""What `fine_tune` takes as data, checked against the model before training starts."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.core import checks, labelled
from keras_transfer.data import adapt
from keras_transfer.graphs import pixel_range
from keras_transfer.layers import marks

__all__ = ["Inputs", "checked", "for_tasks", "inputs", "narrowed"]


class Inputs(NamedTuple):
    """Data in the parts that training needs."""

    train: tf.data.Dataset
    validation: tf.data.Dataset | None
    targets: Any
    """Targets of all training examples, an array or a dict of arrays, or None where unknown."""
    weights: object = None
    """Their weights, 0 for a missing label: for all targets, or a dict by target; None where unknown or all 1."""
    class_names: Any = None
    """Names by class id, a list or a dict of lists by target, or None where unknown."""
    digest: str | None = None
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    """Those of the notes that were not printed yet: what is found when data and model meet."""
    sample: tf.data.Dataset | None = None
    """Training data that can be looked at without counting a pass, where there is such."""

    dealing: tuple = ()
    """What decides which example is in which batch: seed and batch size, where known."""
    passes: tuple = ()
    """What counts the passes over the training data, each in its `next`."""
    source: object = None
    """What it was taken from, where the order of its examples is known: of `kt.data`."""
    changes: object = None
    """The random changes that `train` has, a `kt.data.Augment`, or None."""
    original: tf.data.Dataset | None = None
    """The training data without them, where it has some."""

    @property
    def plain(self) -> tf.data.Dataset:
        """The training data without random changes."""
        return self.train if self.original is None else self.original

    @property
    def identity(self) -> list:
        """What tells these data, in this order, from others; as plain values."""
        values = None
        if self.targets is not None:
            parts = [repr(np.asarray(part).tolist()) for part in keras.tree.flatten(self.targets)]
            if self.weights is not None:
                parts += [
                    repr(np.asarray(part).tolist()) for part in keras.tree.flatten(self.weights)
                ]
            values = hashlib.sha256("".join(parts).encode()).hexdigest()
        return [self.digest, *self.dealing, self.known_steps, values, repr(self.plain.element_spec)]

    @property
    def is_weighted(self) -> bool:
        """Whether examples have weights."""
        return len(self.train.element_spec) == 3

    @property
    def is_masked(self) -> bool:
        """Whether they are known to be 0 or 1, for labels that are missing or not."""
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
        return len(
            next(iter(self.targets.values())) if isinstance(self.targets, Mapping) else self.targets
        )


def inputs(data: object) -> Inputs:
    """Takes apart what `fine_tune` is given as data: see `data.adapt`."""
    splits = adapt.split(data, training=True)
    train, validation = splits.first("train"), splits.parts.get("validation")
    if train is None:
        given = ", ".join(splits.parts) or "nothing"
        raise checks.error("`data` must have a training part", given=given)
    train.check("data")
    return Inputs(
        train.training,
        None if validation is None else validation.check("data").dataset,
        train.targets,
        train.weights,
        splits.class_names,
        splits.digest,
        splits.notes,
        sample=None if train.shuffled is None else train.dataset,
        dealing=splits.order,
        passes=train.passes,
        source=splits.source,
    )


def checked(model: keras.Model, given: Inputs) -> Inputs:
    """Returns the data as the model takes it, with all targets known, or raises an error before training starts.

    For a model with tasks, the targets of a plain dataset are read once, and targets of no task are left out. The
    first batch of each part is looked at. Data from `kt.data` counts no pass for that; a plain dataset is started once
    more, so one that shuffles anew in every pass is a pass further on, and one of a generator starts that again.
    """
    for name, dataset in (("train", given.train), ("validation", given.validation)):
        if dataset is not None:
            _check_spec(model, dataset, name)
    given = _with(given, *_seen(model, given))
    found = marks.outputs(model)
    if not found:
        return given
    if given.targets is None:
        targets, *weights = _read_answers(given.sample or given.train)
        given = given._replace(targets=targets, weights=weights[0] if weights else None)
    by_task = marks.targets_by_task(model, given.targets)
    for name, targets in by_task.items():
        _check_encoded(found[name].task, targets, name if len(found) > 1 else "")
        marks.check_labelled(name, labelled.known(targets, labelled.of_task(given.weights, name)))
        names = (
            given.class_names.get(name)
            if isinstance(given.class_names, Mapping)
            else given.class_names
        )
        _check_names(name, found[name].task.class_names, names)
    if not isinstance(given.targets, Mapping) or set(given.targets) == set(by_task):
        return given
    return _narrowed(given, list(by_task))


def _check_encoded(task: Any, targets: Any, name: str) -> None:
    """Raises an error where a task cannot learn from its targets; of several tasks it says which."""
    try:
        task.encode(targets)
    except checks.InputError as wrong:
        if not name:
            raise
        raise checks.InputError(f"Task '{name}': {wrong}") from None


def _narrowed(given: Inputs, names: list[str]) -> Inputs:
    """The data with the targets of the tasks only: `fit` takes no others."""

    def narrow(dataset: tf.data.Dataset | None) -> tf.data.Dataset | None:
        return (
            None
            if dataset is None
            else dataset.map(lambda images, *rest: (images, *narrowed(rest, names)))
        )

    targets, weights = narrowed((given.targets, given.weights), names)
    others = sorted(set(given.targets) - set(names))
    return _with(given, f"targets without a task are left out: {', '.join(others)}")._replace(
        train=narrow(given.train),
        validation=narrow(given.validation),
        sample=narrow(given.sample),
        targets=targets,
        weights=weights,
    )


def narrowed(answers: Sequence[object], names: Iterable[str]) -> tuple:
    """Targets, and weights if there are any, of some tasks only; what is no dict stays.

    Example:
        >>> narrowed(({"kind": 1, "age": 2}, {"kind": 0.0, "age": 1.0}), ["age"])
        ({'age': 2}, {'age': 1.0})
    """
    return tuple(
        {name: part[name] for name in names if name in part} if isinstance(part, Mapping) else part
        for part in answers
    )


def for_tasks(model: keras.Model, dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Leaves out the targets, and their weights, for which the model has no task: Keras takes no others."""
    names = set(marks.outputs(model)) if hasattr(model, "layers") else set()
    spec = dataset.element_spec
    if not names or not isinstance(spec[1], Mapping) or not names < set(spec[1]):
        return dataset
    return dataset.map(lambda images, *answers: (images, *narrowed(answers, names)))


def _check_names(task: str, expected: list[str] | None, given: list[str] | None) -> None:
    """Class names must agree; plain numbers name nothing, so they agree with any names."""
    if expected is None or given is None:
        return
    numbers = [[str(index) for index in range(len(names))] for names in (expected, given)]
    if list(expected) != list(given) and expected != numbers[0] and list(given) != numbers[1]:
        at = next(
            (i for i, pair in enumerate(zip(expected, given, strict=False)) if pair[0] != pair[1]),
            len(given),
        )
        shown = f"{given[at]!r}" if at < len(given) else "nothing"
        raise checks.error(
            f"the data's class names must be those of {task!r}, in its order",
            given=f"{shown} as class {at}",
            fix="Make the task with `Classification(data.class_names)`.",
        )


def _check_spec(model: keras.Model, dataset: tf.data.Dataset, name: str) -> None:
    spec = dataset.element_spec
    if (
        isinstance(spec[0], tf.TensorSpec)
        and len(model.inputs) == 1
        and spec[0].shape.rank is not None
    ):
        pixel_range.check_shape(model.inputs[0].shape, spec[0].shape, name=f"images of {name}")


def _seen(model: keras.Model, given: Inputs) -> list[str]:
    """Looks at the pixels of the first batches; what may be wrong is returned, what must be is an error."""
    found = []
    for name, dataset in (("train", given.sample or given.train), ("validation", given.validation)):
        if dataset is None or not isinstance(
            dataset.element_spec[0], tf.TensorSpec
        ):  # several inputs
            continue
        for element in dataset.take(1):
            seen, more = element[0].numpy(), pixel_range.further(dataset)
            found.append(pixel_range.check(model, seen, name=f"images of {name}", more=more))
    return [remark for remark in found if remark]


def _with(given: Inputs, *remarks: str) -> Inputs:
    return given._replace(notes=(*given.notes, *remarks), remarks=(*given.remarks, *remarks))


def _read_answers(dataset: tf.data.Dataset) -> tuple:
    """Returns the targets of all examples, and their weights if they have any, from one pass over the data."""
    batches = [element[1:] for element in dataset.as_numpy_iterator()]
    if not batches:
        raise checks.error("`data` must have training examples", given="an empty dataset")
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *batches)
