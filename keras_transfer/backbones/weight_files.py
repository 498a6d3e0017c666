"""Weights from a file into a model that the user has built."""

import os
import pathlib
import warnings
import zipfile
from collections.abc import Iterable

import keras

from keras_transfer.backbones.legacy import layer_order
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.storage import archives

__all__ = ["check", "load"]

SUFFIXES = (".h5", ".hdf5", ".keras")


def check(weights: str | os.PathLike | None) -> str | pathlib.Path | None:
    """Returns "pretrained", None, or the path of an existing file.

    Example:
        >>> check("pretrained")
        'pretrained'
    """
    if weights is None or weights == "pretrained":
        return weights
    expected = (
        "`weights` must be 'pretrained' (those that the source has), None or an existing file"
    )
    if not isinstance(weights, str | os.PathLike):
        raise checks.error(expected, given=repr(weights))
    path = pathlib.Path(weights).expanduser()
    if not path.is_file():
        raise checks.error(expected, given=repr(str(weights)))
    if not path.name.endswith(SUFFIXES):
        raise checks.error(
            "`weights` must be an .h5, .weights.h5 or .keras file", given=repr(str(weights))
        )
    return path


def load(
    model: keras.layers.Layer, path: pathlib.Path, *, needed: Iterable[keras.Operation]
) -> None:
    """Loads a weights file into a model: all that is needed, or nothing.

    A file of Keras 1 or 2 is matched in the order of its layers, and may have a head that the model has not, or
    the other way round. A file of Keras 3 must be of the whole model.

    Args:
        model: Changed in place.
        path: The file.
        needed: Layers that must get their weights from the file.

    Raises:
        InputError: If the file does not fit; the model has its former weights then.
    """
    if not isinstance(model, keras.Model):
        raise checks.error(
            "`weights` must be 'pretrained' or None for a layer", given=repr(str(path))
        )
    before = model.get_weights()
    try:
        if path.name.endswith((".weights.h5", ".keras")):
            _load_keras_3(model, path)
        else:
            _load_by_order(model, path, needed)
    except checks.InputError:
        model.set_weights(before)
        raise


def _load_keras_3(model: keras.Model, path: pathlib.Path) -> None:
    if path.suffix == ".keras":
        archives.names(path, argument="weights", what="whole Keras file")
    try:
        with warnings.catch_warnings():
            # Keras only warns when a part of the model is missing from the file.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile, UserWarning) as mismatch:
        raise checks.error(
            f"`weights` must be a weights file of {model.name!r}",
            given=f"{str(path)!r} ({checks.first_line(mismatch)})",
        ) from mismatch


def _load_by_order(
    model: keras.Model, path: pathlib.Path, needed: Iterable[keras.Operation]
) -> None:
    report = layer_order.load_by_order(model, path, head="any")
    leaves = paths.leaves(model)
    inside = {
        id(part)
        for layer in needed
        if isinstance(layer, keras.layers.Layer)
        for part in layer._flatten_layers()
    }
    missing = [path for path in report.missing if id(leaves[path]) in inside]
    if missing:
        raise checks.error(
            f"`weights` must hold every layer of {model.name!r} that the backbone needs",
            given=f"{str(path)!r} without {missing[0]!r}",
        )
    checks.note(f"{path.name}: {report}")
