"""LEEP: the log expected empirical prediction."""

import numpy as np

from keras_transfer.features.scores import labels as checking

__all__ = ["leep"]


def leep(features: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean log-likelihood of labels that are read off the answers of a classifier of other classes.

    The classifier draws a source class z for an image; the label is drawn as often as it comes with z in these images
    (Nguyen et al. 2020, arXiv:2002.12462).

    Args:
        features: Probabilities of source classes, `(images, source classes)`.
        labels: Class ids `(images,)`.

    Returns:
        At most 0; more is better.

    Example:
        >>> leep(np.eye(2), np.array([0, 1]))
        0.0
    """
    shares, ids = checking.probabilities(features, labels)
    together = checking.one_hot(ids).T @ shares / len(ids)  # P(y, z)
    of_source = together.sum(axis=0)
    given_source = together / np.where(of_source > 0, of_source, 1.0)  # P(y | z)
    likely = (shares * given_source[ids]).sum(axis=1)
    return float(np.log(likely).mean())
