"""Models whose file plain Keras reads too, or refuses with a hint.

A file names a class by its module, its name and a registered name. Keras takes the registered one if it knows it, else
looks the other up. So the models here have the name of Keras's `Functional`, and in the list of layers each layer of
the package stands as Keras's own, with the package's beside it under a key that Keras ignores.
"""

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any  # parts of a config, as JSON has them; labels, as a user has them

import keras
import numpy as np
from keras.src.models.functional import Functional

from keras_transfer.core import checks, labelled
from keras_transfer.layers import marks
from keras_transfer.models import plain, replicated

__all__ = ["TaskModel", "call_functional", "check_class_ids", "forbid", "restore"]

OWN = "keras_transfer"
COMPILED = "keras_transfer_compile_config"


def call_functional(model_class: type) -> type:
    """Gives a class the name of Keras's `Functional`, which its file then shows."""
    model_class.__module__ = Functional.__module__
    model_class.__name__ = Functional.__name__
    return model_class


@keras.saving.register_keras_serializable("keras_transfer", "TaskModel")
@call_functional
class TaskModel(replicated.Replicated):
    """A functional model of one task: in every way a `keras.Model`, and its file loads without this package.

    There it has Keras's own layers and gives the same answers. With `kt.load_model`, or where keras_transfer is
    imported, the package's layers come back, and with them the names of classes, the loss and the optimizer.

    Example:
        >>> import keras_transfer as kt
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(2))
        >>> isinstance(model, TaskModel)
        True
    """

    own_compile_config: Callable[[], dict | None] = staticmethod(lambda: None)
    """Returns what the model was compiled with when it was saved, in the package's own classes."""

    @functools.wraps(keras.Model.fit)
    def fit(self, x: Any = None, y: Any = None, *arguments: Any, **options: Any) -> Any:
        """Trains as Keras does; class ids that the model does not have are an error before it starts."""
        check_class_ids(self, y, options)
        return super().fit(x, y, *arguments, **options)

    def get_config(self) -> dict:
        """Returns a config that Keras's `Functional` can be made of, too."""
        config = super().get_config()
        if "module" not in config["layers"][0]:  # the format of .h5 files
            return config
        entries = []
        for operation, entry in zip(self.operations, config["layers"], strict=True):
            if not plain.is_own(operation):
                entries.append(entry)
                continue
            try:
                entries += _in_keras(operation, entry)
            except checks.InputError:
                reason = f"Keras has no equal of {operation.name!r}, a {type(operation).__name__}"
                return forbid(config, reason)
        entries[0] = {**entries[0], COMPILED: super().get_compile_config()}
        return {**config, "layers": entries}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "TaskModel":
        """Makes the model of its own layers, where the config has them."""
        own = config["layers"][0].get(COMPILED)
        model = super().from_config(restore(config), custom_objects)
        model.own_compile_config = lambda: own  # a function: Keras would track a dict
        return model

    def get_compile_config(self) -> dict:
        """Returns loss, metrics and optimizer as Keras has them."""
        if not super().get_compile_config():
            return {}
        return _unshared(keras.saving.serialize_keras_object(plain.compile_arguments(self)))

    def compile_from_config(self, config: dict) -> None:
        """Compiles as the model was saved."""
        super().compile_from_config(self.own_compile_config() or config)


def check_class_ids(model: keras.Model, y: Any, options: Mapping) -> None:
    """Raises an error if labels given to `fit` as arrays hold class ids out of range, which would train on NaN.

    Args:
        model: A model with task outputs.
        y: The labels, or a dict of them by task; None where `fit` is given batches.
        options: Further arguments of `fit`.

    Raises:
        InputError: If an id is no class of the model, also where its weight is 0.
    """
    parts = {"y": y}
    held_out = options.get("validation_data")
    if isinstance(held_out, tuple) and len(held_out) > 1:
        parts["validation_data[1]"] = held_out[1]
    outputs = marks.outputs(model)
    for name, labels in parts.items():
        if len(outputs) > 1 and not isinstance(labels, Mapping):
            continue  # a list of one array for each task
        for task_name, layer in outputs.items():
            own = labels.get(task_name) if isinstance(labels, Mapping) else labels
            if layer.task.mixed_classes is not None:
                _check_ids(own, layer.task.mixed_classes, name)
            elif getattr(layer.task, "levels", ()) and hasattr(own, "__array__"):
                # Of boxes and masks as well: such ids would count as none.
                layer.task.check_targets(own, tuple(model.inputs[0].shape[1:3]))


