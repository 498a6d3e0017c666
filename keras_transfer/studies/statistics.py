"""What differences over a few seeds allow to say."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

__all__ = ["LEVEL", "interval", "judge", "mean_table", "paired_test", "print_interval"]

LEVEL = 0.95  # of all intervals


def interval(values: np.ndarray, *, level: float = LEVEL) -> list[float] | None:
    """Returns Student's interval for the mean of some values or paired differences; None for a single one.

    Example:
        >>> interval(np.array([1.0, 3.0]))  # 2 -+ 12.706 * 1
        [-10.7..., 14.7...]
    """
    return _student(values, level) if len(values) > 1 else None


def paired_test(gains: np.ndarray) -> float | None:
    """Returns how likely gains so far from 0 are by chance: the p-value of Student's paired test, two-sided.

    None for a single one, and where all are equal: they do not say how far chance moves them.

    Example:
        >>> round(paired_test(np.array([1.0, 2.0, 3.0])), 4)  # t = 2 / (1 / sqrt(3)) with 2 degrees of freedom
        0.0742
    """
    if len(gains) < 2 or _are_equal(gains):
        return None
    return float(stats.ttest_1samp(gains, 0.0).pvalue)


def judge(gains: np.ndarray, *, level: float | None = LEVEL) -> dict:
    """Returns the interval of the gains and the verdict that follows from it.

    Gains that are the same at every seed have none: on few test images, three seeds that each answer one more image
    rightly would look certain.

    Args:
        gains: One a seed; positive is better.
        level: Of the interval; None for none.

    Example:
        >>> judge(np.array([1.0, 1.1, 0.9]))["verdict"], judge(np.array([1.0, 1.0, 1.0]))["verdict"]
        ('positive', 'equal seeds tell nothing')
    """
    if len(gains) < 2:
        return {"interval": None, "verdict": "one seed tells nothing"}
    if level is None:
        return {"interval": None, "verdict": "not judged"}
    if gains.any() and _are_equal(gains):
        return {"interval": None, "verdict": "equal seeds tell nothing"}
    bounds = _student(gains, level)
    if bounds[0] > 0:
        verdict = "positive"
    elif bounds[1] < 0:
        verdict = "negative"
    else:
        verdict = "neutral"
    return {"interval": bounds, "verdict": verdict}


def print_interval(bounds: Sequence[float] | None, form: str) -> str:
    """Returns an interval as text; a dash for none.

    Example:
        >>> print_interval([-1.0, 2.0], "{:+.1f}")
        '-1.0 to +2.0'
    """
    return f"{form.format(bounds[0])} to {form.format(bounds[1])}" if bounds else "–"


def mean_table(tables: Sequence[list | None]) -> list[list[float | None]] | None:
    """Returns the mean of each cell over those tables that have a number there.

    Example:
        >>> mean_table([[[1.0, None]], None, [[3.0, None]]])
        [[2.0, None]]
    """
    arrays = [np.array(table, dtype="float64") for table in tables if table]  # None becomes NaN
    if not arrays:
        return None
    return np.ma.masked_invalid(np.stack(arrays)).mean(axis=0).tolist()


def _student(values: np.ndarray, level: float) -> list[float]:
    quantile = stats.t.ppf((1 + level) / 2, len(values) - 1)
    half = quantile * values.std(ddof=1) / math.sqrt(len(values))
    return [float(values.mean() - half), float(values.mean() + half)]


def _are_equal(values: np.ndarray) -> bool:
    """Whether values are the same, but for rounding."""
    return bool(np.ptp(values) <= 1e-9 * np.abs(values).max())
