"""Arrays in `.npz` files of a run folder: written as a whole, and checked before they go into variables."""

import pathlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_transfer.core import checks, processes
from keras_transfer.storage import files

__all__ = ["assign", "read", "write"]


def write(file: pathlib.Path, arrays: Mapping[str, Any], *, what: str) -> bool:
    """Writes arrays and returns whether that worked: a full disk costs a note, not the run.

    Of several processes that train together only the first one writes.

    Args:
        file: Where.
        arrays: By name.
        what: How the note calls them.
    """
    if not processes.writes():
        return True
    # Not HDF5: when its writes fail on a full disk, its open handles can take the process down later.
    try:
        with files.undisturbed(), files.replacing(file) as temporary:
            np.savez(temporary, **arrays)
    except OSError as failed:
        reason = failed.strerror or checks.first_line(failed)
        checks.note(f"{what} could not be written to {file} ({reason}); training goes on.")
        return False
    return True


def read(file: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a file by name; nothing is unpickled."""
    with np.load(file, allow_pickle=False) as saved:
        return dict(saved)


def assign(variables: Mapping[str, keras.Variable], values: Mapping[str, np.ndarray]) -> None:
    """Puts values into variables, by name.

    Raises:
        InputError: If they are of another model; nothing has been changed then.
    """
    expected = "`run_dir` must be of a run of this model"
    if set(values) != set(variables):
        different = sorted(set(values) ^ set(variables))[0]
        raise checks.error(expected, given=f"{different!r} in one of them only")
    for name, variable in variables.items():
        if values[name].shape != tuple(variable.shape):
            given = f"{name!r} of shape {values[name].shape}, not {tuple(variable.shape)}"
            raise checks.error(expected, given=given)
    for name, variable in variables.items():
        variable.assign(values[name])
