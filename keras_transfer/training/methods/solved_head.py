"""The stage that solves for heads instead of training them."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from keras_transfer import features
from keras_transfer.core import labelled
from keras_transfer.layers import marks
from keras_transfer.training import inputs
from keras_transfer.training.methods import head_fitting

__all__ = ["can_be_solved", "solve_heads", "told"]


def can_be_solved(model: keras.Model) -> bool:
    """Whether all heads of `model` are linear."""
    if not marks.outputs(model) or marks.representation(model) is None:
        return False
    return not head_fitting.heads(model)[1]


def solve_heads(
    model: keras.Model,
    given: inputs.Inputs,
    *,
    kept: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    seed: int = 0,
) -> dict:
    """Solves for the heads on the frozen trunk's features of the training data, in one pass over them.

    Args:
        model: Its heads are changed in place.
        given: Checked data; validation chooses the strength of the penalty.
        kept: What enters the heads, by split and task, where that is known.
        seed: Of the folds where there is no validation.

    Returns:
        What was found, see `head_fitting.solve_head`.
    """
    found, _ = head_fitting.solvable(model)

    def passed(dataset: tf.data.Dataset | None, split: str) -> tuple:
        if dataset is None:
            return None, None, None
        if kept is not None:
            weights = given.source.weights
            return kept[split], given.source.targets[split], weights and weights[split]
        images = (
            dataset if given.source is None else given.source.ordered(split)
        )  # one order, so one sum, to the bit
        images = images.map(lambda pixels, *answers: (pixels, answers))
        below = features.extract(
            model, images, layers=[head.below for head in found.values()], verbose=0
        )
        targets, *weights = below.targets
        values = {name: below.arrays[head.below] for name, head in found.items()}
        return values, targets, weights[0] if weights else None

    values, targets, weights = passed(given.plain, "train")
    val_values, val_targets, val_weights = passed(given.validation, "validation")
    counts = [
        len(labelled.known(mine, labelled.of_task(weights, name)))
        for name, mine in marks.targets_by_task(model, targets).items()
    ]
    return head_fitting.solve_head(
        model,
        values,
        targets,
        val_values,
        val_targets,
        weights=weights,
        val_weights=val_weights,
        folds=max(2, min(5, min(counts) // 2)),
        seed=seed,
        label_smoothing=getattr(given.changes, "label_smoothing", 0.0) or None,
    )


def told(facts: dict) -> str:
    """The line that is printed about solved heads."""
    one = {"": facts} if "strength" in facts or "skipped" in facts else facts
    lines = []
    for name, found in one.items():
        if "skipped" not in found:
            measured = [
                f"{key} {found[key]:.4f}" for key in ("val_accuracy", "val_mae") if key in found
            ]
            penalty = f"penalty {found['strength']:.3g} by {found['chosen_by']}"
            lines.append(f"{name and name + ': '}head solved, {', '.join([penalty, *measured])}")
    return "; ".join(lines)
