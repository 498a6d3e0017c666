"""H-score: how much of the features' variance lies between the classes."""

import numpy as np
from sklearn import covariance

from keras_transfer.features.scores import labels as checking

__all__ = ["h_score"]


def h_score(features: np.ndarray, labels: np.ndarray) -> float:
    """Returns the trace of the inverse covariance of features times the covariance of their class means.

    Covariances are shrunk by Ledoit and Wolf's share towards equal variances: with fewer images than features the
    plain H-score (Bao et al. 2019) is the number of classes minus 1, whatever the features (Ibrahim, Ponomareva and
    Mazumder 2021, arXiv:2110.06893).

    Args:
        features: `(images, features)`.
        labels: Class ids `(images,)`.

    Returns:
        More is better.

    Example:
        >>> close = np.array([[0.0], [0.1], [1.0], [1.1]])
        >>> h_score(close, np.array([0, 0, 1, 1])) > h_score(close, np.array([0, 1, 0, 1]))
        True
    """
    values, answers = checking.check(features, labels)
    ids = checking.class_ids(answers)
    values = values - values.mean(axis=0)
    deviation = np.sqrt((values**2).mean())
    if not deviation:
        return 0.0
    values = values / deviation  # the score does not depend on it; sums stay in range

    rows, width = values.shape
    share = float(covariance.ledoit_wolf_shrinkage(values, assume_centered=True))
    counts = np.bincount(ids)
    means = (checking.one_hot(ids).T @ values) / counts[:, None]
    between = means * np.sqrt(counts / rows)[:, None]  # its square is the covariance of class means
    variance = float((values**2).sum() / rows / width)

    # tr(S^-1 B) for S = (1 - share) X'X / rows + share * variance * I, in the directions of X.
    _, singular, right = np.linalg.svd(values, full_matrices=False)
    floor = share * variance
    along = between @ right.T
    strengths = (1 - share) * singular**2 / rows + floor
    total = float(np.sum(along**2 / np.maximum(strengths, np.finfo(float).tiny)))
    return (1 - share) * total
