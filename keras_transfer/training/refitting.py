"""Using the validation images twice: to choose how far to go, then to train."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras

from keras_transfer.core import checks
from keras_transfer.training.methods import SolvedHead
from keras_transfer.training.run import criteria
from keras_transfer.training.run.best import Best
from keras_transfer.training.stages import Stage

__all__ = ["choose", "describe_cost", "stages_to_repeat", "without_validation"]


MANY = 5000  # images; above, a share more of them is worth less than the time


def choose(asked: bool | None, data: Any, *, is_open: bool, decided: list[str]) -> bool:
    """Returns whether to train again on training and validation images together; test images have no say.

    Args:
        asked: What the user said; None leaves it to the package.
        data: As the user gave it.
        is_open: Whether the recipe was left to the package.
        decided: Gets a line if this chooses to do it.

    Raises:
        InputError: If it is asked for and these data cannot be joined.
    """
    if asked not in (None, True, False):
        raise checks.error("`refit` must be True, False or None", given=repr(asked))
    is_possible = hasattr(data, "joined") and data.validation is not None and data.is_own
    if asked and not is_possible:
        expected = "`refit` must have data from kt.data with a validation part"
        fix = "Leave `data.train` as kt.data made it, or use `refit=False`."
        raise checks.error(expected, given=type(data).__name__, fix=fix)
    if asked is not None or not is_open or not is_possible:
        return bool(asked)
    images = sum(len(data.examples[split]) for split in ("train", "validation"))
    if images > MANY:
        return False
    decided.append(
        f"refit=True chosen for {images} images: training is repeated on training + validation images in the end, "
        "which takes about as long again."
    )
    return True


def describe_cost(stages: Sequence[Mapping], *, growth: float) -> str:
    """Returns about how long it takes to repeat some stages, in words.

    Args:
        stages: What was recorded of them.
        growth: How many times as many images there are.

    Example:
        >>> describe_cost([{"seconds": 20.0}, {"seconds": 220.0}], growth=1.25)
        'about 5 min'
    """
    seconds = growth * sum(stage["seconds"] for stage in stages)
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min"


@contextlib.contextmanager
def without_validation(
    callbacks: Sequence[keras.callbacks.Callback], note: Callable[[str], object]
) -> Iterator[list[keras.callbacks.Callback]]:
    """Gives the user's callbacks as a run without validation data can call them.

    A `ModelCheckpoint` that waits for a better validation value saves every epoch, so that its file ends with the
    weights of the model. Others that watch such a value are left out: the run is as long as they let the first one be.

    Args:
        callbacks: Of the user.
        note: Prints and records a line about each that is called in another way.
    """
    kept, checkpoints = [], []
    for callback in keras.tree.flatten(callbacks):
        name, monitor = type(callback).__name__, str(getattr(callback, "monitor", ""))
        is_checkpoint = isinstance(callback, keras.callbacks.ModelCheckpoint)
        if is_checkpoint and "{val_" in str(callback.filepath):
            note(f"{name} is left out: its file name needs a validation value.")
        elif is_checkpoint and callback.save_best_only and monitor.startswith("val_"):
            note(f"{name} saves every epoch, because {monitor} is not measured here.")
            checkpoints.append(callback)
            kept.append(callback)
        elif not is_checkpoint and monitor.startswith("val_"):
            note(f"{name} is left out, because {monitor} is not measured here.")
        else:
            kept.append(callback)

    for checkpoint in checkpoints:
        checkpoint.save_best_only = False
    try:
        yield kept
    finally:
        for checkpoint in checkpoints:
            checkpoint.save_best_only = True


def stages_to_repeat(
    model: keras.Model,
    plan: Sequence[Stage],
    stages: Sequence[Mapping],
    history: keras.callbacks.History,
    best: Best,
    *,
    held_out: int,
    per_epoch: int,
) -> list[Stage]:
    """Returns the stages for a run on all images, each as long as it was, heads solved for with the same penalty.

    The last one is that with the best epoch, or a later one whose end is not worse by more than chance. If it is that
    with the best epoch and its rate does not fall, it ends with the best epoch.

    Args:
        model: The user's.
        plan: Of the first run.
        stages: What was recorded of them, with their first and last epochs.
        history: Of the first run.
        best: Its best epoch.
        held_out: The number of validation images.
        per_epoch: Steps in an epoch of the first run.
    """
    spans = {at: stage["epochs"] for at, stage in enumerate(stages) if "epochs" in stage}
    best_stage = best.stage or 0
    if best.epoch is not None:
        best_stage = next(at for at, (_, end) in spans.items() if best.epoch <= end)
    last = best_stage
    if best.monitor is not None and criteria.is_share(best.monitor):
        measured = history.history.get(best.monitor, ())  # none where there were no epochs
        values = dict(zip(history.epoch, measured, strict=True))
        accuracy = -best.value[0]
        standard_error = criteria.standard_error(accuracy, held_out)
        for at, (_, end) in spans.items():
            if at > best_stage and values[end] >= accuracy - standard_error:
                last = at

    repeated = list(plan[: last + 1])
    for at in range(last + 1):
        if at not in spans:
            repeated[at] = _solve_alike(model, plan[at], stages[at]["solved"])
            continue
        first, end = spans[at]
        if at == best_stage == last and not plan[at].is_falling:
            end = best.epoch
        repeated[at] = _shorten(plan[at], end - first + 1, per_epoch)
    return repeated


def _solve_alike(model: keras.Model, stage: Stage, solved: Mapping) -> Stage:
    """Returns the stage with the penalty of the head that it found, which need not be searched for again."""
    method = stage.applied_method
    if not isinstance(method, SolvedHead):
        return stage
    return dataclasses.replace(stage, solve=False, method=method.as_before(model, solved))


def _shorten(stage: Stage, epochs: int, per_epoch: int) -> Stage:
    """Returns the stage without early stopping, for so many epochs; a falling rate falls in that time."""
    if stage.applied_method.replaces_fit:  # 0.1.0 counted it as an epoch
        return stage
    if stage.steps is None:
        return dataclasses.replace(stage, epochs=epochs, early_stopping=None)
    steps = min(stage.steps, epochs * per_epoch)
    return dataclasses.replace(stage, steps=steps, early_stopping=None)
