"""Which random changes the training images of a run get, and the data that have them."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import keras
import numpy as np

from keras_transfer import losses
from keras_transfer.core import checks
from keras_transfer.data.changes import augment, mixup
from keras_transfer.graphs import compiling
from keras_transfer.layers import marks
from keras_transfer.training import inputs

__all__ = ["applied", "chosen", "smoothing"]

AUTO = "auto"
RECIPE = augment.Augment(flip=True, crop=0.8, colour=0.1, label_smoothing=0.1)
MIXED = "classification"  # whose labels are mixed with the images, and smoothed
KINDS = (
    MIXED,
    "multi_label",
    "regression",
)  # targets that stay what they are when an image is changed


def chosen(
    asked: object, model: keras.Model, given: inputs.Inputs, *, is_open: bool, decided: list[str]
) -> augment.Augment | None:
    """Returns the changes to make, None for none.

    Args:
        asked: What the user said: "auto", None, a preset's name or an `Augment`.
        model: The model to train.
        given: Checked data.
        is_open: Whether the recipe was left to the package.
        decided: Gets a line about what was chosen for the user.
    """
    if asked is None:
        return None
    if isinstance(asked, str) and asked == AUTO:
        if not is_open or not _is_classified(model) or not _is_coloured(given):
            return None
        found = RECIPE
        if not _takes_shares(model) or any(
            layer.task.label_smoothing for layer in marks.outputs(model).values()
        ):
            found = dataclasses.replace(found, label_smoothing=0.0)
        decided.append(
            f"augment={found!r} chosen for colour pictures; None where they must not be mirrored"
        )
    else:
        found = augment.Augment.of(asked)
    for name, layer in marks.outputs(model).items():
        if layer.task.kind not in KINDS:
            raise checks.error(
                "`augment` must be None where answers have places in the image",
                given=f"{name!r}, which is {layer.task.kind}",
            )
    if found.softens and marks.outputs(model) and not _takes_shares(model):
        raise checks.error(
            "the model's loss and metrics must take shares of classes where labels are mixed or smoothed",
            given=repr(found),
            fix="Leave loss and metrics to kt.build_model, or use kt.losses and kt.metrics.",
        )
    return found


def applied(
    changes: augment.Augment | None, model: keras.Model, given: inputs.Inputs, *, seed: int | None
) -> inputs.Inputs:
    """Returns the data whose training batches have the changes."""
    if changes is None:
        return given
    passes = augment.Passes()
    train = changes.apply(
        given.train, seed=seed or 0, passes=passes, classes=_classes(model, given)
    )
    return given._replace(
        train=train, original=given.train, changes=changes, passes=(*given.passes, passes)
    )


def _takes_shares(model: keras.Model) -> bool:
    """Whether losses and metrics of classes are those of the package, which take class ids and shares of classes."""
    config = compiling.arguments(model)
    classified = [name for name, layer in marks.outputs(model).items() if layer.task.kind == MIXED]

    def mine(name: str) -> list:
        given = config.get(name)
        if isinstance(given, Mapping):
            given = [given.get(task) for task in classified]
        return [each for each in keras.tree.flatten(given) if each]

    trained, measured = mine("loss"), [*mine("metrics"), *mine("weighted_metrics")]
    own = [
        isinstance(each, keras.Metric) and not type(each).__module__.startswith("keras.")
        for each in measured
    ]
    return all(own) and all(
        isinstance(each, losses.ClassLoss | losses.ScaledHuber) for each in trained
    )


def smoothing(model: keras.Model, given: inputs.Inputs) -> Callable[[object], object] | None:
    """Returns what smooths the targets of a batch as the data's changes do; None where they do not."""
    share = getattr(given.changes, "label_smoothing", 0.0)
    return (
        functools.partial(mixup.smoothed, classes=_classes(model, given), share=share)
        if share
        else None
    )


def _classes(model: keras.Model, given: inputs.Inputs) -> object:
    """The numbers of classes, by task where targets are a dict."""
    found = {
        name: layer.task.units
        for name, layer in marks.outputs(model).items()
        if layer.task.kind == MIXED
    }
    return (
        found
        if isinstance(given.plain.element_spec[1], Mapping)
        else next(iter(found.values()), None)
    )


def _is_classified(model: keras.Model) -> bool:
    kinds = {layer.task.kind for layer in marks.outputs(model).values()}
    return kinds == {MIXED}


def _is_coloured(given: inputs.Inputs) -> bool:
    """Whether the first training images are in colour: digits, scans and drawings are not, and may not be mirrored."""
    if given.sample is None:
        return False
    for images, *_ in given.sample.take(1):
        pixels = images.numpy()
        return pixels.shape[-1] == 3 and float(np.mean(np.ptp(pixels, axis=-1))) > 1.0
    return False
