"""The stage that solves for heads instead of training them."""

import keras
import tensorflow as tf

from keras_transfer import features, layers
from keras_transfer.training import head_solver, inputs

__all__ = ["can_be_solved", "solve_heads", "told"]


def can_be_solved(model: keras.Model) -> bool:
    """Whether all heads of `model` are linear."""
    if not layers.outputs(model) or layers.representation(model) is None:
        return False
    return not head_solver.heads(model)[1]


def solve_heads(model: keras.Model, given: inputs.Inputs, *, seed: int = 0) -> dict:
    """Solves for the heads on the frozen trunk's features of the training data, in one pass over them.

    Args:
        model: Its heads are changed in place.
        given: Checked data; validation chooses the strength of the penalty.
        seed: Of the folds where there is no validation.

    Returns:
        What was found, see `head_solver.solve_head`.
    """
    found, _ = head_solver.solvable(model)

    def passed(dataset: tf.data.Dataset | None) -> tuple:
        if dataset is None:
            return None, None
        kept = features.extract(model, dataset, layers=[head.below for head in found.values()], verbose=0)
        return {name: kept.arrays[head.below] for name, head in found.items()}, kept.targets

    smoothing = getattr(given.changes, "label_smoothing", 0.0) or None
    parts = [*passed(given.plain), *passed(given.validation)]
    return head_solver.solve_head(model, *parts, seed=seed, label_smoothing=smoothing)


def told(facts: dict) -> str:
    """The line that is printed about solved heads."""
    one = {"": facts} if "strength" in facts or "skipped" in facts else facts
    lines = []
    for name, found in one.items():
        if "skipped" not in found:
            measured = [f"{key} {found[key]:.4f}" for key in ("val_accuracy", "val_mae") if key in found]
            penalty = f"penalty {found['strength']:.3g} by {found['chosen_by']}"
            lines.append(f"{name and name + ': '}head solved, {', '.join([penalty, *measured])}")
    return "; ".join(lines)
