"""NCE: the negative conditional entropy of labels, given the classes that a classifier finds."""

import numpy as np

from keras_transfer.features.scores import labels as checking

__all__ = ["nce"]


def nce(features: np.ndarray, labels: np.ndarray) -> float:
    """Returns minus the entropy of labels where the likeliest source class is known, in nats.

    That is how uncertain labels still are when a classifier of other classes has answered (Tran, Nguyen and Hassner
    2019, arXiv:1908.08142).

    Args:
        features: Probabilities of source classes, `(images, source classes)`.
        labels: Class ids `(images,)`.

    Returns:
        At most 0; more is better.

    Example:
        >>> round(nce(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1])), 4)  # -ln 2
        -0.6931
    """
    shares, ids = checking.probabilities(features, labels)
    _, found = np.unique(shares.argmax(axis=1), return_inverse=True)
    together = checking.one_hot(found).T @ checking.one_hot(ids) / len(ids)  # P(z, y)
    of_source = together.sum(axis=1, keepdims=True)
    seen = together > 0
    logarithms = np.log(together / of_source, out=np.zeros_like(together), where=seen)
    return float((together * logarithms).sum()) + 0.0
