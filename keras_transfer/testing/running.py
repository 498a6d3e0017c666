"""What the contract checks share: running them by name, random images, and saving and loading."""

import pathlib
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

import keras_transfer as kt

__all__ = ["check_reloads_equal", "make_images", "rebuild", "reload", "require", "run"]


def run(checks: Iterable[Callable[..., None]], *arguments: object) -> None:
    """Runs each check; an `AssertionError` gets the check's name in front of its message."""
    for check in checks:
        try:
            check(*arguments)
        except AssertionError as failure:
            raise AssertionError(f"{check.__name__}: {failure}") from failure


def require(holds: bool, message: str) -> None:
    """Raises an `AssertionError` with `message` if `holds` is False; works under `python -O`, too."""
    if not holds:
        raise AssertionError(message)


def make_images(model: keras.Model, count: int = 4) -> np.ndarray:
    """Returns random uint8 images of the model's input size, 64 pixels where it is open."""
    sides = (side or 64 for side in model.input_shape[1:])
    return np.random.default_rng(0).integers(0, 256, (count, *sides), dtype="uint8")


def rebuild(thing: Any) -> Any:
    """Makes any Keras-serialisable object again from its config."""
    return keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(thing))


def reload(model: keras.Model) -> keras.Model:
    """Saves the model as a `.keras` file and loads it again."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "model.keras"
        model.save(file)
        return kt.load_model(file, trust=True)


def check_reloads_equal(model: keras.Model) -> None:
    """Checks that a saved and loaded model gives the same outputs to the bit."""
    images = make_images(model)
    expected = model.predict_on_batch(images)
    reloaded = reload(model).predict_on_batch(images)
    keras.tree.map_structure(np.testing.assert_array_equal, reloaded, expected)
