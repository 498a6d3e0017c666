"""What the network sees first: the first training batch, with its random changes, as a picture for the report."""

import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any  # names are a list, or a dict of lists

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.data import base, contact, distribution, pipeline
from keras_transfer.layers import marks
from keras_transfer.storage import files
from keras_transfer.training import augmenting, inputs

__all__ = ["FILE", "count_labels", "drawer", "write"]

FILE = "train_batch0.png"  # in the folder of a run
LARGEST = 64  # images; of a larger batch, the first ones are changed and mixed with one another
CHANNELS = (1, 3, 4)  # of pictures


def drawer(
    model: keras.Model, given: inputs.Inputs, *, seed: int | None
) -> Callable[[], bytes] | None:
    """Returns a function that draws the first training batch as a PNG; it holds that batch only, not the data.

    Args:
        model: To train.
        given: The data, with random changes.
        seed: Of the changes.

    Returns:
        None where the first batch is not known without another pass over the data, or has no pictures.
    """
    if given.source is None or given.source.channels not in CHANNELS:
        return None
    element, names = _read(given.source, given.targets), _class_names(model, given)
    if given.changes is None:
        return functools.partial(_draw, element, names)

    change = functools.partial(
        given.changes.batch,
        seed=seed or 0,
        classes=augmenting.classes_of(model, given),
        moving=given.moving,
    )
    return functools.partial(_draw, element, names, change)


def write(draw: Callable[[], bytes] | None, folder: pathlib.Path) -> None:
    """Writes the picture into the folder of a run; one of an earlier run is deleted."""
    path = folder / FILE
    path.unlink(missing_ok=True)
    if draw is None:
        return
    try:
        with files.replacing(path) as temporary:
            temporary.write_bytes(draw())
    except OSError as failed:
        checks.note(f"The picture {path} could not be written ({failed}); training goes on.")


def count_labels(model: keras.Model, given: inputs.Inputs) -> dict:
    """Returns tables of how many images of each split have each label: see `distribution.tabulate`."""
    if given.targets is None:
        return {}
    targets, weights = {"train": given.targets}, {"train": given.weights}
    if given.source is not None:
        kept = list(given.targets) if isinstance(given.targets, Mapping) else []
        for split, examples in given.source.examples.items():
            targets[split], *own = inputs.narrow(examples.answers, kept)
            weights[split] = own[0] if own else None
    return distribution.tabulate(targets, _class_names(model, given), weights)


def _class_names(model: keras.Model, given: inputs.Inputs) -> Any:
    """Returns the names of classes: those of the data, else of the model's tasks."""
    if given.class_names is not None:
        return given.class_names
    names = {name: layer.task.class_names for name, layer in marks.outputs(model).items()}
    return names if isinstance(given.targets, Mapping) else next(iter(names.values()), None)


def _read(source: base.Data, targets: object) -> tuple:
    """Returns the first training batch without changes, images as uint8 where they are whole.

    Args:
        source: The data.
        targets: Those that are learned; a dict where the data has several.
    """
    rows = source.order(0)[: min(source.batch_size, LARGEST)]
    examples = source.examples["train"].pick(rows)
    batches = pipeline.batches(examples, size=source.image_size, batch_size=len(rows))
    images, *answers = next(iter(batches))
    if isinstance(targets, Mapping):
        answers = inputs.narrow(answers, targets)
    pixels = images.numpy()
    whole = pixels.astype(np.uint8)
    return (whole if (whole == pixels).all() else pixels), *answers


def _draw(
    element: tuple, class_names: object, change: Callable[[tuple], tuple] | None = None
) -> bytes:
    element = element if change is None else change(element)
    images, targets, *weights = tf.nest.map_structure(np.asarray, element)
    return contact.png(images, targets, class_names, weights[0] if weights else None)
