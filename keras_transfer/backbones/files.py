"""Makes a backbone of the file of a Keras model: `.keras`, or `.h5` of Keras 1, 2 or 3."""

import os
import pathlib
import warnings
from typing import Any

import keras

from keras_transfer.backbones import custom, rebuilding
from keras_transfer.backbones.base import Backbone
from keras_transfer.backbones.legacy.model import read_h5
from keras_transfer.core import checks
from keras_transfer.storage import keras_files

__all__ = ["from_file", "is_model_file", "read_keras"]


def is_model_file(source: str | os.PathLike) -> bool:
    """Returns whether a source is meant to be the file of a Keras model, by its name.

    Example:
        >>> is_model_file("mine.keras")
        True
    """
    path = pathlib.Path(source).expanduser()
    return path.suffix in (".h5", ".hdf5") or (path.suffix == ".keras" and not path.is_dir())


def from_file(source: str | os.PathLike, *, trust: bool = False, **options: Any) -> Backbone:
    """Reads the model in a file and makes a backbone of it.

    Args:
        source: The file.
        trust: Whether code in the file may run.
        **options: See `custom.from_model`.
    """
    read = read_keras if pathlib.Path(source).suffix == ".keras" else read_h5
    return custom.from_model(read(source, trust=trust), **options)


def read_keras(path: str | os.PathLike, *, trust: bool) -> keras.Model:
    """Loads the model of a `.keras` file, not compiled.

    Args:
        path: The file.
        trust: Whether code in the file (Lambda layers, SavedModels) may run. Only for files you trust.

    Raises:
        InputError: If there is no such file, it is broken or unsafe, it carries code that is not trusted, or a
            class in it is not registered.
        MissingExtraError: If the model has parts of KerasHub, which is not installed.

    Example:
        >>> keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="own")]).save("mine.keras")
        >>> read_keras("mine.keras", trust=False).layers[0].name
        'own'
    """
    file = pathlib.Path(path).expanduser()
    if not file.is_file() or file.suffix != ".keras":
        raise checks.error("`source` must be an existing .keras file", given=repr(str(path)))
    parts = keras_files.admit(file, trust=trust, argument="source", compiled=False)
    _check_registered(file, parts)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
            model = keras.models.load_model(file, compile=False, safe_mode=not trust)
    except checks.InputError:
        raise
    except keras_files.DAMAGED as failed:
        given = f"{str(file)!r} ({checks.first_line(failed)})"
        if "safe_mode" in str(failed) or "unsafe" in str(failed).lower():
            fix = "If you trust who made it, pass trust=True."
            raise checks.error("a model file must not carry code", given=given, fix=fix) from failed
        raise checks.error("`source` must be a whole Keras file", given=given) from failed
    if not isinstance(model, keras.Model):
        given = f"{str(file)!r}, of a {type(model).__name__}"
        raise checks.error("`source` must be the file of a model", given=given)
    return model


def _check_registered(file: pathlib.Path, parts: list[dict]) -> None:
    """Raises an error of one line for an unknown class; that of Keras holds the whole config."""
    known = {"builtins", *rebuilding.LOADED_BY_KERAS}
    for part in parts:
        name, module = part.get("registered_name"), str(part.get("module"))
        if not isinstance(name, str):
            continue
        is_own = name.startswith("keras_transfer>")
        if module.partition(".")[0] in known and not is_own:
            continue
        if keras.saving.get_registered_object(name) is None:
            fix = "Import the module that registers it."
            if is_own:
                fix = "Give the loaded model: kt.backbone(kt.load_model(path))."
            raise checks.error(
                "every class in a model file must be registered before it is loaded",
                given=f"{str(file)!r} with {name!r}",
                fix=fix,
            )
