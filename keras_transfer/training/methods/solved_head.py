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

FEW = 2_000  # training images; of more, a share for validation chooses as well as folds do, in less time
FOLDS = 5


@keras.saving.register_keras_serializable("keras_transfer")
class SolvedHead(base.Method):
    """Fits linear heads by logistic or ridge regression; the stage takes no epochs.

    Args:
        strengths: Of the penalty, by task; None chooses them on the validation images and, where these are few or none,
            by cross-validation.

    Example:
        >>> SolvedHead().replaces_fit
        True
    """

    replaces_fit = True

    def __init__(self, strengths: Mapping[str, float] | None = None) -> None:
        self.strengths = None if strengths is None else dict(strengths)

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
        return solve_heads(model, data, cached=cached, strengths=self.strengths)

    def as_before(self, model: keras.Model, facts: Mapping) -> "SolvedHead":
        """Returns the method with the penalties that `solve` found, for other images of the same kind."""
        names = list(marks.outputs(model))
        by_task = facts if isinstance(model.output, Mapping) else {names[0]: facts}
        return SolvedHead(
            {name: fit["strength"] for name, fit in by_task.items() if "strength" in fit}
        )

    def get_config(self) -> dict:
        """Returns what the constructor takes."""
        return {} if self.strengths is None else {"strengths": self.strengths}

    def describe(self, facts: dict) -> str:
        """Returns how each head was fitted."""
        by_task = {"": facts} if "strength" in facts or "skipped" in facts else facts
        lines = []
        for name, fit in by_task.items():
            if "skipped" in fit:
                continue
            head = f"Head of {name!r}" if name else "Head"
            regression = "logistic" if "accuracy" in fit else "ridge"
            how = _CHOICES.get(
                fit["chosen_by"], f" chosen by cross-validation ({fit['chosen_by']})"
            )
            measured = "".join(
                f", {key} {value:.4f}" for key, value in fit.items() if key.startswith("val_")
            )
            lines.append(
                f"{head}: {regression} regression on what the frozen layers give, with penalty {fit['strength']:.3g}"
                f"{how}{measured}."
            )
        return " ".join(lines)

    def facts(self) -> dict:
        """Returns nothing: the record of the stage holds what `solve` returned."""
        return {}


_CHOICES = {"validation": " chosen on the validation images", "user": ""}


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
    strengths: Mapping[str, float] | None = None,
    seed: int = 0,
) -> dict:
    """Fits the heads on the frozen trunk's features of the training data, in one pass over them.

    Args:
        model: Its heads are changed in place.
        data: Checked data, which choose the strength of the penalty.
        cached: What enters the heads, by split and task, where that is known.
        strengths: Of the penalty, by task; None chooses them.
        seed: Of the folds.

    Returns:
        What `head_fitting.solve_head` returns.
    """
    heads, _ = head_fitting.find_solvable(model)
    layers = {name: head.below for name, head in heads.items()}
    train, validation = head_features.read(model, data, layers, cached=cached)
    return head_fitting.solve_head(
        model,
        train.features,
        train.targets,
        validation.features,
        validation.targets,
        weights=train.weights,
        val_weights=validation.weights,
        strengths=head_fitting.STRENGTHS if strengths is None else strengths,
        folds=_choose_folds(model, train, validation),
        seed=seed,
        groups=head_features.groups_of(data),
        label_smoothing=getattr(data.changes, "label_smoothing", 0.0) or None,
    )


def _choose_folds(
    model: keras.Model, train: head_features.Part, validation: head_features.Part
) -> int | None:
    """Returns how many folds of the training images choose the penalty besides the validation images.

    Of 26 or 46 validation images alone, the best penalty is often a hundred times too weak or too strong.
    """
    counts = [
        len(labelled.known(of_task, labelled.of_task(train.weights, name)))
        for name, of_task in marks.targets_by_task(model, train.targets).items()
    ]
    is_few = validation.targets is None or max(counts) <= FEW
    return FOLDS if is_few and min(counts) >= 2 * FOLDS else None
