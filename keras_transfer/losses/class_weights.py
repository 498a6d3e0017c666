"""Class weights from how many examples of each class there are."""

from collections.abc import Sequence

import numpy as np

from keras_transfer.core import checks

__all__ = ["WEIGHTS", "balanced_weights", "effective_weights"]


def balanced_weights(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Returns weights `n / (classes * count)`: each class counts alike.

    Their mean over the examples is 1. A class without examples is taken to have one.

    Example:
        >>> balanced_weights([3, 1]).round(3).tolist()
        [0.667, 2.0]
    """
    examples = np.asarray(counts, "float64")
    return examples.sum() / (len(examples) * np.maximum(examples, 1))


def effective_weights(counts: Sequence[int] | np.ndarray, *, beta: float = 0.999) -> np.ndarray:
    """Returns weights `1 / E(count)` for the effective number of examples `E(n) = (1 - beta**n) / (1 - beta)`.

    From Cui, Jia, Lin, Song and Belongie, "Class-Balanced Loss Based on Effective Number of Samples"
    (2019): the more examples there are of a class, the less a further one tells. beta = 0 gives equal weights,
    beta towards 1 balanced ones. Scaled to a mean of 1 over the examples (the paper scales to a mean of 1
    over the classes), which keeps the loss's size. A class without examples is taken to have one.

    Args:
        counts: Examples of each class.
        beta: In [0, 1).

    Example:
        >>> effective_weights([3, 1], beta=0.5).round(3).tolist()  # E = 1.75 and 1
        [0.842, 1.474]
    """
    beta = checks.share(beta, name="beta")
    examples = np.asarray(counts, "float64")
    weights = (1 - beta) / (1 - beta ** np.maximum(examples, 1))
    return weights * examples.sum() / (weights * examples).sum()


WEIGHTS = {"balanced": balanced_weights, "effective": effective_weights}
