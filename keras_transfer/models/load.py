"""`kt.load_model`: a saved model, with all that the package put into it."""

import os
import pathlib
import warnings

import keras

# Loading needs every registered class to be known: importing the rooms registers them.
from keras_transfer import backbones, layers, losses, tasks
from keras_transfer.core import checks

__all__ = ["load_model"]

REGISTERED = (backbones, layers, losses, tasks)


def load_model(path: str | os.PathLike, *, trust: bool = False) -> keras.Model:
    """Loads a `.keras` file, compiled as it was saved.

    Args:
        path: The file.
        trust: Whether code inside the file (Lambda layers) may run. Only for files that you made.

    Raises:
        InputError: If there is no such file, it is no Keras file, or it carries code that is not trusted.

    Example:
        >>> import keras_transfer as kt
        >>> load_model("absent.keras")
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `path` must be an existing .keras file. Given: 'absent.keras'.
    """
    file = pathlib.Path(path)
    if not file.is_file() or file.suffix != ".keras":
        raise checks.error("`path` must be an existing .keras file", given=repr(str(path)))
    try:
        with warnings.catch_warnings():
            # A model saved before it was ever trained has no slots to load: nothing is lost.
            never_trained = "Skipping variable loading for optimizer .* the saved optimizer has 2 variables"
            warnings.filterwarnings("ignore", message=never_trained)
            return keras.models.load_model(file, safe_mode=not trust)
    except (ValueError, OSError, KeyError, TypeError) as failed:
        reason = str(failed).strip().splitlines()[0]
        if "safe_mode" in str(failed) or "unsafe" in str(failed).lower():
            raise checks.error(
                "a model file must not carry code", given=repr(str(path)), fix="If you made it, pass trust=True."
            ) from failed
        raise checks.error("`path` must be a whole Keras file", given=f"{str(path)!r} ({reason})") from failed
