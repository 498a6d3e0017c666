"""Writing a SavedModel where Keras runs on JAX: a process with Keras on TensorFlow does it, from a `.keras` file."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import keras

import keras_transfer
from keras_transfer.core import checks
from keras_transfer.serving import interface, saved_model
from keras_transfer.storage import files

__all__ = ["main", "write"]

MODEL, ANSWER = "model.keras", "answer.json"
COMMAND = (
    "import sys, keras_transfer as kt; from keras_transfer.serving import process; "
    # Written by the calling process a moment ago.
    "process.main(kt.load_model(sys.argv[1] + '/model.keras', trust=True), *sys.argv[1:])"
)


def write(face: interface.Interface, folder: pathlib.Path) -> str:
    """Writes what `saved_model.write` does, from another process, and says what was written.

    Raises:
        InputError: If TensorFlow cannot load or call the model.
    """
    root = pathlib.Path(keras_transfer.__file__).parent.parent
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {"KERAS_BACKEND": "tensorflow", "PYTHONPATH": os.pathsep.join(paths)}
    with tempfile.TemporaryDirectory() as name:
        place = pathlib.Path(name)
        face.model.save(place / MODEL)
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, name, str(folder), face.answer_size],
            env={**os.environ, **settings},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        answer = place / ANSWER
        if not answer.is_file():
            lines = done.stderr.strip().splitlines() or ["nothing was printed"]
            raise checks.error(
                "`model` must be one that Keras's TensorFlow backend can load and call",
                given=f"{face.model.name!r} ({lines[-1]})",
                fix="Save it as .keras, and call kt.export in a process with KERAS_BACKEND=tensorflow.",
            )
        told = json.loads(answer.read_text(encoding="utf-8"))
    return f"{told}, written by TensorFlow"


def main(model: keras.Model, place: str, folder: str, answer_size: str) -> None:
    """Writes the SavedModel of a model to a folder, and the answer beside the model's file."""
    face = interface.Interface.of(model, answer_size=answer_size)
    told = saved_model.write(face, pathlib.Path(folder))
    files.write_text(pathlib.Path(place) / ANSWER, json.dumps(told))
