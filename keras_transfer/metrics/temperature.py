"""Temperature scaling: probabilities that are as sure as they are right (Guo et al. 2017, arXiv:1706.04599)."""

import math

import numpy as np
from scipy import optimize, special

__all__ = ["fit_temperature", "scaled"]

SPREAD = 0.25  # of the prior: with few examples, a temperature outside 0.78 to 1.28 needs strong evidence
LOWEST = np.finfo("float32").tiny  # of a probability, whose logarithm is a logit


def fit_temperature(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Returns what logits should be divided by, so that probabilities fit the targets.

    It is the most probable temperature where its logarithm is normally distributed around 0 before any example is seen:
    the negative log-likelihood of a few examples that are all answered rightly would ask for an infinite confidence.

    Args:
        probabilities: One row an example.
        targets: Class ids.

    Example:
        >>> unsure = np.tile([[0.6, 0.4]], (100, 1))
        >>> round(fit_temperature(unsure, np.zeros(100, int)), 2) < 0.5
        True
    """
    logits = np.log(np.maximum(np.asarray(probabilities, "float64"), LOWEST))
    rows = np.arange(len(logits))

    def surprise(log_temperature: float) -> float:
        chosen = special.log_softmax(logits / math.exp(log_temperature), axis=1)[rows, targets]
        return -chosen.sum() + log_temperature**2 / (2 * SPREAD**2)

    found = optimize.minimize_scalar(surprise, bounds=(-3.0, 3.0), method="bounded")
    return math.exp(found.x)


def scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns the probabilities of logits that are divided by a temperature.

    Example:
        >>> scaled(np.array([[0.9, 0.1]]), 2.0).round(2).tolist()
        [[0.75, 0.25]]
    """
    logits = np.log(np.maximum(np.asarray(probabilities, "float64"), LOWEST))
    return special.softmax(logits / temperature, axis=1)
