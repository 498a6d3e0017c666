"""Arguments of `kt.fine_tune` that all trainings of a study have in common."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras

from keras_transfer.core import checks, lookup
from keras_transfer.training import recipes
from keras_transfer.training.fine_tune import fine_tune
from keras_transfer.training.stages import Stage

__all__ = ["check", "plan"]


def check(options: Any, *, verb: str) -> dict:
    """Returns the options as a dict.

    Args:
        options: A mapping, or None.
        verb: Of the study, which sets some arguments itself.

    Raises:
        InputError: If they are no mapping, or have an argument that `kt.fine_tune` lacks or the study sets.

    Example:
        >>> check({"epochs": 2}, verb="kt.compare")
        {'epochs': 2}
    """
    if options is not None and not isinstance(options, Mapping):
        raise checks.error(
            "`options` must be a dict of arguments of kt.fine_tune", given=repr(options)
        )
    options = dict(options or {})
    for name in ("seed", "run_dir", "resume"):
        if name in options:
            raise checks.error(
                f"`options` must leave {name!r} to {verb}", given=repr(options[name])
            )
    known = [name for name in _defaults() if name not in ("model", "data")]
    for name in options:
        if name not in known:
            fix = lookup.hint(str(name), known)
            raise checks.error(
                "`options` must be arguments of kt.fine_tune", given=repr(name), fix=fix
            )
    return options


def plan(model: keras.Model, data: Any, options: Mapping[str, Any]) -> list[Stage]:
    """Returns the stages that `kt.fine_tune` would train; raises the errors that it would raise before training."""
    return recipes.decide(model, data, {**_defaults(), **options}).plan


def _defaults() -> dict[str, Any]:
    parameters = inspect.signature(fine_tune).parameters
    return {name: parameter.default for name, parameter in parameters.items()}
