"""The stage that solves for heads instead of training them."""

import keras
import numpy as np
import tensorflow as tf

from keras_transfer import layers
from keras_transfer.training import head_solver, inputs

__all__ = ["can_be_solved", "solve_heads", "told"]


def can_be_solved(model: keras.Model) -> bool:
    """Whether all heads of `model` are linear."""
    found = layers.outputs(model)
    return bool(found) and not any(layer.task.hidden for layer in found.values())


def solve_heads(
    model: keras.Model, given: inputs.Inputs, *, seed: int = 0, label_smoothing: float | None = None
) -> dict:
    """Solves for the heads on the frozen trunk's features of the training data, in one pass over them.

    Args:
        model: Its heads are changed in place.
        given: Checked data; validation chooses the strength of the penalty.
        seed: Of the folds where there is no validation.
        label_smoothing: As for `solve_head`.

    Returns:
        What was found, see `head_solver.solve_head`.
    """
    names = list(layers.outputs(model))
    taps = {name: model.get_layer(f"{name}_logits").input for name in names}
    network = keras.Model(model.inputs, taps)

    @tf.function(reduce_retracing=True)
    def forward(images: tf.Tensor) -> dict:
        return network(images, training=False)

    def features(dataset: tf.data.Dataset) -> tuple:
        found, targets = [], []
        for images, answers, *_ in dataset:
            found.append({name: value.numpy() for name, value in forward(images).items()})
            targets.append(keras.tree.map_structure(np.asarray, answers))
        return _joined(found), _joined(targets)

    train = features(given.train)
    held_out = (None, None) if given.validation is None else features(given.validation)
    if len(names) == 1:
        train, held_out = ((part[0] and part[0][names[0]], part[1]) for part in (train, held_out))
    return head_solver.solve_head(model, *train, *held_out, seed=seed, label_smoothing=label_smoothing)


def _joined(batches: list) -> object:
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *batches)


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
