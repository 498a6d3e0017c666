"""Nearest neighbours: is an image's label that of the images that look most like it?"""

import numpy as np

from keras_transfer.data import splits
from keras_transfer.features.scores import labels as checking

__all__ = ["knn"]

NEIGHBOURS = 5
TOGETHER = 1024  # images whose neighbours are looked for at a time


def knn(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    neighbours: int = NEIGHBOURS,
    groups: np.ndarray | None = None,
) -> float:
    """Returns the share of images whose nearest others, by the cosine of their features, vote for the right class.

    Of classes with as many votes that of the nearest counts. For numbers and tags it is the explained variance (R2) of
    the neighbours' mean, averaged over outputs.

    Args:
        features: `(images, features)`.
        labels: Class ids `(images,)`; numbers or tags `(images, outputs)`.
        neighbours: How many others vote.
        groups: A group for each image, such as its video: others of it do not vote. None: each is by itself.

    Returns:
        At most 1; more is better.

    Example:
        >>> apart = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
        >>> knn(apart, np.array([0, 0, 1, 1]), neighbours=1)
        1.0
    """
    values, answers = checking.check(features, labels)
    is_classes = answers.ndim == 1 and answers.dtype.kind != "f"
    wanted = checking.outputs(answers)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    values = values / np.where(lengths > 0, lengths, 1.0)
    groups = splits.shared_groups(groups, len(values))
    largest = 1 if groups is None else int(np.bincount(groups).max())
    count = min(neighbours, len(values) - largest)
    # Nearer neighbours have slightly more weight, which decides between classes with as many votes.
    weights = 1.0 + np.arange(count, 0, -1) / (1000.0 * count)
    if not is_classes:
        weights = np.ones(count)

    votes = np.empty_like(wanted)
    for start in range(0, len(values), TOGETHER):
        part = slice(start, start + TOGETHER)
        cosines = values[part] @ values.T
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -np.inf  # not itself
        if groups is not None:
            cosines[groups[part][:, None] == groups] = -np.inf
        nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        votes[part] = np.einsum("nkc,k->nc", wanted[nearest], weights / weights.sum())

    if is_classes:
        return float((votes.argmax(axis=1) == wanted.argmax(axis=1)).mean())
    return checking.explained(wanted, votes)
