"""A `.keras` file as a source: its model, not compiled."""

import os
import pathlib
import warnings
import zipfile

import keras

from keras_transfer.backbones import rebuilding
from keras_transfer.core import checks
from keras_transfer.storage import keras_files

__all__ = ["read_keras"]


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
    _refuse_unknown(file, keras_files.admit(file, trust=trust, argument="source", compiled=False))
    model = _loaded(file, trust=trust)
    if not isinstance(model, keras.Model):
        raise checks.error(
            "`source` must be the file of a model",
            given=f"{str(file)!r}, of a {type(model).__name__}",
        )
    return model


def _refuse_unknown(file: pathlib.Path, parts: list[dict]) -> None:
    """Says in a line what Keras says with the whole config."""
    for part in parts:
        name, module = part.get("registered_name"), str(part.get("module"))
        if not isinstance(name, str) or module.partition(".")[0] in {
            "builtins",
            *rebuilding.LOADED_BY_KERAS,
        }:
            continue
        if keras.saving.get_registered_object(name) is None:
            fix = "Import the module that registers it."
            if name.startswith("keras_transfer>"):
                fix = "Give the loaded model: kt.backbone(kt.load_model(path))."
            raise checks.error(
                "every class in a model file must be registered before it is loaded",
                given=f"{str(file)!r} with {name!r}",
                fix=fix,
            )


def _loaded(file: pathlib.Path, *, trust: bool) -> keras.Model:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
            return keras.models.load_model(file, compile=False, safe_mode=not trust)
    except checks.InputError:
        raise
    except (ValueError, OSError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as failed:
        given = f"{str(file)!r} ({checks.first_line(failed)})"
        if "safe_mode" in str(failed) or "unsafe" in str(failed).lower():
            fix = "If you trust who made it, pass trust=True."
            raise checks.error("a model file must not carry code", given=given, fix=fix) from failed
        raise checks.error("`source` must be a whole Keras file", given=given) from failed
