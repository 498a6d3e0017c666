"""Loads weights from a file into a model."""

import os
import pathlib
import warnings
from collections.abc import Iterable

import keras

from keras_transfer.backbones.legacy.layer_order import load_by_order
from keras_transfer.core import checks
from keras_transfer.graphs import paths
from keras_transfer.storage import archives, keras_files

__all__ = ["check", "load", "load_whole"]

SUFFIXES = (".h5", ".hdf5", ".keras")


def check(
    weights: str | os.PathLike | None, *, names: tuple[str, ...] = ("pretrained",)
) -> str | pathlib.Path | None:
    """Returns one of `names`, None, or the path of an existing weights file.

    Example:
        >>> check("pretrained")
        'pretrained'
    """
    if weights is None or weights in names:
        return weights
    given = repr(str(weights))
    path = pathlib.Path(str(weights)).expanduser()
    if not path.is_file():
        known = ", ".join(map(repr, names))
        raise checks.error(f"`weights` must be {known}, None or an existing file", given=given)
    if not path.name.endswith(SUFFIXES):
        raise checks.error("`weights` must be an .h5, .weights.h5 or .keras file", given=given)
    return path


def load(
    model: keras.layers.Layer, path: pathlib.Path, *, needed: Iterable[keras.Operation]
) -> None:
    """Loads a weights file into a model: all that is needed, or nothing.

    A file of Keras 1 or 2 is matched by the order of layers; it may have a head that the model lacks, or lack the
    model's head. A file of Keras 3 must be of the whole model.

    Args:
        model: Changed in place.
        path: The file.
        needed: Layers that must get their weights from the file.

    Raises:
        InputError: If the file does not fit; the model then keeps its weights.
    """
    if not isinstance(model, keras.Model):
        raise checks.error(
            "`weights` must be 'pretrained' or None for a layer", given=repr(str(path))
        )
    before = model.get_weights()
    try:
        if path.name.endswith((".weights.h5", ".keras")):
            if path.suffix == ".keras":
                archives.names(path, argument="weights", what="whole Keras file")
            load_whole(model, path, what=repr(model.name))
        else:
            _load_by_order(model, path, needed)
    except checks.InputError:
        model.set_weights(before)
        raise


def load_whole(model: keras.Model, path: pathlib.Path, *, what: str, fix: str = "") -> None:
    """Loads a file of the whole model with Keras; `what` and `fix` are for the error if it does not fit."""
    try:
        with warnings.catch_warnings():
            # Keras only warns when a part of the model is missing from the file.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except (*keras_files.DAMAGED, UserWarning) as mismatch:
        given = f"{str(path)!r} ({checks.first_line(mismatch)})"
        expected = f"`weights` must be a weights file of {what}"
        raise checks.error(expected, given=given, fix=fix) from mismatch


def _load_by_order(
    model: keras.Model, path: pathlib.Path, needed: Iterable[keras.Operation]
) -> None:
    report = load_by_order(model, path, head="any")
    leaves = paths.leaves(model)
    inside: set = set()
    for operation in needed:
        if isinstance(operation, keras.layers.Layer):
            inside.update(id(part) for part in operation._flatten_layers())
    missing = [name for name in report.missing if id(leaves[name]) in inside]
    if missing:
        raise checks.error(
            f"`weights` must hold every layer of {model.name!r} that the backbone needs",
            given=f"{str(path)!r} without {missing[0]!r}",
        )
    checks.note(f"{path.name}: {report}")
