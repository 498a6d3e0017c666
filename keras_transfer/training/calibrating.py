"""What is chosen on the validation data once training is over: thresholds, for example."""

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.core import labelled
from keras_transfer.layers import marks

__all__ = ["calibrate"]


def calibrate(model: keras.Model, validation: tf.data.Dataset) -> list[str]:
    """Lets each task that asks for it choose what its answers depend on, from one pass over validation data.

    `kt.fine_tune` does this by itself; call it after a `fit` of your own. It is saved and exported with the model.

    Args:
        model: A model with tasks; those that calibrate are changed.
        validation: Batches of `(images, targets)` or `(images, targets, weights)`.

    Returns:
        A line about each task that chose something.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(2))
        >>> calibrate(model, tf.data.Dataset.from_tensors((tf.zeros((2, 32, 32, 3)), [0, 1])))
        []
    """
    outputs = {
        name: output for name, output in marks.outputs(model).items() if output.task.calibrates
    }
    if not outputs:
        return []
    collected = {name: ([], []) for name in outputs}
    for batch in validation:
        images, targets, weights = keras.utils.unpack_x_y_sample_weight(batch)
        answers = model.predict_on_batch(images)
        by_task = marks.targets_by_task(model, targets)
        for name, (kept_targets, kept_answers) in collected.items():
            answer = answers[name] if isinstance(answers, dict) else answers
            own = labelled.of_task(weights, name)
            kept_targets.append(np.asarray(labelled.known(by_task[name], own)))
            kept_answers.append(labelled.known(answer, own))

    notes = []
    for name, output in outputs.items():
        targets, answers = map(np.concatenate, collected[name])
        if len(targets):
            line = output.calibrate(targets, answers)
            notes.append(f"{name}: {line}")
    return notes
