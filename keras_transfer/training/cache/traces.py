"""Upper parts of models that later runs train again, so that TensorFlow traces them once."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any  # compile arguments, as Keras has them

import keras
import numpy as np

from keras_transfer.graphs import compiling, paths

__all__ = ["Part", "Traces", "form_of"]

MOST = 8  # parts that are kept; each has the slots of its optimizer


@dataclasses.dataclass(frozen=True)
class Part:
    """The compiled upper part of a model.

    Attributes:
        model: The part, with what was traced for it.
        tensors: Where it begins, in the graph of the whole model.
        form: All that a trace depends on.
    """

    model: keras.Model
    tensors: Sequence[keras.KerasTensor]
    form: tuple


class Traces:
    """Keeps the upper parts that `kt.fine_tune` trains on cached outputs, for later runs of the same model.

    A training step is traced for each compiled model, which takes longer than many steps. With few images and many
    runs, such as one for each seed, that is most of the time. A part serves a later run where the same layers train
    with the same loss, metrics and optimizer; the optimizer begins anew, so the run is the same to the bit. Weights are
    yours to put back before each run.

    Example:
        >>> import keras_transfer as kt
        >>> data = kt.data.scenes(40, image_size=32, validation=0.2)
        >>> model = kt.build_model(kt.backbone("tiny"), kt.tasks.Classification(data.class_names), seed=0)
        >>> cache, start = kt.training.Cache(traces=Traces()), model.get_weights()
        >>> for seed in range(2):
        ...     model.set_weights(start)
        ...     history = kt.fine_tune(model, data, epochs=(2, 1), cache=cache, seed=seed, verbose=0)
        >>> len(cache.traces)  # the head's stage
        1
    """

    def __init__(self) -> None:
        self._parts: list[Part] = []

    def __len__(self) -> int:
        return len(self._parts)

    def take(self, form: tuple) -> Part | None:
        """Returns the part of this form, which is kept no longer; None where there is none."""
        for part in self._parts:
            if part.form == form:
                self._parts.remove(part)
                return part
        return None

    def put(self, part: Part) -> None:
        """Keeps a part, and drops the oldest where there are many."""
        self._parts = [*self._parts, part][-MOST:]


def form_of(model: keras.Model, optimizer: keras.optimizers.Optimizer, together: int) -> tuple:
    """Returns what a traced training step of a compiled model depends on, besides the values of variables.

    Args:
        model: With the flags of its layers set.
        optimizer: That will train it.
        together: How many steps are executed together.
    """
    arguments = {**compiling.arguments(model), "optimizer": optimizer}
    described = {
        name: keras.tree.map_structure(_describe, each) for name, each in arguments.items()
    }
    layers = paths.leaves(model).values()
    flags = tuple(layer.trainable for layer in layers)
    trained = tuple(id(variable) for variable in model.trainable_variables)
    return json.dumps(described, sort_keys=True), together, flags, trained


def _describe(value: Any) -> Any:
    """Returns an argument of `compile` as a value that JSON can hold; an object of the user's by its identity."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    kind = type(value)
    if kind.__module__.partition(".")[0] not in ("keras", "keras_transfer"):
        return id(value)
    config = value.get_config()
    if isinstance(value, keras.optimizers.Optimizer):
        config = {**config, "name": None}  # Keras counts them
    text = json.dumps(config, sort_keys=True, default=_describe_entry)
    return [kind.__module__, kind.__qualname__, text]


def _describe_entry(value: Any) -> Any:
    """Returns an entry of a config that JSON does not know; a function or an object by its identity."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else repr(value)
