"""Which random changes the training images of a run get, and the data that have them."""

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping

import keras

from keras_transfer import losses
from keras_transfer.core import checks
from keras_transfer.data.changes import augment, blending
from keras_transfer.graphs import compiling
from keras_transfer.layers import marks
from keras_transfer.training import inputs

__all__ = ["apply", "choose", "classes_of", "make_smoother", "suits"]

FEW, VIEWS = 1_000, 4  # images that are changed where nothing is said; views of each that are kept


def suits(model: keras.Model, given: inputs.Inputs) -> bool:
    """Returns whether random changes are made by default: there are few images, and all targets bear changes.

    Boxes and masks get better by it (`examples/benchmarks/dense.py`), and kept views cost little. A solved head over a
    few epochs of the trunk does not.
    """
    tasks = [layer.task for layer in marks.outputs(model).values()]
    has_maps = any(task.levels for task in tasks)
    is_few = given.examples is not None and given.examples <= FEW
    return (
        has_maps
        and is_few
        and given.source is not None
        and all(task.bears_changes for task in tasks)
    )


def choose(asked: object, model: keras.Model) -> augment.Augment | None:
    """Returns the changes to make, None for none.

    Args:
        asked: What the user said: None, a preset's name or an `Augment`.
        model: The model to train.

    Raises:
        InputError: If the model's tasks cannot be trained on changed images.
    """
    if asked is None:
        return None
    changes = augment.Augment.of(asked)
    if changes.softens and marks.outputs(model) and not _takes_shares(model):
        raise checks.error(
            "the model's loss and metrics must take shares of classes where labels are mixed or smoothed",
            given=repr(changes),
            fix="Leave loss and metrics to kt.build_model, or use kt.losses and kt.metrics.",
        )
    return changes


def apply(
    changes: augment.Augment | None, model: keras.Model, given: inputs.Inputs, *, seed: int | None
) -> inputs.Inputs:
    """Returns the data whose training batches have the changes.

    Raises:
        InputError: If answers have places in the image, and targets no form that can be moved with it.
    """
    if changes is None:
        return given
    passes = augment.Passes()
    moving = _moving(model, given)
    classes = classes_of(model, given)
    train = changes.apply(
        given.train, seed=seed or 0, passes=passes, classes=classes, moving=moving
    )
    passes_of_both = (*given.passes, passes)
    return dataclasses.replace(
        given,
        train=train,
        original=given.train,
        changes=changes,
        moving=moving,
        passes=passes_of_both,
    )


def _moving(model: keras.Model, given: inputs.Inputs) -> Collection[str] | None:
    """Returns the names of the targets that move with the images; None where the model has no tasks that say so."""
    tasks = {name: layer.task for name, layer in marks.outputs(model).items()}
    if not tasks:
        return None
    if isinstance(given.train.element_spec[1], Mapping):
        return tuple(name for name, task in tasks.items() if task.moves_with_image)
    return ("",) if any(task.moves_with_image for task in tasks.values()) else ()


def _takes_shares(model: keras.Model) -> bool:
    """Whether the model's losses and metrics take soft labels (shares of classes) besides class ids: ours do."""
    arguments = compiling.arguments(model)
    classified = _class_counts(model)
    if not classified:
        return True

    def of_classes(name: str) -> list:
        values = arguments.get(name)
        if isinstance(values, Mapping):
            values = [values.get(task) for task in classified]
        return [each for each in keras.tree.flatten(values) if each]

    metrics = [*of_classes("metrics"), *of_classes("weighted_metrics")]
    for metric in metrics:
        if not isinstance(metric, keras.Metric) or type(metric).__module__.startswith("keras."):
            return False
    return all(isinstance(loss, losses.TaskLoss) for loss in of_classes("loss"))


def make_smoother(model: keras.Model, given: inputs.Inputs) -> Callable[[object], object] | None:
    """Returns what smooths the targets of a batch as the data's changes do; None where they do not."""
    share = getattr(given.changes, "label_smoothing", 0.0)
    return (
        functools.partial(blending.smoothed, classes=classes_of(model, given), share=share)
        if share
        else None
    )


def classes_of(model: keras.Model, given: inputs.Inputs) -> object:
    """Returns the number of classes, or by task where targets are a dict."""
    counts = _class_counts(model)
    if isinstance(given.plain.element_spec[1], Mapping):
        return counts
    return next(iter(counts.values()), None)


def _class_counts(model: keras.Model) -> dict[str, int]:
    """Returns the number of classes of each task whose class ids become distributions when mixed or smoothed."""
    counts = {name: layer.task.mixed_classes for name, layer in marks.outputs(model).items()}
    return {name: count for name, count in counts.items() if count is not None}
