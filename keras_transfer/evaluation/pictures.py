"""Copies of image files with the model's answers drawn on them."""

import os
import pathlib
from typing import Any  # predictions and tasks

import numpy as np

from keras_transfer.core import checks

__all__ = ["read", "save"]

SIDE = 1600  # pixels of the longer side at most


def save(predictions: Any, folder: str | os.PathLike) -> list[str]:
    """Writes the pictures of `Predictions.save_pictures`, and returns their files.

    Args:
        predictions: With `drawn_by`: by name, a task and its outputs for all images.
        folder: Where to.
    """
    files = [row.get("file") for row in predictions]
    if None in files:
        raise checks.error("`save_pictures` needs predictions of image files", given="arrays")
    root = pathlib.Path(folder)
    root.mkdir(parents=True, exist_ok=True)

    written: list[str] = []
    taken: set[str] = set()
    for index, file in enumerate(files):
        picture = read(file)
        for name, (task, outputs) in predictions.drawn_by.items():
            size = predictions.image_size or picture.shape[:2]
            drawn = task.draw(picture, outputs[index], image_size=size)
            if drawn is None:
                continue
            end = f"_{name}" if len(predictions.drawn_by) > 1 else ""
            written.append(str(_write(drawn, root, f"{pathlib.Path(file).stem}{end}", taken)))
    if not written:
        raise checks.error(
            "`save_pictures` needs a task with boxes or masks", given=", ".join(predictions.tasks)
        )
    return written


def read(file: str) -> np.ndarray:
    """Returns the picture in a file as it is shown, uint8 RGB, made smaller if it is large."""
    from PIL import Image, ImageOps

    with Image.open(file) as opened:
        picture = ImageOps.exif_transpose(opened).convert("RGB")
    picture.thumbnail((SIDE, SIDE))
    return np.asarray(picture)


def _write(picture: np.ndarray, root: pathlib.Path, name: str, taken: set[str]) -> pathlib.Path:
    """Writes a picture under a name that no other of this call has."""
    from PIL import Image

    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free)
    path = root / f"{free}.jpg"
    Image.fromarray(picture).save(path, quality=90)
    return path
