"""Intervals that hold the true value of a score in 19 of 20 cases: Wilson's for shares, else the bootstrap."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import special

from keras_transfer.core import checks

__all__ = [
    "bootstrap_interval",
    "difference_interval",
    "mean_interval",
    "resampled_interval",
    "wilson_interval",
]

LEVEL = 0.95
DRAWS = 1000
UNITS = 4000  # more examples than these are put into so many groups at random
BLOCK = 4_000_000  # counts drawn at a time

Interval = tuple[float, float] | None


def wilson_interval(right: int, examples: int, *, level: float = LEVEL) -> Interval:
    """Returns Wilson's interval for a share, of right answers, say; None without examples.

    Args:
        right: How many.
        examples: Of how many.
        level: How often the interval should hold the true share.

    Raises:
        InputError: If `right` is not between 0 and `examples`, or `level` not between 0 and 1.

    Example:
        >>> low, high = wilson_interval(90, 100)
        >>> round(low, 3), round(high, 3)
        (0.826, 0.945)
    """
    examples = checks.integer(examples, name="examples", minimum=0)
    right = checks.integer(right, name="right", minimum=0, below=examples + 1)
    z = _quantile(level)
    if not examples:
        return None
    share, spread = right / examples, z * z / examples
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * share * (1 - share) + spread * spread / 4) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(
    values: Sequence[float] | np.ndarray,
    *,
    groups: Sequence | np.ndarray | None = None,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Returns the interval for a mean over images, by the bootstrap.

    Args:
        values: One an image; NaN is left out.
        groups: As for `bootstrap_interval`.
        level: As for `bootstrap_interval`.
        draws: As for `bootstrap_interval`.
        seed: As for `bootstrap_interval`.

    Example:
        >>> low, high = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
        >>> 2.0 < low < 4.5 < high < 7.0
        True
    """
    column = np.asarray(values, "float64").reshape(-1)
    known = np.isfinite(column)
    rows = np.stack([np.where(known, column, 0.0), known], axis=1)
    return bootstrap_interval(_mean, rows, groups=groups, level=level, draws=draws, seed=seed)


