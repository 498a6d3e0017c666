"""Using the validation images twice: to choose how far to go, then to train."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_transfer.core import checks
from keras_transfer.training.run.best import Best
from keras_transfer.training.stages import Stage

__all__ = ["stages_to_repeat", "wanted"]

MANY = 5000  # images; above, a share more of them is worth less than the time


def wanted(asked: bool | None, data: Any, *, is_open: bool) -> bool:
    """Whether to train again on training and validation images together.

    Args:
        asked: What the user said; None leaves it to the package.
        data: As the user gave it.
        is_open: Whether the recipe was left to the package.
    """
    if asked not in (None, True, False):
        raise checks.error("`refit` must be True, False or None", given=repr(asked))
    is_possible = hasattr(data, "joined") and data.validation is not None and data.is_own
    if asked and not is_possible:
        fix = "Batches of your own cannot be dealt anew: leave `data.train` as it was made, or use `refit=False`."
        raise checks.error(
            "`refit` needs data from kt.data with a validation part",
            given=type(data).__name__,
            fix=fix,
        )
    if asked is not None:
        return asked
    if not is_open or not is_possible or data.test is None:
        return False
    return sum(len(data.examples[split]) for split in ("train", "validation")) <= MANY


def stages_to_repeat(
    plan: Sequence[Stage],
    stages: Sequence[Mapping],
    history: keras.callbacks.History,
    best: Best,
    *,
    held_out: int,
    per_epoch: int,
) -> list[Stage]:
    """Returns the stages for a run on all images, each as long as it was.

    The last one is that with the best epoch, or a later one whose end is not worse by more than chance. If it is that
    with the best epoch and its rate does not fall, it ends with the best epoch.

    Args:
        plan: Of the first run.
        stages: What was recorded of them, with their first and last epochs.
        history: Of the first run.
        best: Its best epoch.
        held_out: The number of validation images.
        per_epoch: Steps in an epoch of the first run.
    """
    spans = [stage["epochs"] for stage in stages]
    best_stage = next(at for at, (_, end) in enumerate(spans) if best.epoch <= end)
    last = best_stage
    if "accuracy" in best.monitor:
        values = dict(zip(history.epoch, history.history[best.monitor], strict=True))
        accuracy = -best.value[0]
        standard_error = math.sqrt(accuracy * (1.0 - accuracy) / held_out)
        for at, (_, end) in enumerate(spans):
            if at > best_stage and values[end] >= accuracy - standard_error:
                last = at

    lengths = [end - first + 1 for first, end in spans[: last + 1]]
    if last == best_stage and not plan[last].is_falling:
        lengths[last] = best.epoch - spans[last][0] + 1
    return [
        _shorten(stage, epochs, per_epoch) for stage, epochs in zip(plan, lengths, strict=False)
    ]


def _shorten(stage: Stage, epochs: int, per_epoch: int) -> Stage:
    """Returns the stage without early stopping, for so many epochs; a falling rate falls in that time."""
    if stage.applied_method.replaces_fit:
        return stage
    if stage.steps is None:
        return dataclasses.replace(stage, epochs=epochs, early_stopping=None)
    steps = min(stage.steps, epochs * per_epoch)
    return dataclasses.replace(stage, steps=steps, early_stopping=None)
