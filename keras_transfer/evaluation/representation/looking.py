"""One pass of one or several networks over some of the images of data: features, labels and thumbnails."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any  # data and targets may be many things

import keras
import numpy as np

from keras_transfer.core import checks, labelled, lookup
from keras_transfer.data import adapt, batches
from keras_transfer.evaluation import examples
from keras_transfer.features import extraction
from keras_transfer.machine import progress

__all__ = ["Look", "average", "look", "select_batches"]

SPLITS = ("test", "validation", "train")


@dataclass(frozen=True)
class Look:
    """What was seen.

    Attributes:
        features: By title of the network and path of the layer: float32 (images, features), averaged over places.
        indices: Places of the images in their split.
        labels: One an image, or None.
        known: Whether an image has a label.
        class_names: Of labels that are class ids, or None.
        files: One an image, or None.
        thumbnails: uint8 RGB, one an image.
        split: Which split the images are of, or None.
    """

    features: dict[str, dict[str, np.ndarray]]
    indices: np.ndarray
    labels: np.ndarray | None
    known: np.ndarray
    class_names: list[str] | None
    files: list[str] | None
    thumbnails: list[np.ndarray | None]
    split: str | None

    def joined(self, title: str) -> np.ndarray:
        """Returns the features of all layers of a network side by side."""
        return np.concatenate(list(self.features[title].values()), axis=1)

    def name(self, number: int) -> str:
        """Returns how an image is called."""
        return self.files[number] if self.files else f"image {self.indices[number]}"

    def label(self, number: int) -> str:
        """Returns the label of an image in words, "" where there is none."""
        if self.labels is None or not self.known[number]:
            return ""
        value = self.labels[number]
        if self.class_names is not None:
            return self.class_names[int(value)]
        return ", ".join(f"{each:.4g}" for each in np.ravel(value))


def look(
    models: Mapping[str, keras.Model],
    data: Any,
    *,
    layers: Mapping[str, Any] | None = None,
    task: str | None = None,
    split: str | None = None,
    most: int | None = None,
    side: int = 32,
    seed: int = 0,
    verbose: str | int = "auto",
) -> Look:
    """Returns the features of images.

    Args:
        models: Networks by title, which take the same images.
        data: As for `kt.features.extract`.
        layers: By title, patterns of layers; by default the end of the trunk.
        task: Whose labels, where there are several.
        split: Of data from `kt.data`; by default the test split, else validation, else training.
        most: How many images, drawn at random where their number is known; None for all.
        side: Pixels of the longer side of thumbnails; 0 for none.
        seed: Of the draw.
        verbose: As for `kt.predict`.
    """
    taps = {}
    for title, model in models.items():
        taps[title], _ = extraction.find_taps(model, (layers or {}).get(title))
    splits, source = select_batches(next(iter(taps.values())), data, split)
    wanted = _draw(source.rows, most, seed)

    features: dict[str, dict[str, list]] = {title: {} for title in models}
    indices: list[np.ndarray] = []
    targets: list[Any] = []
    files: list[str] = []
    thumbnails: list[np.ndarray | None] = []
    first = 0
    for batch in progress.follow(
        source.read(), "Computing features", total=source.steps, verbose=verbose
    ):
        places = np.arange(first, first + len(batch.images))
        first += len(places)
        rows = np.flatnonzero(np.isin(places, wanted) if wanted is not None else places >= 0)
        images = np.asarray(batch.images)[rows]
        if not len(images):
            continue
        indices.append(places[rows])
        for title, tap in taps.items():
            for path, values in tap(images, training=False).items():
                features[title].setdefault(str(path), []).append(average(values))
        if batch.targets is not None:
            targets.append(_rows_of((batch.targets, batch.weights), rows))
        if batch.files is not None:
            files += [batch.files[row] for row in rows]
        if side:
            thumbnails += [examples.thumbnail(image, side=side) for image in images]
        if source.rows is None and most is not None and first >= most:
            break
    if not indices:
        raise checks.error("`data` must have at least one image", given="none")

    whole = {}
    for title, by_path in features.items():
        whole[title] = {path: np.concatenate(parts) for path, parts in by_path.items()}
    every = np.concatenate(indices)
    labels = weights = None
    if targets:
        labels, weights = keras.tree.map_structure(_concatenate, *targets)
    labels, known, class_names = _choose_labels(labels, weights, splits.class_names, task)
    known = np.ones(len(every), "bool") if known is None else known
    if not files and source.files is not None:
        files = [source.files[index] for index in every]
    return Look(whole, every, labels, known, class_names, files or None, thumbnails, source.split)


def select_batches(
    tap: keras.Model, data: Any, split: str | None
) -> tuple[adapt.Splits, batches.Batches]:
    """Returns the splits of data, and the batches of the wanted one."""
    splits = adapt.split(data, image_shape=tuple(tap.inputs[0].shape))
    if split is not None and None not in splits.parts:
        checks.choice(split, splits.parts, name="split")
    part = splits.first(*((split,) if split else SPLITS))
    if part is None:
        raise checks.error("`data` must have images", given="none")
    return splits, part.check("data", labelled=False)


def average(values: Any) -> np.ndarray:
    """Returns features averaged over places, float32 (images, features).

    Example:
        >>> average(np.ones((2, 4, 4, 3))).shape
        (2, 3)
    """
    values = keras.ops.convert_to_numpy(keras.ops.cast(values, "float32"))
    if values.ndim < 3:
        return values.reshape(len(values), -1)
    return values.reshape(len(values), -1, values.shape[-1]).mean(axis=1)


def _choose_labels(
    labels: Any, weights: Any, class_names: Any, task: str | None
) -> tuple[np.ndarray | None, np.ndarray | None, list[str] | None]:
    """Returns the labels of one task, which are known, and the names of its classes; None for labels with places."""
    if isinstance(labels, Mapping):
        name = next(iter(labels)) if task is None else task
        labels = lookup.find(name, labels, argument="task")
        weights = labelled.of_task(weights, name)
        class_names = (class_names or {}).get(name)
    if labels is None or labels.ndim > 2 or labels.dtype.kind not in "iubf":
        return None, None, None
    known = None
    if weights is not None:
        known = (np.asarray(weights).reshape(len(labels), -1) != 0).any(axis=1)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 or labels.dtype.kind == "f":
        return labels, known, None
    if not isinstance(class_names, list):
        class_names = [str(number) for number in range(int(labels.max(initial=0)) + 1)]
    return labels, known, class_names


def _draw(rows: int | None, most: int | None, seed: int) -> np.ndarray | None:
    """Returns the places of images that were drawn; None to take them as they come."""
    if most is None or rows is None or most >= rows:
        return None
    return np.random.default_rng(seed).choice(rows, most, replace=False)


def _rows_of(targets: Any, rows: np.ndarray) -> Any:
    def select(values: Any) -> Any:
        return None if values is None else np.asarray(values)[rows]

    return keras.tree.map_structure(select, targets)


def _concatenate(*parts: Any) -> Any:
    return None if parts[0] is None else np.concatenate(parts)
