"""Labels that look wrong: to a linear classifier on a network's features, trained on other images, they are unlikely.

A label is suspected where another class is at least 20 times as likely. Of 5 % labels changed at random in caltech24,
with MobileNetV2 at 128 pixels, that finds 8 in 10, and 9 in 10 of those it tells are wrong. Confident learning
(Northcutt, Jiang and Chuang, 2021) asks whether another class is as likely as for its own images on average: on the
same probabilities it found 6 in 10, and 3 in 10 of those it told were wrong. The others are of classes that are hard to
tell apart, and their label comes second, not last.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_transfer import backbones, features
from keras_transfer.core import checks
from keras_transfer.data import batches
from keras_transfer.layers import marks
from keras_transfer.studies.doctor import base
from keras_transfer.training.methods import linear_models

__all__ = ["check", "probabilities", "suspects"]

FOLDS = 5
STRENGTH = 0.3 / 1280  # of the penalty, for each image and each feature
UNLIKELY = 0.05  # how likely a label may be, by the likeliest class
WEAK = 0.6  # accuracy below which the network says little about labels
LEAST = 4  # images of a class that can be told from others
MOST = 50_000  # images that are looked at: more are drawn


def check(case: base.Case) -> Iterator[base.Finding]:
    """Yields the images of each task whose label looks wrong, the surest first, if that was asked for."""
    if not case.labels:
        return
    for of, column in case.kinds("category"):
        labels = np.asarray(column.targets)
        rows = np.flatnonzero(column.present & (case.pictures.heights > 0))
        rows = _draw(rows, case.seed)
        counts = np.bincount(labels[rows].clip(0))
        rows = rows[(labels[rows] >= 0) & (counts[labels[rows].clip(0)] >= LEAST)]
        if len(np.unique(labels[rows])) < 2:
            continue

        seen, values = _features(case, rows)
        rows, values = rows[seen], values[seen]
        classes, ids = np.unique(labels[rows], return_inverse=True)
        shares = probabilities(values, ids, seed=case.seed)
        case.facts.setdefault("probe", {})[of] = (rows, shares.argmax(axis=1) == ids)
        found, other = suspects(shares, ids)
        if not len(found):
            continue

        names = [str((column.names or classes)[label]) for label in classes]
        captions = [f"{names[ids[at]]}, looks like {names[other[at]]}" for at in found]
        accuracy = float((shares.argmax(axis=1) == ids).mean())
        is_weak = accuracy < WEAK
        doubt = f"; the network tells only {accuracy:.0%} of all images right" if is_weak else ""
        yield case.finding(
            "note" if is_weak else "warning",
            f"{base.count(len(found), 'label')}{of} of {len(rows):,} may be wrong{doubt}",
            rows[found],
            fix="Look at them, and correct or remove those that are wrong.",
            details={
                "labels": [names[ids[at]] for at in found],
                "likely": [names[other[at]] for at in found],
                "probe_accuracy": round(accuracy, 4),
            },
            captions=tuple(captions[: base.SHOWN]),
        )


def probabilities(values: np.ndarray, ids: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Returns how likely each class is for each row, by a linear classifier that was trained on other rows.

    Args:
        values: Features `(n, features)`.
        ids: Class ids from 0, each of them present.
        seed: Of the folds.

    Example:
        >>> values = np.repeat([[0.0], [1.0]], 10, axis=0)
        >>> probabilities(values, np.repeat([0, 1], 10)).shape
        (20, 2)
    """
    classes = int(ids.max()) + 1
    fold_of = linear_models.folds(len(ids), FOLDS, seed=seed, labels=ids)
    rows = np.eye(classes)[ids]
    shares = np.zeros((len(ids), classes))
    for fold in range(FOLDS):
        held = fold_of == fold
        scale = linear_models.scaling(values[~held])
        inputs = scale(values[~held]).astype("float32")
        strength = STRENGTH * inputs.size
        head = linear_models.softmax(inputs, rows[~held], strength, tolerance=1e-4)
        logits = head(scale(values[held]))
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares[held] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return shares


