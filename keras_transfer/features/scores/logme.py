"""LogME: the logarithm of the maximum evidence."""

import numpy as np

from keras_transfer.features.scores import labels as checking

__all__ = ["logme"]

STEPS = 300
TOLERANCE = 1e-9
TINY = 1e-12


def logme(features: np.ndarray, labels: np.ndarray) -> float:
    """Returns how likely the labels are, given the features, under the best Bayesian linear regression.

    That is the mean over classes (or outputs) and images of log p(y | features, alpha, beta), where weights have the
    prior N(0, 1 / alpha), labels the noise N(0, 1 / beta), and both are those that make it largest (You et al. 2021,
    arXiv:2102.11005, by its fixed-point iteration).

    Args:
        features: `(images, features)`.
        labels: Class ids `(images,)`; numbers or tags `(images, outputs)`.

    Returns:
        More is better.

    Example:
        >>> close = np.array([[0.0], [0.1], [1.0], [1.1]])
        >>> logme(close, np.array([0, 0, 1, 1])) > logme(close, np.array([0, 1, 0, 1]))
        True
    """
    values, answers = checking.check(features, labels)
    wanted = checking.outputs(answers)
    left, singular, _ = np.linalg.svd(values, full_matrices=False)
    squares = singular**2
    parts = (left.T @ wanted) ** 2  # (directions, outputs)
    # What no direction of the features explains.
    outside = np.maximum((wanted**2).sum(axis=0) - parts.sum(axis=0), 0.0)
    evidences = []
    for column in range(wanted.shape[1]):
        evidences.append(_maximise(squares, parts[:, column], outside[column], *values.shape))
    return float(np.mean(evidences) / len(values))


def _maximise(
    squares: np.ndarray, parts: np.ndarray, outside: float, rows: int, width: int
) -> float:
    """Returns the largest logarithm of the evidence of one output.

    Args:
        squares: Squared singular values of the features.
        parts: Squared part of the output along each of their directions.
        outside: Squared rest of the output.
        rows: How many images.
        width: How many features.
    """
    alpha, beta = 1.0, 1.0
    before = -np.inf
    for _ in range(STEPS):
        # Equations (6) and (7): the posterior's weights m and its residuals, in the directions of the features.
        ratio = alpha / beta
        weights = float(np.sum(squares * parts / (squares + ratio) ** 2))  # |m|^2
        residuals = float(np.sum(parts * (ratio / (squares + ratio)) ** 2)) + outside
        evidence = 0.5 * (
            width * np.log(alpha)
            + rows * np.log(beta)
            - rows * np.log(2 * np.pi)
            - beta * residuals
            - alpha * weights
            - np.sum(np.log(alpha + beta * squares))
            - (width - len(squares)) * np.log(alpha)
        )
        if abs(evidence - before) <= TOLERANCE * rows:
            break
        before = evidence
        gamma = float(np.sum(squares / (squares + ratio)))  # parameters that the images determine
        alpha = max(gamma, TINY) / max(weights, TINY)
        beta = max(rows - gamma, TINY) / max(residuals, TINY)
    return float(evidence)
