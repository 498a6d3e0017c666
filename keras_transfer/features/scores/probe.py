"""The cross-validated probe: how well a linear model on the features does on images that it has not seen."""

import numpy as np

from keras_transfer.data import splits
from keras_transfer.features.scores import labels as checking

__all__ = ["probe"]

FOLDS = 5
STRENGTHS = tuple(10.0**power for power in range(-4, 2))  # times the mean variance, for each image


def probe(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    folds: int = FOLDS,
    groups: np.ndarray | None = None,
) -> float:
    """Returns the accuracy of ridge regression on one column for each class, on folds that it was not fitted to.

    The strength of the penalty is the best one of a few, the same for all folds. For numbers and tags it is the
    explained variance (R2), averaged over outputs.

    Args:
        features: `(images, features)`.
        labels: Class ids `(images,)`; numbers or tags `(images, outputs)`.
        folds: How many; fewer where there are fewer images or groups.
        groups: A group for each image, such as its video: none is in two folds. None: each is by itself.

    Returns:
        At most 1; more is better.

    Example:
        >>> apart = np.repeat([[0.0], [1.0]], 10, axis=0)
        >>> probe(apart, np.repeat([0, 1], 10))
        1.0
    """
    values, answers = checking.check(features, labels)
    is_classes = answers.ndim == 1 and answers.dtype.kind != "f"
    wanted = checking.outputs(answers)
    groups = splits.shared_groups(groups, len(values))
    if groups is None:
        fold_of = _deal(wanted, min(folds, len(values)), is_classes=is_classes)
    else:
        ids = wanted.argmax(axis=1) if is_classes else np.zeros(len(wanted), int)
        fold_of = splits.fold_groups(ids, groups, folds)
    predicted = np.zeros((len(STRENGTHS), *wanted.shape))
    for fold in np.unique(fold_of):
        held = fold_of == fold
        predicted[:, held] = _predict(values[~held], wanted[~held], values[held])
    if is_classes:
        right = predicted.argmax(axis=2) == wanted.argmax(axis=1)
        return float(right.mean(axis=1).max())
    return max(checking.explained(wanted, each) for each in predicted)


def _deal(wanted: np.ndarray, folds: int, *, is_classes: bool) -> np.ndarray:
    """Returns the fold of each image; every fold has about the same share of each class."""
    order = np.random.default_rng(0).permutation(len(wanted))
    if is_classes:
        order = order[np.argsort(wanted.argmax(axis=1)[order], kind="stable")]
    fold_of = np.empty(len(wanted), int)
    fold_of[order] = np.arange(len(wanted)) % folds
    return fold_of


def _predict(x: np.ndarray, y: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns what ridge regressions of all strengths, fitted to `x` and `y`, say about other features."""
    middle, target = x.mean(axis=0), y.mean(axis=0)
    x = x - middle
    left, singular, right = np.linalg.svd(x, full_matrices=False)
    scale = float((x**2).mean()) or 1.0
    rotated, along = left.T @ (y - target), (others - middle) @ right.T
    found = []
    for strength in STRENGTHS:
        penalty = strength * scale * len(x)
        shrunk = rotated * (singular / (singular**2 + penalty))[:, None]
        found.append(along @ shrunk + target)
    return np.array(found)
