"""Checks a `.keras` file from anybody before Keras loads it.

Code in the file (lambdas, SavedModels) is refused unless the user trusts it; trusted SavedModels are copied out for
the layers that Keras will make. Until Keras reads it, the config is only data.
"""

import os
import pathlib
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator

from keras_transfer.core import checks, optional
from keras_transfer.storage import archives, saved_models

__all__ = ["DAMAGED", "admit"]

# Python bytecode, and layers that are programs. A Lambda of a registered function holds no code.
_CODE = {
    "__lambda__": "a lambda",
    "SavedModelLayer": "a SavedModel",
    "TFSMLayer": "a SavedModel",
    "TorchModuleWrapper": "a torch module",
}
# What Keras, h5py and zipfile raise for damaged bytes; a NotImplementedError is a RuntimeError.
DAMAGED = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
    struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_WHAT = "whole Keras file"


def admit(
    path: str | os.PathLike, *, trust: bool, argument: str = "path", compiled: bool = True
) -> list[dict]:
    """Checks a file that Keras shall load, and copies its SavedModels out for their layers.

    Args:
        path: The file.
        trust: Whether code in it may run.
        argument: The name of the user's argument, for the error.
        compiled: Whether Keras will also compile the model, with the losses in the file.

    Returns:
        Every dict in the config, however deep.

    Raises:
        InputError: If the file is broken or unsafe, or it carries code that is not trusted.
        MissingExtraError: If the model has parts of KerasHub, which is not installed.

    Example:
        >>> import keras
        >>> keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="own")]).save("own.keras")
        >>> [part["class_name"] for part in admit("own.keras", trust=False) if "class_name" in part][0]
        'Sequential'
    """
    file = pathlib.Path(path)
    config = archives.read_json(file, "config.json", argument=argument, what=_WHAT)
    if not isinstance(config, dict):
        raise checks.error(
            f"`{argument}` must be a {_WHAT}", given=f"{str(path)!r} (its config is no dict)"
        )
    if not compiled:
        config.pop("compile_config", None)
    parts = list(_parts(config))
    ending = f"/{saved_models.FILE}"
    names = archives.names(file, argument=argument, what=_WHAT)
    modules = [name for name in names if name.startswith("assets/") and name.endswith(ending)]
    code = [_CODE[part["class_name"]] for part in parts if str(part.get("class_name")) in _CODE]
    code += ["a SavedModel"] * len(modules)
    if code and not trust:
        raise checks.error(
            "a model file must not carry code",
            given=f"{str(path)!r}, with {code[0]}",
            fix="If you trust who made it, pass trust=True.",
        )

    origins = [str(part.get(key)) for part in parts for key in ("module", "registered_name")]
    if any(origin.startswith("keras_hub") for origin in origins):
        optional.require("keras_hub", extra="kerashub", purpose=f"Loading {file.name}")
    for name in modules:
        with tempfile.TemporaryDirectory(dir=archives.scratch()) as folder:
            prefix = name.removesuffix(saved_models.FILE)
            archives.extract(file, prefix, folder, argument=argument, what=_WHAT)
            saved_models.keep(folder)
    return parts


def _parts(config: dict) -> Iterator[dict]:
    """Yields every dict in the config, without recursion: a config may be nested as deep as its author likes."""
    waiting: list = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
