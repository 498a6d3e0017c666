"""Whether labels are what the loss of a model of the user's own takes, found before training."""

from collections.abc import Mapping
from typing import Any  # whatever `compile` takes as a loss

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.core import checks, labelled
from keras_transfer.graphs import compiling

__all__ = ["check_labels"]

ELEMENTWISE = ("BinaryCrossentropy", "Huber", "MeanAbsoluteError", "MeanSquaredError")
SPARSE, CATEGORICAL = "SparseCategoricalCrossentropy", "CategoricalCrossentropy"


def check_labels(model: keras.Model, targets: Any, spec: tf.TensorSpec) -> None:
    """Raises an error if labels do not fit a loss of Keras; other losses may take anything.

    Args:
        model: A compiled model with one output.
        targets: Those of all training examples, None where unknown.
        spec: Of the targets of a batch.

    Raises:
        InputError: If class ids are given where the loss takes rows, rows where it takes ids, or ids out of range.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
        >>> check_labels(model, None, tf.TensorSpec((None, 3)))
    """
    if not getattr(model, "compiled", False) or not isinstance(spec, tf.TensorSpec):
        return
    outputs: Any = getattr(model, "outputs", None) or ()
    loss = _name(compiling.arguments(model).get("loss"))
    if len(outputs) != 1 or len(outputs[0].shape) != 2 or spec.shape.rank not in (1, 2):
        return
    columns = outputs[0].shape[1]
    given = 1 if spec.shape.rank == 1 else spec.shape[1]

    if loss == SPARSE:
        if given not in (1, None):
            raise checks.error(
                f"the labels must be class ids for the loss {loss}",
                given=f"rows of {given}",
                fix=f"Compile with {CATEGORICAL}, or give `labels.argmax(axis=1)`.",
            )
        if targets is not None and not isinstance(targets, Mapping):
            labelled.check_ids(
                np.ravel(np.asarray(targets)),
                columns,
                expected=f"the labels must lie in [0, {columns}), the model's classes",
                fix="Count classes from 0, or build the model for more of them.",
            )
    elif loss in (CATEGORICAL, "CategoricalFocalCrossentropy"):
        if given not in (columns, None):
            what = "class ids" if given == 1 else f"rows of {given}"
            raise checks.error(
                f"the labels must be one-hot rows of {columns} for the loss {loss}",
                given=what,
                fix=f"Compile with {SPARSE} for class ids.",
            )
    elif loss in ELEMENTWISE and given not in (columns, None):
        raise checks.error(
            f"the labels must be {columns} number(s) an image for the loss {loss}",
            given=f"{given} of them",
            fix=f"Class ids go with {SPARSE}.",
        )


def _name(loss: Any) -> str:
    """Returns the class name of a loss of Keras; "" for other losses."""
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    if not str(getattr(loss, "__module__", "")).startswith("keras."):
        return ""
    if isinstance(loss, keras.losses.Loss):
        return type(loss).__name__
    return "".join(word.title() for word in loss.__name__.split("_"))
