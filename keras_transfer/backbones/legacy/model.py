"""Reads a complete `.h5` model of Keras 1, 2 or 3 as a functional model of Keras 3.

Keras 3 itself reads only some of these files. The description of the network is checked as a whole, then built layer
by layer (`graph`, `layers`), and the weights are assigned by name (`weights`). Nothing in the file is run.
"""

import json
import os

import h5py
import keras

from keras_transfer.backbones.legacy import graph, hdf5, layers, weights
from keras_transfer.core import checks

__all__ = ["read_h5"]


def read_h5(path: str | os.PathLike, *, trust: bool = False) -> keras.Model:
    """Reads a complete `.h5` model: network and weights, without its optimizer and loss.

    Sequential and functional models become functional ones, and nested models stay nested. The file must hold every
    weight of the network, in its shape. A `/` in a layer's name, which Keras 3 does not allow, becomes `_`; the number
    of renamed layers is printed.

    Your own layers and activations must be registered with Keras, or the file read within
    `keras.saving.custom_object_scope`. A Lambda layer is read if `trust` is True and its function was saved by a name
    that is registered; stored bytecode is never run.

    Args:
        path: A file that `model.save("....h5")` wrote, in Keras 1, 2 or 3 or in TensorFlow 1 or 2.
        trust: Whether Lambda layers with registered functions are allowed.

    Raises:
        InputError: If the file is damaged, holds only weights, carries code, or has a layer unknown to Keras 3.

    Example:
        >>> import tempfile
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="stem")])
        >>> file = f"{tempfile.mkdtemp()}/old.h5"
        >>> model.save(file)
        >>> read_h5(file).get_layer("stem")
        <Conv2D name=stem, built=True>
    """
    with hdf5.open_file(path, argument="source") as file:
        try:
            return _read(file, trust=trust)
        except RecursionError as deep:
            raise graph.malformed("a description nested too deeply") from deep


def _read(file: h5py.File, *, trust: bool) -> keras.Model:
    group = hdf5.part(file, "model_weights")
    entry = _read_description(file, group)
    entries = list(graph.layers_within(entry))
    for layer in entries:
        layers.check(layer, trust=trust)
    renamed = sum("/" in str(layer["config"].get("name")) for layer in entries)
    if renamed:
        checks.note(
            f"'/' became '_' in {renamed} of the {len(entries)} layers' names, as Keras 3 demands"
        )
    origin = hdf5.origin(group if hdf5.attribute(file, "keras_version") is None else file)
    model, parts = graph.build(entry, keras_version=origin.keras)
    weights.assign(parts, group, origin)
    return model


def _read_description(file: h5py.File, group: h5py.Group | None) -> dict:
    """Returns the description of a network, which must be a model and hold no code."""
    text = hdf5.attribute(file, "model_config")
    if text is None or group is None:
        raise checks.error(
            "`source` must be a complete model",
            given=f"{file.filename!r}, which holds weights only",
            fix="Build the network, by kt.backbone(NAME, ...) or as a keras.Model, and pass weights= with this file.",
        )
    try:
        entry = json.loads(text)
    except json.JSONDecodeError as broken:
        raise graph.malformed(f"a description that is no JSON ({broken})") from broken
    _check_code(entry)
    if not isinstance(entry, dict) or not layers.is_model(entry):
        kind = entry.get("class_name") if isinstance(entry, dict) else entry
        raise checks.error(
            "`source` must be a functional or sequential model",
            given=f"{str(kind)[:60]!r} in {file.filename!r}",
            fix=layers.REBUILD,
        )
    return entry


def _check_code(value: object) -> None:
    """Raises an error for a function stored as bytecode anywhere in the description."""
    if isinstance(value, dict) and value.get("class_name") == "__lambda__":
        raise checks.error(
            "a model file must not carry code", given="a Python function", fix=layers.REBUILD
        )
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _check_code(item)