def suspects(shares: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows whose label looks wrong, the surest first, and the likeliest class of every row.

    Args:
        shares: As `probabilities` returns them.
        ids: The given class ids.

    Example:
        >>> shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.99, 0.01]])
        >>> suspects(shares, np.array([0, 0, 1, 1]))[0].tolist()
        [3]
    """
    places = np.arange(len(ids))
    likely = shares.argmax(axis=1)
    given, best = shares[places, ids], shares[places, likely]
    is_suspect = (likely != ids) & (given < UNLIKELY * best)
    found = np.flatnonzero(is_suspect)
    return found[np.argsort(given[found] / best[found], kind="stable")], likely


def _draw(rows: np.ndarray, seed: int) -> np.ndarray:
    if len(rows) <= MOST:
        return rows
    checks.note(
        f"wrong labels are looked for among {MOST:,} of {len(rows):,} images, drawn at random"
    )
    return np.sort(np.random.default_rng(seed).choice(rows, MOST, replace=False))


def _features(case: base.Case, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns which of the pictures the network can read, bool `(rows,)`, and their features, 0 for the others."""
    trunk = case.model
    if trunk is None or not marks.representations(trunk):
        checks.note('wrong labels are looked for with the features of kt.backbone("tiny")')
        trunk = backbones.backbone("tiny")
    size: Any = tuple(trunk.inputs[0].shape[1:3])
    if None in size:
        size = case.image_size or (224, 224)
        trunk = _fixed(trunk, size)

    place = {int(row): at for at, row in enumerate(rows)}
    seen = np.zeros(len(rows), bool)
    values = np.zeros((len(rows), 1), "float32")
    for split in dict.fromkeys(case.splits.tolist()):
        inside = np.flatnonzero(case.splits == split)
        part = case.parts.get(split)
        chosen = inside[np.isin(inside, rows)]
        if not len(chosen):
            continue
        if part is None or part.files is not None:
            own, kept = _of_files(case, trunk, chosen)
        else:
            own = _of_batches(case, trunk, part, size)[np.isin(inside, rows)]
            kept = chosen
        if values.shape[1] != own.shape[1]:
            values = np.zeros((len(rows), own.shape[1]), "float32")
        places = [place[int(row)] for row in kept]
        values[places], seen[places] = own, True
    return seen, values


def _fixed(trunk: keras.Model, size: tuple[int, int]) -> keras.Model:
    """Returns the network for images of one size."""
    images = keras.Input((*size, trunk.inputs[0].shape[-1]))
    return keras.Model(images, trunk(images))


def _of_files(
    case: base.Case, trunk: keras.Model, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the features of those files that can be read, and their rows."""
    names = [case.pictures.names[row] for row in rows]
    found = features.extract(trunk, names, pooling="avg", corrupt="skip", verbose=case.verbose)
    read = set(found.files or ())
    kept = np.array([row for row, name in zip(rows, names, strict=True) if name in read])
    return np.asarray(found), kept


def _of_batches(
    case: base.Case, trunk: keras.Model, part: batches.Batches, size: tuple
) -> np.ndarray:
    """Returns the features of all images of a split, resized where the network takes another size."""

    def resized(images: tf.Tensor, *answers: Any) -> tuple:
        images = tf.cast(images, tf.float32)
        if tuple(images.shape[1:3]) != size:
            images = tf.image.resize(images, size, antialias=True)
        return images, *answers[:1]

    found = features.extract(trunk, part.dataset.map(resized), pooling="avg", verbose=case.verbose)
    given = keras.tree.flatten(case.answers[part.split or ""])
    for first, second in zip(given, keras.tree.flatten(found.targets), strict=True):
        if not np.array_equal(first, second):
            expected = "`data` must come in the same order in every pass"
            fix = "Leave out `shuffle`, or give arrays or data from kt.data."
            raise checks.error(expected, given="another order in the second one", fix=fix)
    return np.asarray(found)
