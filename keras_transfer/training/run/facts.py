"""What a stage is, for the record and for the printed line."""

import keras
import numpy as np

from keras_transfer.graphs import paths
from keras_transfer.training.stages import Stage

__all__ = ["headline", "of_plan", "of_stage"]

_SHOWN = (
    "decay",
    "schedule",
    "warmup",
    "weight_decay",
    "clip_norm",
    "ema",
    "early_stopping",
    "lora",
)


def of_plan(plan: list[Stage]) -> list[dict]:
    """Returns the stages as plain values: two plans are one if these are equal."""
    return [
        {name: _plain(getattr(stage, name)) for name in Stage.__dataclass_fields__}
        for stage in plan
    ]


def _plain(value: object) -> object:
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        return _schedule(value)
    if hasattr(value, "get_config"):
        return {"class": type(value).__name__, **value.get_config()}
    return list(value) if isinstance(value, tuple) else value


def _schedule(schedule: keras.optimizers.schedules.LearningRateSchedule) -> object:
    overridden = (
        type(schedule).get_config is not keras.optimizers.schedules.LearningRateSchedule.get_config
    )
    return (
        {"schedule": type(schedule).__name__, **schedule.get_config()}
        if overridden
        else repr(schedule)
    )


def of_stage(
    model: keras.Model, stage: Stage, trained: list[str], *, first: int, rate: float | None
) -> dict:
    """Returns the facts of a stage that is about to start.

    Args:
        model: The user's model, its flags set.
        stage: The stage.
        trained: Paths of the layers that train.
        first: Its first epoch, over all stages.
        rate: What "auto" came to.
    """
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    defaults = {name: field.default for name, field in Stage.__dataclass_fields__.items()}
    extras = {
        name: _plain(getattr(stage, name))
        for name in _SHOWN
        if getattr(stage, name) != defaults[name]
    }
    if stage.regulariser is not None:
        extras["regulariser"] = _plain(stage.regulariser)
    return {
        "name": stage.title,
        "epochs": [first, first + (stage.epochs or 1) - 1],
        **({"steps": stage.steps} if stage.steps else {}),
        "train": _plain(stage.train if stage.only is None else stage.only),
        "optimizer": stage.optimizer,
        "learning_rate": rate if rate is not None else _plain(stage.learning_rate),
        "batch_norm": stage.batch_norm,
        **extras,
        "trainable_parameters": trainable,
        "frozen_parameters": model.count_params() - trainable,
        "trained_layers": trained,
        "frozen_layers": [
            path
            for path, layer in paths.leaves(model).items()
            if layer.weights and path not in set(trained)
        ],
    }


def headline(facts: dict, number: int, of: int) -> str:
    """The line that is printed when a stage starts."""
    total = facts["trainable_parameters"] + facts["frozen_parameters"]
    epochs = facts["epochs"][1] - facts["epochs"][0] + 1
    length = (
        f"{facts['steps']} steps" if "steps" in facts else f"{epochs} epoch{'s' * (epochs > 1)}"
    )
    extras = "".join(
        f", {name} {facts[name]}" for name in (*_SHOWN, "regulariser") if name in facts
    )
    return (
        f"stage {number} of {of} ({facts['name']}): {facts['trainable_parameters']:,} of {total:,} parameters train "
        f"for {length}, {facts['optimizer']} at {_rate(facts['learning_rate'])}, "
        f"batch-norm {facts['batch_norm']}{extras}"
    )


def _rate(rate: object) -> str:
    if isinstance(rate, dict) and "schedule" in rate:
        return f"a {rate['schedule']} schedule"
    if isinstance(rate, dict):
        return " and ".join(f"{value:g} for {pattern}" for pattern, value in rate.items())
    return f"{rate:g}" if isinstance(rate, float) else str(rate)