def difference_interval(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    *,
    groups: Sequence | np.ndarray | None = None,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Returns the interval for the mean of `first - second`, paired: both are of the same images in the same order.

    The images that are hard for both cancel out, so that it is much narrower than two intervals would suggest.

    Args:
        first: One value an image: whether a model is right, say, or its error.
        second: Those of another model.
        groups: As for `bootstrap_interval`.
        level: As for `bootstrap_interval`.
        draws: As for `bootstrap_interval`.
        seed: As for `bootstrap_interval`.

    Raises:
        InputError: If they are not of the same length.

    Example:
        >>> low, high = difference_interval([1, 1, 1, 1, 1, 1, 0, 1], [0, 1, 0, 1, 1, 0, 0, 1])
        >>> round(low, 3), round(high, 3)
        (0.0, 0.75)
    """
    first, second = np.asarray(first, "float64"), np.asarray(second, "float64")
    if first.shape != second.shape or first.ndim != 1:
        raise checks.error(
            "`first` and `second` must have one value for each of the same images",
            given=f"shapes {first.shape} and {second.shape}",
        )
    return mean_interval(first - second, groups=groups, level=level, draws=draws, seed=seed)


def bootstrap_interval(
    score: Callable[[np.ndarray], np.ndarray],
    rows: np.ndarray,
    *,
    groups: Sequence | np.ndarray | None = None,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Returns the interval for a score that is computed from sums over images, by the bootstrap.

    Images are drawn with replacement, and the score is computed from the sums of those drawn. The interval is that of
    Efron's BCa (1987), widened for few images as Hesterberg (2015, arXiv:1411.5279) does. Many images are put into
    4,000 groups at random first: their sums vary in the same way, and a million images cost as little.

    Args:
        score: Computes scores from sums `(draws, columns)`; NaN where they say nothing.
        rows: What is summed, `(images, columns)`.
        groups: A value for each image, equal for those that belong together (a person, a video): groups are drawn as a
            whole, and the interval says what to expect of new groups. By default each image is by itself.
        level: How often the interval should hold the true value.
        draws: How often images are drawn.
        seed: Of the draws.

    Returns:
        The lower and the upper end; None where fewer than two images, or groups, say anything.

    Raises:
        InputError: If `groups` has another length than `rows`, or `level` is not between 0 and 1.

    Example:
        >>> squares = np.array([1.0, 4.0, 1.0, 0.0, 9.0, 1.0, 4.0, 1.0])
        >>> rows = np.stack([squares, np.ones(8)], axis=1)
        >>> low, high = bootstrap_interval(lambda sums: np.sqrt(sums[:, 0] / sums[:, 1]), rows)
        >>> low < 1.62 < high
        True
    """
    rows = np.asarray(rows, "float64")
    _quantile(level)
    owners = _owners(groups, len(rows), seed)
    if owners is not None:
        rows = _group_sums(rows, owners)
    units = len(rows)
    total = rows.sum(axis=0)
    parts = [score(counts @ rows) for counts in _counts(units, draws, seed)]
    left_out = score(total - rows)
    return _bounds(score(total[None])[0], parts, left_out, units, level)


def resampled_interval(
    score: Callable[[np.ndarray], np.ndarray],
    examples: int,
    *,
    groups: Sequence | np.ndarray | None = None,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Returns the interval for a score that needs all images at once, such as the area under a curve.

    Args:
        score: Computes scores `(draws,)` from how often each image was drawn, `(draws, images)`.
        examples: The number of images.
        groups: As for `bootstrap_interval`.
        level: As for `bootstrap_interval`.
        draws: As for `bootstrap_interval`.
        seed: As for `bootstrap_interval`.

    Returns:
        As `bootstrap_interval`; the interval is not corrected for skew.

    Example:
        >>> values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
        >>> low, high = resampled_interval(lambda counts: counts @ values / counts.sum(axis=1), 8)
        >>> 2.0 < low < 4.5 < high < 7.0
        True
    """
    _quantile(level)
    owners = None if groups is None else _owners(groups, examples, seed)
    units = examples if owners is None else int(owners.max(initial=-1)) + 1
    parts = []
    for counts in _counts(units, draws, seed, width=examples):
        parts.append(score(counts if owners is None else counts[:, owners]))
    return _bounds(score(np.ones((1, examples)))[0], parts, None, units, level)


def _mean(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[:, 0] / sums[:, 1]


def _owners(groups: Sequence | np.ndarray | None, examples: int, seed: int) -> np.ndarray | None:
    """Returns the number of the group of each example; None where each is drawn by itself."""
    if groups is not None:
        if len(groups) != examples:
            raise checks.error(
                f"`groups` must have one value for each of {examples} images", given=len(groups)
            )
        return np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
    if examples <= UNITS:
        return None
    return np.random.default_rng(seed).permutation(examples) % UNITS


def _group_sums(rows: np.ndarray, owners: np.ndarray) -> np.ndarray:
    count = int(owners.max(initial=-1)) + 1
    columns = [np.bincount(owners, weights=column, minlength=count) for column in rows.T]
    return np.stack(columns, axis=1)


def _counts(units: int, draws: int, seed: int, *, width: int | None = None) -> Iterator[np.ndarray]:
    """Yields how often each unit is drawn, (some of the draws, units)."""
    rng = np.random.default_rng([seed, 1])
    step = max(1, BLOCK // max(units, width or 1, 1))
    for first in range(0, draws if units else 0, step):
        block = min(step, draws - first)
        drawn = rng.integers(units, size=(block, units)) + np.arange(block)[:, None] * units
        counts = np.bincount(drawn.reshape(-1), minlength=block * units)
        yield counts.reshape(block, units).astype("float64")


def _bounds(
    value: float,
    parts: list[np.ndarray],
    left_out: np.ndarray | None,
    units: int,
    level: float,
) -> Interval:
    """Returns the BCa interval of the draws.

    Args:
        value: The score of all images.
        parts: Scores of the draws.
        left_out: Scores without each unit, from which the skew is estimated; None leaves that out.
        units: What was drawn: their number.
        level: Of the interval.
    """
    drawn = np.concatenate(parts) if parts else np.array([])
    is_known = np.isfinite(drawn)
    if units < 2 or not np.isfinite(value) or is_known.sum() < max(2, len(drawn) / 2):
        return None
    drawn = drawn[is_known]

    # Few examples: the quantile of Student's distribution, and the variance that n - 1 gives.
    wide = math.sqrt(units / (units - 1)) * special.stdtrit(units - 1, (1 + level) / 2)
    is_below = (drawn < value).mean() + (drawn == value).mean() / 2
    shift = special.ndtri(np.clip(is_below, 0.2, 0.8))
    ends = shift + np.array([-wide, wide])
    skew = 0.0 if left_out is None else _acceleration(left_out)
    slack = 1 - skew * ends
    shares = special.ndtr(shift + ends / np.where(slack > 0.1, slack, 0.1))
    low, high = np.quantile(drawn, shares)
    return float(low), float(high)


def _acceleration(left_out: np.ndarray) -> float:
    """Returns the jackknife's estimate of how the spread of a score changes with its value."""
    known = left_out[np.isfinite(left_out)]
    gaps = known.mean() - known if len(known) else known
    squares = (gaps**2).sum()
    return float((gaps**3).sum() / (6 * squares**1.5)) if squares > 0 else 0.0


def _quantile(level: float) -> float:
    level = checks.number(level, name="level", above=0, below=1)
    return float(special.ndtri((1 + level) / 2))
