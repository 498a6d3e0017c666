"""Intervals that hold the true value of a score in 19 of 20 cases: Wilson's for shares, else the bootstrap."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from scipy import special

from keras_transfer.core import checks

__all__ = [
    "bootstrap_interval",
    "bootstrap_intervals",
    "difference_interval",
    "divide",
    "mean_interval",
    "random_groups",
    "resampled_intervals",
    "share_interval",
    "units_of",
    "wilson_interval",
]

LEVEL = 0.95
DRAWS = 1000
UNITS = 4000  # more examples than these are put into so many groups at random
BLOCK = 4_000_000  # counts drawn at a time

Interval = tuple[float, float] | None
Scores = Mapping[str, np.ndarray]


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
    _quantile(level)
    return _wilson(right / examples, examples, level) if examples else None


def share_interval(
    is_right: np.ndarray, *, groups: Sequence | np.ndarray | None = None, level: float = LEVEL
) -> Interval:
    """Returns Wilson's interval for the share of images that are right.

    Images of a group (a person, a video) are right and wrong together, so they say less than so many images by
    themselves. With groups the interval is that of fewer images: of as many as would spread as much, after Korn and
    Graubard (1998); of as many as there are groups where all are right, or none is.

    Args:
        is_right: One value an image.
        groups: As for `bootstrap_interval`.
        level: As for `bootstrap_interval`.

    Example:
        >>> is_right = np.repeat([True, True, False, True, True, True], 10)
        >>> alone = share_interval(is_right)
        >>> together = share_interval(is_right, groups=np.repeat(np.arange(6), 10))
        >>> together[1] - together[0] > 2 * (alone[1] - alone[0])
        True
    """
    is_right = np.asarray(is_right, bool)
    right, examples = int(is_right.sum()), len(is_right)
    if groups is None or not examples:
        return wilson_interval(right, examples, level=level)
    owners = units_of(groups, examples)
    units = int(owners.max()) + 1
    if units < 2:
        return None
    share = right / examples
    size = float(units)
    if 0 < right < examples:
        gaps = np.bincount(owners, weights=is_right - share)
        spread = units / (units - 1) * (gaps**2).sum() / examples**2
        size = min(share * (1 - share) / float(spread), float(examples))
    # Few groups: as wide as the quantile of Student's distribution asks for.
    size *= float(_quantile(level) / special.stdtrit(units - 1, (1 + level) / 2)) ** 2
    return _wilson(share, size, level)


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
        The lower and the upper end; None where fewer than two images, or groups, say anything, or all say the same:
        ten right answers of ten do not prove that all are.

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

    def named(sums: np.ndarray) -> Scores:
        return {"": score(sums)}

    found = bootstrap_intervals(named, rows, groups=groups, level=level, draws=draws, seed=seed)
    return found[""]


def bootstrap_intervals(
    scores: Callable[[np.ndarray], Scores],
    rows: np.ndarray,
    *,
    groups: Sequence | np.ndarray | None = None,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Interval]:
    """Returns the intervals of several scores of the same draws, as `bootstrap_interval` does.

    Args:
        scores: Computes from sums `(draws, columns)` each score by name.
        rows: As for `bootstrap_interval`.
        groups: As for `bootstrap_interval`.
        level: As for `bootstrap_interval`.
        draws: As for `bootstrap_interval`.
        seed: As for `bootstrap_interval`.

    Example:
        >>> rows = np.array([[1.0, 2.0], [3.0, 4.0], [2.0, 2.0]])
        >>> sorted(bootstrap_intervals(lambda sums: {"a": sums[:, 0], "b": sums[:, 1]}, rows))
        ['a', 'b']
    """
    _quantile(level)
    rows = np.asarray(rows, "float64")
    owners = _owners(groups, len(rows), seed)
    if owners is not None:
        rows = _group_sums(rows, owners)
    total = rows.sum(axis=0)
    parts = [scores(counts @ rows) for counts in _counts(len(rows), draws, seed)]
    return _all_bounds(scores(total[None]), parts, scores(total - rows), len(rows), level)


def resampled_intervals(
    scores: Callable[[np.ndarray], Scores],
    examples: int,
    *,
    groups: Sequence | np.ndarray | None = None,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Interval]:
    """Returns the intervals of scores that need all images at once, such as the area under a curve.

    They are not corrected for skew. It takes `draws` times the work of a score.

    Args:
        scores: Computes each score by name from how often each image was drawn, `(draws, images)`.
        examples: The number of images.
        groups: As for `bootstrap_interval`.
        level: As for `bootstrap_interval`.
        draws: As for `bootstrap_interval`.
        seed: As for `bootstrap_interval`.

    Example:
        >>> values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
        >>> low, high = resampled_intervals(lambda counts: {"mean": counts @ values / 8}, 8)["mean"]
        >>> 2.0 < low < 4.5 < high < 7.0
        True
    """
    _quantile(level)
    owners = None if groups is None else _owners(groups, examples, seed)
    units = examples if owners is None else int(owners.max(initial=-1)) + 1
    parts = []
    for counts in _counts(units, draws, seed, width=examples):
        parts.append(scores(counts if owners is None else counts[:, owners]))
    return _all_bounds(scores(np.ones((1, examples))), parts, {}, units, level)


def random_groups(examples: int, *, seed: int = 0) -> np.ndarray | None:
    """Returns the number of a random group for each example, of 4,000 groups; None for fewer examples.

    Rows may be added up within them before `bootstrap_intervals`: it does the same, but needs all rows at once.

    Example:
        >>> random_groups(10) is None, len(np.unique(random_groups(9000)))
        (True, 4000)
    """
    if examples <= UNITS:
        return None
    return np.random.default_rng(seed).permutation(examples) % UNITS


def units_of(groups: Sequence | np.ndarray | None, examples: int, *, seed: int = 0) -> np.ndarray:
    """Returns the number of what is drawn as a whole, for each example: itself, its group, or one of 4,000 bundles.

    Example:
        >>> units_of(["a", "b", "a"], 3).tolist(), units_of(None, 2).tolist()
        ([0, 1, 0], [0, 1])
    """
    owners = np.arange(examples) if groups is None else _numbered(groups, examples)
    bundles = random_groups(int(owners.max(initial=-1)) + 1, seed=seed)
    return owners if bundles is None else bundles[owners]


def divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Returns `above / below`, NaN where that divides by 0.

    Example:
        >>> divide(np.array([1.0, 1.0]), np.array([2.0, 0.0])).tolist()
        [0.5, nan]
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below == 0, np.nan, above / below)


def _wilson(share: float, examples: float, level: float) -> tuple[float, float]:
    z = _quantile(level)
    spread = z * z / examples
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * share * (1 - share) + spread * spread / 4) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def _mean(sums: np.ndarray) -> np.ndarray:
    return divide(sums[:, 0], sums[:, 1])


def _owners(groups: Sequence | np.ndarray | None, examples: int, seed: int) -> np.ndarray | None:
    """Returns the number of the group of each example; None where each is drawn by itself."""
    return random_groups(examples, seed=seed) if groups is None else _numbered(groups, examples)


def _numbered(groups: Sequence | np.ndarray, examples: int) -> np.ndarray:
    """Returns the number of the group of each example."""
    if len(groups) != examples:
        raise checks.error(
            f"`groups` must have one value for each of {examples} images", given=len(groups)
        )
    return np.unique(np.asarray(groups).astype(str), return_inverse=True)[1].reshape(examples)


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


def _all_bounds(
    values: Scores, parts: list[Scores], left_out: Scores, units: int, level: float
) -> dict[str, Interval]:
    """Returns the interval of each score."""
    intervals = {}
    for name, value in values.items():
        drawn = np.concatenate([part[name] for part in parts]) if parts else np.array([])
        intervals[name] = _bounds(value[0], drawn, left_out.get(name), units, level)
    return intervals


def _bounds(
    value: float,
    drawn: np.ndarray,
    left_out: np.ndarray | None,
    units: int,
    level: float,
) -> Interval:
    """Returns the BCa interval of the draws.

    Args:
        value: The score of all images.
        drawn: Scores of the draws.
        left_out: Scores without each unit, from which the skew is estimated; None leaves that out.
        units: What was drawn: their number.
        level: Of the interval.
    """
    is_known = np.isfinite(drawn)
    if units < 2 or not np.isfinite(value) or is_known.sum() < max(2, len(drawn) / 2):
        return None
    drawn = drawn[is_known]
    if drawn.min() == drawn.max():
        return None

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
