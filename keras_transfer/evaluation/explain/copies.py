"""Changed copies of images, asked about many at a time."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from keras_transfer.core import checks
from keras_transfer.evaluation.explain.subject import Subject

__all__ = ["check_fill", "evidence_of_copies", "filling", "gradients_of_copies"]

TOGETHER = 32  # changed copies in a pass through the model


def evidence_of_copies(
    model: Subject,
    images: np.ndarray,
    target: np.ndarray,
    change: Callable[[int], np.ndarray],
    count: int,
) -> np.ndarray:
    """Returns what speaks for the targets in changed copies of images, (copies, images).

    Args:
        model: Is asked.
        images: As the model takes them.
        target: Of each image.
        change: Returns all images, changed in the way of a number from 0 to `count - 1`.
        count: How many ways there are.
    """
    found = []
    for ways in _parts(range(count), len(images)):
        changed = np.concatenate([change(way) for way in ways])
        of_copies = model.of_targets(changed, np.tile(target, len(ways)))
        found.append(of_copies.reshape(len(ways), len(images)))
    return np.concatenate(found)


def gradients_of_copies(
    model: Subject,
    images: np.ndarray,
    target: np.ndarray,
    change: Callable[[int], np.ndarray],
    ways: Sequence[int],
) -> np.ndarray:
    """Returns the gradients of the targets' evidence by the pixels of changed copies, summed over the copies.

    Args:
        model: Is asked.
        images: As the model takes them.
        target: Of each image.
        change: Returns all images, changed in the way of a number.
        ways: The numbers.
    """
    total = np.zeros(images.shape, "float32")
    for part in _parts(ways, len(images)):
        changed = np.concatenate([change(way) for way in part])
        found = model.gradients_of_pixels(changed, np.tile(target, len(part)))
        total += found.reshape(len(part), *images.shape).sum(axis=0)
    return total


def _parts(ways: Sequence[int], images: int) -> Iterator[Sequence[int]]:
    """Yields the ways in parts, so that a pass has about as many copies as is quick."""
    step = max(1, TOGETHER // images)
    for first in range(0, len(ways), step):
        yield ways[first : first + step]


def check_fill(fill: float | str) -> float | str:
    """Returns what hidden places are filled with, if it is "mean" or a number.

    Example:
        >>> check_fill("mean")
        'mean'
    """
    if isinstance(fill, str):
        return checks.choice(fill, ("mean",), name="fill")
    return checks.number(fill, name="fill")


def filling(images: np.ndarray, fill: float | str) -> np.ndarray:
    """Returns the pixels that hidden places get, in a shape that fits `images`.

    Args:
        images: (images, height, width, channels).
        fill: "mean", of each image and channel, or a number.

    Example:
        >>> filling(np.full((1, 2, 2, 3), 8.0), "mean").ravel().tolist()
        [8.0, 8.0, 8.0]
    """
    if fill == "mean":
        return images.mean(axis=(1, 2), keepdims=True, dtype="float32")
    return np.full((1, 1, 1, 1), fill, "float32")
