"""A head that is fitted on the frozen trunk's features in one go, instead of trained."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_transfer.core import checks, labelled
from keras_transfer.layers import marks
from keras_transfer.training import inputs
from keras_transfer.training.methods import base, head_features, head_fitting

__all__ = ["SolvedHead", "can_be_solved", "solve_heads"]


@keras.saving.register_keras_serializable("keras_transfer")
class SolvedHead(base.Method):
    """Fits linear heads by logistic or ridge regression; the stage takes no epochs.

    Example:
        >>> SolvedHead().replaces_fit
        True
    """

    replaces_fit = True

    def check(self, model: keras.Model) -> None:
        """Raises an error if `model` has no head that is linear."""
        if not marks.outputs(model):
            raise checks.error(
                "`model` must have tasks where its head is solved for",
                given=repr(model.name),
                fix="Use kt.build_model.",
            )
        head_fitting.find_solvable(model)

    def solve(self, model: keras.Model, data: Any, *, cached: Mapping | None = None) -> dict:
        """Fits the heads; returns what `kt.training.solve_head` does."""
        return solve_heads(model, data, cached=cached)

    def describe(self, facts: dict) -> str:
        """Returns how each head was fitted."""
        by_task = {"": facts} if "strength" in facts or "skipped" in facts else facts
        lines = []
        for name, fit in by_task.items():
            if "skipped" in fit:
                continue
            head = f"Head of {name!r}" if name else "Head"
            regression = "logistic" if "val_accuracy" in fit else "ridge"
            how = "on the validation images"
            if fit["chosen_by"] != "validation":
                how = f"by cross-validation ({fit['chosen_by']})"
            measured = "".join(
                f", {key} {value:.4f}" for key, value in fit.items() if key.startswith("val_")
            )
            lines.append(
                f"{head}: {regression} regression on what the frozen layers give, with penalty {fit['strength']:.3g} "
                f"chosen {how}{measured}."
            )
        return " ".join(lines)

    def facts(self) -> dict:
        """Returns nothing: the record of the stage holds what `solve` returned."""
        return {}


def can_be_solved(model: keras.Model) -> bool:
    """Whether all heads of `model` are linear."""
    if not marks.outputs(model) or marks.representation(model) is None:
        return False
    return not head_fitting.heads(model)[1]


def solve_heads(
    model: keras.Model,
    data: inputs.Inputs,
    *,
    cached: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    seed: int = 0,
) -> dict:
    """Fits the heads on the frozen trunk's features of the training data, in one pass over them.

    Args:
        model: Its heads are changed in place.
        data: Checked data; validation chooses the strength of the penalty.
        cached: What enters the heads, by split and task, where that is known.
        seed: Of the folds where there is no validation.

    Returns:
        What `head_fitting.solve_head` returns.
    """
    heads, _ = head_fitting.find_solvable(model)
    layers = {name: head.below for name, head in heads.items()}
    train, validation = head_features.read(model, data, layers, cached=cached)
    counts = [
        len(labelled.known(of_task, labelled.of_task(train.weights, name)))
        for name, of_task in marks.targets_by_task(model, train.targets).items()
    ]
    return head_fitting.solve_head(
        model,
        train.features,
        train.targets,
        validation.features,
        validation.targets,
        weights=train.weights,
        val_weights=validation.weights,
        folds=max(2, min(5, min(counts) // 2)),
        seed=seed,
        label_smoothing=getattr(data.changes, "label_smoothing", 0.0) or None,
    )
