"""Features and labels as scores take them, checked."""

import numpy as np

from keras_transfer.core import checks

__all__ = ["check", "class_ids", "explained", "one_hot", "outputs", "probabilities"]


def check(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns features as float64 `(images, features)`, and labels, a row for each image.

    Example:
        >>> check([[1, 2], [3, 4]], [0, 1])[0].dtype
        dtype('float64')
    """
    values, answers = np.asarray(features, "float64"), np.asarray(labels)
    if values.ndim != 2 or not values.shape[1]:
        fix = "Pool maps: kt.features.extract(..., pooling='avg')."
        expected = "`features` must have shape (images, features)"
        raise checks.error(expected, given=values.shape, fix=fix)
    if len(values) != len(answers) or len(values) < 2:
        given = f"{len(values)} and {len(answers)}"
        raise checks.error("there must be a label for each of two images or more", given=given)
    if not np.isfinite(values).all():
        at = int(np.argmax(~np.isfinite(values).all(axis=1)))
        raise checks.error("`features` must be finite", given=f"row {at}, which is not")
    return values, answers


def class_ids(labels: np.ndarray) -> np.ndarray:
    """Returns class ids from 0, without gaps; an error for labels that are no classes, or one class.

    Example:
        >>> class_ids(np.array([7, 3, 7])).tolist()
        [1, 0, 1]
    """
    if labels.ndim != 1 or labels.dtype.kind == "f":
        given = f"{labels.dtype} of shape {labels.shape}"
        raise checks.error("`labels` must be classes, one an image", given=given)
    classes, ids = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise checks.error("`labels` must have two classes or more", given=len(classes))
    return ids


def one_hot(ids: np.ndarray) -> np.ndarray:
    """Returns a column for each class.

    Example:
        >>> one_hot(np.array([1, 0])).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    return np.eye(int(ids.max()) + 1)[ids]


def outputs(labels: np.ndarray) -> np.ndarray:
    """Returns what is regressed on, `(images, outputs)`: a column for each class, or the numbers or tags themselves.

    Example:
        >>> outputs(np.array([0, 1])).shape, outputs(np.array([0.5, 1.5])).shape
        ((2, 2), (2, 1))
    """
    if labels.ndim == 1 and labels.dtype.kind != "f":
        return one_hot(class_ids(labels))
    return labels.reshape(len(labels), -1).astype("float64")


def probabilities(values: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the probabilities of source classes and the class ids, checked.

    Example:
        >>> probabilities([[0.5, 0.5], [0.0, 1.0]], [0, 1])[1].tolist()
        [0, 1]
    """
    shares, answers = check(values, labels)
    if (shares < 0).any() or not np.allclose(shares.sum(axis=1), 1, atol=1e-3):
        sums = shares.sum(axis=1)
        expected = "`features` must be probabilities of source classes, which add up to 1"
        raise checks.error(expected, given=f"sums from {sums.min():.3g} to {sums.max():.3g}")
    return shares, class_ids(answers)


def explained(wanted: np.ndarray, predicted: np.ndarray) -> float:
    """Returns the explained variance (R2), the mean over outputs that vary.

    Example:
        >>> explained(np.array([[0.0], [2.0]]), np.array([[0.0], [1.0]]))  # 1 - 1 / 2
        0.5
    """
    rest = ((wanted - predicted) ** 2).sum(axis=0)
    total = ((wanted - wanted.mean(axis=0)) ** 2).sum(axis=0)
    varies = total > 0
    return float((1 - rest[varies] / total[varies]).mean()) if varies.any() else 0.0
