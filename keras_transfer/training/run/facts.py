"""What a stage is, for the record and for the printed line."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras.optimizers.schedules import LearningRateSchedule as Schedule

from keras_transfer.graphs import paths
from keras_transfer.optimizers import schedules
from keras_transfer.training.stages import Stage

__all__ = ["headline", "of_plan", "of_stage"]

# Recorded, and printed, where they are not what they are by default.
OPTIONS = ("decay", "schedule", "warmup", "weight_decay", "clip_norm", "ema", "early_stopping")
PRINTED = {
    "decay": "rates times {} from block to block",
    "weight_decay": "weight decay {}",
    "clip_norm": "gradients clipped to norm {}",
    "ema": "weights averaged with momentum {}",
    "early_stopping": "early stopping {}",
}
BATCH_NORM = {
    "inference": "",
    "train": "batch norm trains",
    "synchronized": "batch norm trains, on the statistics of all devices",
    "recalibrate": "batch norm estimated again at the end",
}


def of_plan(plan: Sequence[Stage]) -> list[dict]:
    """Returns the stages as JSON-able values: two plans are one if these are equal."""
    stages = []
    for stage in plan:
        values = {name: _jsonable(getattr(stage, name)) for name in Stage.__dataclass_fields__}
        if stage.method is None:  # states of 0.1.0, which had no such argument, can be resumed
            del values["method"]
        stages.append(values)
    return stages


def _jsonable(value: object) -> Any:
    if isinstance(value, Schedule):
        return _schedule_config(value)
    if hasattr(value, "get_config"):
        return {"class": type(value).__name__, **value.get_config()}
    return list(value) if isinstance(value, tuple) else value


def _schedule_config(schedule: Schedule) -> object:
    if type(schedule).get_config is Schedule.get_config:
        return repr(schedule)
    return {"schedule": type(schedule).__name__, **schedule.get_config()}


def of_stage(
    model: keras.Model,
    stage: Stage,
    trained: Sequence[str],
    *,
    first: int,
    rate: float | None,
    per_epoch: int,
) -> dict:
    """Returns the facts of a stage that is about to start.

    Args:
        model: The user's model, its flags set.
        stage: The stage.
        trained: Paths of the layers that train.
        first: Its first epoch, over all stages.
        rate: What "auto" came to.
        per_epoch: Steps in an epoch.
    """
    facts: dict[str, Any] = {
        "name": stage.title,
        "epochs": [first, first + (stage.epochs or 1) - 1],
    }
    if stage.steps:
        facts["steps"] = stage.steps
    facts |= {
        "train": _jsonable(stage.train if stage.only is None else stage.only),
        "optimizer": stage.optimizer,
        "learning_rate": _jsonable(stage.learning_rate) if rate is None else rate,
        "rate_in_words": _rate_in_words(stage, per_epoch=per_epoch, found=rate),
        "batch_norm": stage.batch_norm,
    }
    for name in OPTIONS:
        if getattr(stage, name) != Stage.__dataclass_fields__[name].default:
            facts[name] = _jsonable(getattr(stage, name))
    facts |= stage.applied_method.facts()

    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    names = set(trained)
    frozen = [
        path for path, layer in paths.leaves(model).items() if layer.weights and path not in names
    ]
    return facts | {
        "trainable_parameters": trainable,
        "frozen_parameters": model.count_params() - trainable,
        "trained_layers": list(trained),
        "frozen_layers": frozen,
    }


def _rate_in_words(stage: Stage, *, per_epoch: int, found: float | None) -> str:
    highest = schedules.describe(stage.planned_rate(per_epoch=per_epoch, rate=found))
    if not isinstance(stage.learning_rate, Mapping):
        return highest
    rates = " and ".join(
        f"{value:g} for {pattern}" for pattern, value in stage.learning_rate.items()
    )
    return rates if stage.schedule == "constant" else f"{rates}, the highest {highest}"


def headline(stage: Stage, facts: Mapping) -> str:
    """Returns the line to print when a stage starts, of whose facts it tells the most important."""
    total = facts["trainable_parameters"] + facts["frozen_parameters"]
    epochs = facts["epochs"][1] - facts["epochs"][0] + 1
    length = f"{epochs} epoch" if epochs == 1 else f"{epochs} epochs"
    if "steps" in facts:
        length = f"{facts['steps']} steps"

    options = [
        f"{facts['trainable_parameters']:,} of {total:,} parameters train for {length}",
        f"{facts['optimizer']} at {facts['rate_in_words']}",
        BATCH_NORM[facts["batch_norm"]],
    ]
    options += [text.format(facts[name]) for name, text in PRINTED.items() if name in facts]
    if stage.applied_method.facts():
        options.append(repr(stage.applied_method))
    return f"{', '.join(filter(None, options))}."
