"""`kt.load_model`: a saved model, with all that the package put into it."""

import os
import pathlib
import warnings

import keras

from keras_transfer import backbones, layers, losses, optimizers, tasks
from keras_transfer.core import checks
from keras_transfer.storage import keras_files

__all__ = ["load_model"]

# Keras finds the classes in a file only if they are registered, and importing these rooms registers them.
REGISTERED = (backbones, layers, losses, optimizers, tasks)


def load_model(path: str | os.PathLike, *, trust: bool = False) -> keras.Model:
    """Loads a `.keras` file, compiled as it was saved.

    A file that holds a TensorFlow SavedModel (see `layers.SavedModelLayer`) needs nothing beside it.

    Args:
        path: The file.
        trust: Whether code inside the file (Lambda layers, SavedModels) may run. Only for files that you made.

    Raises:
        InputError: If there is no such file, it is no Keras file, or it carries code that is not trusted.
        MissingExtraError: If the model has parts of KerasHub, which is not installed.

    Example:
        >>> import keras_transfer as kt
        >>> load_model("absent.keras")
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `path` must be an existing .keras file. Given: 'absent.keras'.
    """
    file = pathlib.Path(path)
    if not file.is_file() or file.suffix != ".keras":
        raise checks.error("`path` must be an existing .keras file", given=repr(str(path)))
    keras_files.admit(file, trust=trust)
    return _loaded(file, trust=trust)


def _loaded(file: pathlib.Path, *, trust: bool) -> keras.Model:
    try:
        with warnings.catch_warnings():
            # A model saved before it was ever trained has no slots to load: nothing is lost. With a scaled loss it
            # has 4 variables.
            never_trained = (
                "Skipping variable loading for optimizer .* the saved optimizer has [24] variables"
            )
            warnings.filterwarnings("ignore", message=never_trained)
            return keras.models.load_model(file, safe_mode=not trust)
    except checks.InputError:
        raise
    except keras_files.DAMAGED as failed:
        reason = checks.first_line(failed)
        if "safe_mode" in str(failed) or "unsafe" in str(failed).lower():
            raise checks.error(
                "a model file must not carry code",
                given=repr(str(file)),
                fix="If you made it, pass trust=True.",
            ) from failed
        raise checks.error(
            "`path` must be a whole Keras file", given=f"{str(file)!r} ({reason})"
        ) from failed
