"""A complete `.h5` model of Keras 1, 2 or 3, as a functional model of Keras 3.

Keras 3 itself reads only part of these files. Here the file is data: its description of the network
is checked as a whole, then built layer by layer (`legacy_graph`, `legacy_layers`), and the weights
are put in by name (`legacy_weights`). Nothing in the file is run.
"""

import json
import os

import h5py
import keras

from keras_transfer.backbones.legacy import graph, hdf5
from keras_transfer.backbones.legacy import layers as legacy_layers
from keras_transfer.backbones.legacy import weights as legacy_weights
from keras_transfer.core import checks

__all__ = ["read_h5"]


def read_h5(path: str | os.PathLike, *, trust: bool = False) -> keras.Model:
    """Reads a complete `.h5` model: network and weights, without its optimizer and loss.

    Nested models stay nested, whether they were sequential or functional; all become functional
    models. Every weight of the network must be in the file with the shape that the network gives it.
    A `/` in a layer's name, which Keras 3 does not allow, becomes `_`; how often is printed.

    Layers and activations of your own are found where they are registered with Keras, or within
    `keras.saving.custom_object_scope`. A Lambda layer is read if `trust` is True, its function was
    saved by name and is registered so; stored bytecode is never run.

    Args:
        path: A file that `model.save("....h5")` wrote, in Keras 1, 2 or 3 or in TensorFlow 1 or 2.
        trust: Whether Lambda layers with registered functions are allowed.

    Raises:
        InputError: If the file is damaged, holds weights only, carries code, or has a layer that
            Keras 3 has not.

    Example:
        >>> import tempfile
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="stem")])
        >>> file = f"{tempfile.mkdtemp()}/old.h5"
        >>> model.save(file)
        >>> read_h5(file).get_layer("stem")
        <Conv2D name=stem, built=True>
    """
    with hdf5.opened(path, argument="source") as file:
        try:
            return _model(file, trust=trust)
        except RecursionError as deep:
            raise graph.malformed("a description nested too deeply") from deep


def _model(file: h5py.File, *, trust: bool) -> keras.Model:
    weights = hdf5.part(file, "model_weights")
    entry = _description(file, weights)
    layers = list(graph.layers_within(entry))
    for layer in layers:
        legacy_layers.check(layer, trust=trust)
    renamed = sum("/" in str(layer["config"].get("name")) for layer in layers)
    if renamed:
        checks.note(
            f"'/' became '_' in {renamed} of the {len(layers)} layers' names, as Keras 3 demands"
        )
    origin = hdf5.origin(weights if hdf5.attribute(file, "keras_version") is None else file)
    model, parts = graph.build(entry, keras_version=origin.keras)
    legacy_weights.assign(parts, weights, origin)
    return model


def _description(file: h5py.File, weights: h5py.Group | None) -> dict:
    """The network's description, checked to be that of a model and to hold no code."""
    text = hdf5.attribute(file, "model_config")
    if text is None or weights is None:
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
    if not isinstance(entry, dict) or not legacy_layers.is_model(entry):
        raise checks.error(
            "`source` must be a functional or sequential model",
            given=f"{str(entry.get('class_name') if isinstance(entry, dict) else entry)[:60]!r} in {file.filename!r}",
            fix=legacy_layers.REBUILD,
        )
    return entry


def _check_code(value: object) -> None:
    """Raises an error for a function stored as bytecode, wherever it stands."""
    if isinstance(value, dict) and value.get("class_name") == "__lambda__":
        raise checks.error(
            "a model file must not carry code", given="a Python function", fix=legacy_layers.REBUILD
        )
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _check_code(item)
