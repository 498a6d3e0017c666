"""Scores of depth maps."""

import numpy as np

__all__ = ["depth_scores"]

FACTOR = 1.25


def depth_scores(targets: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of each map over its known pixels; NaN for a map without any.

    `abs_rel` is the mean of |answer - truth| / truth, `rmse` the root of the mean square error, `log_rmse` that of
    logarithms, `delta_1`, `delta_2` and `delta_3` the share of pixels that are wrong by less than a factor of 1.25,
    1.25^2 and 1.25^3 (Eigen, Puhrsch and Fergus 2014).

    Args:
        targets: Depths (maps, ...); what is not above 0, or not finite, is not known.
        answers: Positive numbers of the same shape.

    Example:
        >>> scores = depth_scores(np.array([[1.0, 2.0, 0.0]]), np.array([[1.1, 2.0, 9.0]]))
        >>> round(float(scores["abs_rel"][0]), 3), float(scores["delta_1"][0])
        (0.05, 1.0)
    """
    rows: dict[str, list[float]] = {}
    for truth, answer in zip(targets.astype("float64"), answers.astype("float64"), strict=True):
        known = np.isfinite(truth) & (truth > 0)
        for name, value in _of_map(truth[known], answer[known]).items():
            rows.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in rows.items()}


def _of_map(truth: np.ndarray, answer: np.ndarray) -> dict[str, float]:
    names = ("abs_rel", "rmse", "log_rmse", "delta_1", "delta_2", "delta_3")
    if not truth.size:
        return dict.fromkeys(names, float("nan"))
    answer = np.maximum(answer, 1e-9)
    factors = np.maximum(answer / truth, truth / answer)
    errors = [
        np.mean(abs(answer - truth) / truth),
        np.sqrt(np.mean((answer - truth) ** 2)),
        np.sqrt(np.mean(np.log(answer / truth) ** 2)),
        *(np.mean(factors < FACTOR**power) for power in (1, 2, 3)),
    ]
    return dict(zip(names, map(float, errors), strict=True))
