"""Tests of whether answers are better, by more than chance, than one answer for all images.

Each is exact or classical, one-sided, and says "better" of answers that are not in at most 1 of 40 cases.
"""

import numpy as np
from scipy import special

__all__ = ["are_errors_smaller", "do_scores_rank", "is_share_above"]

RISK = 1 / 40
SHUFFLES = 39  # none of them as good as the real order: a chance of 1 in 40
RANKED = 5000  # examples; of more, so many are drawn


def is_share_above(right: int, examples: int, share: float) -> bool:
    """Returns whether so many right answers are more than chance makes of `share`, by the exact binomial test.

    The same as: the 95 % interval of Clopper and Pearson lies above `share`.

    Example:
        >>> is_share_above(8, 8, 0.5), is_share_above(3, 3, 0.5)
        (True, False)
    """
    return bool(special.bdtrc(right - 1, examples, share) < RISK)


def are_errors_smaller(errors: np.ndarray, others: np.ndarray) -> bool:
    """Returns whether `errors` are smaller than the `others` of the same examples, by a paired t-test.

    Example:
        >>> are_errors_smaller([1.0, 2.0, 1.5], [3.0, 4.5, 4.0]), are_errors_smaller([1.0, 5.0], [2.0, 5.0])
        (True, False)
    """
    gains = np.asarray(others, "float64") - np.asarray(errors, "float64")
    if len(gains) < 2:
        return False
    margin = special.stdtrit(len(gains) - 1, 1 - RISK) * gains.std(ddof=1) / np.sqrt(len(gains))
    return bool(gains.mean() > margin)


def do_scores_rank(targets: np.ndarray, scores: np.ndarray) -> bool:
    """Returns whether scores rank examples with a tag above those without, by a permutation test.

    The mean average precision must be higher than after each of 39 exchanges of whole rows of targets.

    Args:
        targets: 1 where an example has a tag, 0 where not, NaN where that is not known, (examples, tags).
        scores: Of each tag, (examples, tags).

    Example:
        >>> targets = np.tile([[1.0], [0.0]], (8, 1))
        >>> do_scores_rank(targets, 0.1 + 0.8 * targets), do_scores_rank(targets, np.full((16, 1), 0.5))
        (True, False)
    """
    rng = np.random.default_rng(0)
    if len(targets) > RANKED:
        rows = rng.choice(len(targets), RANKED, replace=False)
        targets, scores = targets[rows], scores[rows]
    has_tag = np.nansum(targets, axis=0) > 0
    targets, scores = targets[:, has_tag], scores[:, has_tag]

    # Equal scores come in an order that says nothing about the targets.
    noise = rng.random(scores.shape)
    order = np.lexsort((noise, -scores), axis=0)
    real = _mean_average_precision(targets, order)
    shuffled = (rng.permutation(targets) for _ in range(SHUFFLES))
    return all(real > _mean_average_precision(rows, order) for rows in shuffled)


def _mean_average_precision(targets: np.ndarray, order: np.ndarray) -> float:
    """Returns the mean over tags of the average precision; `order` sorts the examples, the highest score first."""
    ranked = np.take_along_axis(targets, order, axis=0)
    hits = ranked == 1
    precision = np.cumsum(hits, axis=0) / np.maximum(np.cumsum(np.isfinite(ranked), axis=0), 1)
    return float(((precision * hits).sum(axis=0) / hits.sum(axis=0)).mean())
