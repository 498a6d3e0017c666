"""How well scores tell examples that have something from those that have not: areas under curves, chosen thresholds."""

import numpy as np
from scipy import special
from sklearn import metrics

from keras_transfer.core import checks
from keras_transfer.metrics import intervals

__all__ = ["Ranking", "read_operating_point"]

KEPT = 2**22  # scores that are kept; of more, only how many there are in each step
STEPS = 4096  # between log-odds of -16 and 16
STEEPEST = 16.0
DRAWN = 40_000  # scores in each draw for intervals
FEWEST = 400  # examples in each draw: with fewer there is no interval
MEASURES = ("precision", "recall")


class Ranking:
    """Collects scores of several columns (classes or tags) batch by batch, in bounded memory.

    All scores are kept while there are few, and areas and thresholds are exact. Of more than 4 million, they are
    counted in 4,096 steps of their log-odds, and areas are right to about 0.0001.

    Args:
        columns: Their number.

    Example:
        >>> ranking = Ranking(1)
        >>> ranking.add(np.array([[0], [0], [1], [1]]), np.array([[0.1], [0.4], [0.35], [0.8]]))
        >>> ranking.scores()["auc"]
        0.75
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self._truth: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []
        self._kept = 0
        self._steps = int(np.clip(2**24 // max(columns, 1), 64, STEPS))
        self._counts: np.ndarray | None = None  # (columns, has it not or has it, steps)

    def add(self, truth: np.ndarray, scores: np.ndarray) -> None:
        """Adds a batch.

        Args:
            truth: 1 where an example has a class, 0 where not, -1 where that is not known, (examples, columns).
            scores: Probabilities of the same shape.
        """
        self._truth.append(np.asarray(truth, "int8"))
        self._scores.append(np.asarray(scores))
        self._kept += self._scores[-1].size
        if self._counts is not None or self._kept > KEPT:
            self._count()

    def _count(self) -> None:
        """Counts what is kept, and keeps it no longer."""
        if self._counts is None:
            self._counts = np.zeros((self.columns, 2, self._steps), "int64")
        odds = self._steps / (2 * STEEPEST)
        for truth, scores in zip(self._truth, self._scores, strict=True):
            places = (special.logit(scores.astype("float64")) + STEEPEST) * odds
            step = np.clip(places, 0, self._steps - 1).astype("int64")
            rows, columns = np.nonzero(truth >= 0)
            flat = (columns * 2 + truth[rows, columns]) * self._steps + step[rows, columns]
            counted = np.bincount(flat, minlength=self._counts.size)
            self._counts += counted.reshape(self._counts.shape)
        self._truth, self._scores, self._kept = [], [], 0

    def _all(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns truth and scores of all examples, in one piece from now on."""
        if len(self._truth) != 1:
            empty = np.zeros((0, self.columns))
            self._truth = [np.concatenate([empty.astype("int8"), *self._truth])]
            self._scores = [np.concatenate([empty.astype("float32"), *self._scores])]
        return self._truth[0], self._scores[0]

    def _column(self, column: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns truth, scores and counts of one column, as scikit-learn takes them."""
        if self._counts is None:
            truth, scores = (values[:, column] for values in self._all())
            known = truth >= 0
            return truth[known], scores[known], np.ones(int(known.sum()))
        middles = (np.arange(self._steps) + 0.5) / self._steps * 2 * STEEPEST - STEEPEST
        scores = np.tile(special.expit(middles), 2)
        truth = np.repeat([0, 1], self._steps)
        weights = self._counts[column].reshape(-1)
        seen = weights > 0
        return truth[seen], scores[seen], weights[seen]

    def scores(self, columns: np.ndarray | None = None) -> dict[str, float | None]:
        """Returns `auc` and `average_precision`, means over the columns that some examples have and others have not.

        `auc` is the chance that an example with a class gets a higher score than one without it.

        Args:
            columns: Whether each column counts; None for all.
        """
        found: dict[str, list[float]] = {"auc": [], "average_precision": []}
        for column in range(self.columns):
            truth, scores, weights = self._column(column)
            if len(np.unique(truth)) < 2 or (columns is not None and not columns[column]):
                continue
            options = {"sample_weight": weights}
            area = metrics.roc_auc_score(truth, scores, **options)
            precision = metrics.average_precision_score(truth, scores, **options)
            found["auc"].append(float(area))
            found["average_precision"].append(float(precision))
        return {name: float(np.mean(values)) if values else None for name, values in found.items()}

    def intervals(self, *, groups: np.ndarray | None = None) -> dict[str, intervals.Interval]:
        """Returns the 95 % interval of each score; {} where scores are not kept, or columns are many.

        Of many examples, some are drawn at random: their interval is narrowed by the root of how many there are. With
        groups there is none then, since those of a group would be apart.

        Args:
            groups: As for `bootstrap_interval`.
        """
        if self._counts is not None:
            return {}
        truth, scores = self._all()
        count = min(len(truth), DRAWN // max(self.columns, 1))
        if count < min(FEWEST, len(truth)):
            return {}
        if groups is not None:
            if count < len(truth):
                return {}
            return intervals.resampled_intervals(_Curves(truth, scores), count, groups=groups)
        rng = np.random.default_rng(0)
        rows = np.sort(rng.choice(len(truth), count, replace=False))
        found = intervals.resampled_intervals(_Curves(truth[rows], scores[rows]), count)
        if count == len(truth):
            return found
        centres = _Curves(truth[rows], scores[rows])(np.ones((1, count)))
        values, narrow = self.scores(), np.sqrt(count / len(truth))
        for name, bounds in found.items():
            value, centre = values[name], float(centres[name][0])
            if bounds is not None and value is not None:
                low, high = (value + (end - centre) * narrow for end in bounds)
                found[name] = max(float(low), 0.0), min(float(high), 1.0)
        return found

    def operating_point(self, column: int, measure: str, least: float) -> dict | None:
        """Returns the threshold that gives at least so much precision, or recall, and most of the other.

        Args:
            column: Of the class or tag.
            measure: "precision" or "recall".
            least: How much of it.

        Returns:
            A dict with `threshold`, `precision` and `recall`; None where no threshold does.

        Example:
            >>> ranking = Ranking(1)
            >>> ranking.add(np.array([[0], [1], [1]]), np.array([[0.1], [0.05], [0.8]]))
            >>> ranking.operating_point(0, "precision", 0.95)
            {'threshold': 0.8, 'precision': 1.0, 'recall': 0.5}
        """
        truth, scores, weights = self._column(column)
        if not (truth == 1).any():
            return None
        precision, recall, thresholds = metrics.precision_recall_curve(
            truth, scores, sample_weight=weights
        )
        values = {"precision": precision[:-1], "recall": recall[:-1]}
        enough = values[measure] >= least - 1e-12
        if not enough.any():
            return None
        other = values["recall" if measure == "precision" else "precision"]
        best = int(np.argmax(np.where(enough, other, -1.0)))
        return {
            "threshold": float(thresholds[best]),
            "precision": float(precision[best]),
            "recall": float(recall[best]),
        }


class _Curves:
    """Computes areas from how often each example counts."""

    def __init__(self, truth: np.ndarray, scores: np.ndarray) -> None:
        self.columns = []
        for answers, column in zip(truth.T, scores.T, strict=True):
            known = np.flatnonzero(answers >= 0)
            order = known[np.argsort(-column[known], kind="stable")]
            values = column[order]
            starts = np.flatnonzero(np.append(True, values[1:] != values[:-1])[: len(values)])
            if len(np.unique(answers[order])) == 2:
                self.columns.append((order, starts, answers[order] == 1))

    def __call__(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        areas, precisions = [np.full(len(counts), np.nan)], [np.full(len(counts), np.nan)]
        for order, starts, has in self.columns:
            drawn = counts[:, order]
            with_it = np.add.reduceat(drawn * has, starts, axis=1)  # (draws, different scores)
            without = np.add.reduceat(drawn * ~has, starts, axis=1)
            hits, misses = np.cumsum(with_it, axis=1), np.cumsum(without, axis=1)
            pairs = (with_it * (misses[:, -1:] - misses + without / 2)).sum(axis=1)
            areas.append(intervals.divide(pairs, hits[:, -1] * misses[:, -1]))
            shares = np.nan_to_num(intervals.divide(hits, hits + misses))
            precisions.append(intervals.divide((with_it * shares).sum(axis=1), hits[:, -1]))
        return {"auc": _known_mean(areas), "average_precision": _known_mean(precisions)}


def _known_mean(columns: list[np.ndarray]) -> np.ndarray:
    """Returns the mean over columns of what is not NaN."""
    values = np.stack(columns)
    return intervals.divide(np.nansum(values, axis=0), np.isfinite(values).sum(axis=0))


def read_operating_point(at: object) -> tuple[str, float]:
    """Returns measure and least value of a text such as "precision=0.95".

    Raises:
        InputError: If it is another text.

    Example:
        >>> read_operating_point("precision=0.95")
        ('precision', 0.95)
    """
    name, _, value = str(at).partition("=")
    try:
        least = float(value)
    except ValueError:
        least = -1.0
    if name.strip() not in MEASURES or not 0 < least <= 1:
        raise checks.error(
            "`at` must be a precision or recall between 0 and 1, such as 'precision=0.95'",
            given=repr(at),
        )
    return name.strip(), least
