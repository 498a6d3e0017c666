"""The process that compiles a saved model for a TPU, with Keras on JAX.

    python -c COMMAND FOLDER TOPOLOGY

FOLDER has the model and the shapes of a batch; the answer is written beside them.
"""

import json
import pathlib
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any  # a batch is a tree

import keras

from keras_transfer.core import checks, optional
from keras_transfer.machine import tpu_programs, tpu_topologies
from keras_transfer.models import load
from keras_transfer.storage import files

__all__ = ["ANSWER", "BATCH", "COMMAND", "MODEL", "describe", "main", "restore"]

MODEL, BATCH, ANSWER = "model.keras", "batch.json", "answer.json"
COMMAND = "from keras_transfer.studies.tpu import process; process.main()"


def describe(batch: Any) -> Any:
    """Returns the shapes and types of a batch as plain values.

    Example:
        >>> describe((keras.ops.zeros((2, 3)), {"kind": keras.ops.zeros(2, "int32")}))
        [{'shape': [2, 3], 'dtype': 'float32'}, {'kind': {'shape': [2], 'dtype': 'int32'}}]
    """
    if isinstance(batch, Mapping):
        return {name: describe(part) for name, part in batch.items()}
    if isinstance(batch, tuple | list):
        return [describe(part) for part in batch]
    return {"shape": list(batch.shape), "dtype": keras.backend.standardize_dtype(batch.dtype)}


def restore(described: Any) -> Any:
    """Returns a batch of shapes and types, of what `describe` returned."""
    if isinstance(described, list):
        return tuple(restore(part) for part in described)
    if set(described) == {"shape", "dtype"} and isinstance(described["dtype"], str):
        return Spec(tuple(described["shape"]), described["dtype"])
    return {name: restore(part) for name, part in described.items()}


class Spec:
    """Shape and type of an array."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self.shape, self.dtype = shape, dtype


def _answer(folder: pathlib.Path, topology: str) -> dict[str, Any]:
    try:
        model = load.load_model(folder / MODEL, trust=True)  # the user's own model, saved just now
        batch = restore(json.loads((folder / BATCH).read_text(encoding="utf-8")))
        program = tpu_programs.compile_step(model, batch, tpu_topologies.find(topology))
    except optional.MissingExtraError as missing:
        return {"missing": str(missing)}
    except (checks.InputError, TypeError, ValueError) as refused:
        return {"refused": checks.first_line(refused)}
    return asdict(program)


def main() -> None:
    """Reads what the command line names, and writes the answer."""
    folder, topology = pathlib.Path(sys.argv[1]), sys.argv[2]
    files.write_text(folder / ANSWER, json.dumps(_answer(folder, topology)))