def _check_ids(labels: Any, classes: int, name: str) -> None:
    if not hasattr(labels, "__array__") and not isinstance(labels, list):
        return
    values = np.asarray(labels)
    if values.dtype.kind not in "iuf" or values.size != len(values):  # names, or distributions
        return
    labelled.check_ids(
        values.reshape(len(values)),
        classes,
        expected=f"`{name}` must hold class ids in [0, {classes})",
        fix="Count classes from 0; a missing label has weight 0 and any id in that range.",
    )


def forbid(config: dict, reason: str) -> dict:
    """Returns the config of a model that plain Keras shall refuse: the error's first line says what to import.

    Keras shows the name of a class that it does not find, so the name of the first layer's is the hint.
    """
    first, *others = config["layers"]
    hint = f"(import keras_transfer first: {reason}; kt.to_keras(model) makes a plain model)"
    entry: dict[str, Any] = {
        "module": "keras",
        "class_name": hint,
        "config": {},
        "registered_name": None,
    }
    entry |= {"name": first["name"], "inbound_nodes": first["inbound_nodes"], OWN: first}
    return {**config, "layers": [entry, *others]}


def restore(config: dict) -> dict:
    """Returns the config with the package's layers in their places."""
    entries = [entry.get(OWN, entry) for entry in config["layers"]]
    return {**config, "layers": [entry for entry in entries if entry is not None]}


def _in_keras(layer: keras.layers.Layer, entry: dict) -> list[dict]:
    """Returns the entries of Keras's layers for one of the package's, which is beside the last of them."""
    replacement = plain.replacement(layer)
    (first_input, *_) = entry["inbound_nodes"][0]["args"]
    if not isinstance(first_input, dict):
        raise checks.error("a layer with an equal in Keras must take one tensor", given=layer.name)
    source = first_input["config"]
    inputs = keras.Input(batch_shape=source["shape"], dtype=source["dtype"])
    twin = keras.Model(inputs, replacement(inputs))

    written = _unshared(twin.get_config()["layers"])
    first, *made = written
    names = {each["name"]: f"{layer.name}_{number}" for number, each in enumerate(made, 1)}
    names[made[-1]["name"]] = layer.name
    histories = {old: [new, 0, 0] for old, new in names.items()}
    histories[first["name"]] = source["keras_history"]
    entries = []
    for each in made:
        name = names[each["name"]]
        config = {**each["config"], "name": name}
        calls = _redirect(each["inbound_nodes"], histories)
        entries.append({**each, "name": name, "config": config, "inbound_nodes": calls, OWN: None})
    entries[-1][OWN] = entry
    return entries


def _redirect(value: Any, histories: dict[str, list]) -> Any:
    """Returns a part of a config that takes tensors from other places, by the name of the operation."""
    if isinstance(value, list | tuple):
        return [_redirect(each, histories) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "__keras_tensor__":
        tensor = value["config"]
        history = histories[tensor["keras_history"][0]]
        return {**value, "config": {**tensor, "keras_history": history}}
    return {key: _redirect(each, histories) for key, each in value.items()}


def _unshared(value: Any) -> Any:
    """Returns a copy of a part of a config, of objects that exist only for it.

    While a model is saved, Keras tells objects apart by their ids, and that of a deleted object may be used again.
    """
    if isinstance(value, dict):
        return {key: _unshared(each) for key, each in value.items() if key != "shared_object_id"}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_unshared(each) for each in value]
    return copy.copy(value)
