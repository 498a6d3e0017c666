"""Scores of class probabilities: accuracy, precision, recall, F1, confusion and calibration."""

from collections.abc import Mapping, Sequence

import numpy as np

from keras_transfer.core import checks, one_hot
from keras_transfer.metrics import intervals, ranking

__all__ = [
    "ClassTally",
    "calibration_error",
    "class_ids",
    "classification_scores",
    "confused",
    "probability_rows",
]

CALIBRATION_BINS = 15
TOP = 5
MOST_CLASSES = 200  # with an interval for means over classes


def classification_scores(
    targets: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]
) -> dict:
    """Scores of `probabilities` against class ids, as a dict that goes into JSON as it is.

    `precision`, `recall` and `f1` are unweighted means over the classes that occur among the targets or the answers
    (scikit-learn's "macro" with 0 where a class was never answered). `classes` holds the same by name, with `support`,
    the number of targets; a class without any has None for its scores. `confusion[i][j]` counts targets `i` answered
    `j`. `top_5` is there from six classes on; of equal probabilities that of the first class comes first. `auc` and
    `average_precision` are means over classes, each against all others; None where all targets are of one class.

    `ece` is the expected calibration error: the mean distance between confidence and accuracy over 15 equal bins of
    confidence (Guo et al. 2017, arXiv:1706.04599), and `reliability` has these bins: `confidence` and `accuracy` are
    means, `support` is the number of answers.

    `intervals` has the 95 % interval of scores by name, `[low, high]`: Wilson's for the accuracy, the bootstrap over
    examples for others; a score of which too little is known to say one, or of too many classes, is not in it.

    Args:
        targets: Class ids, shape (examples,).
        probabilities: One row an example, shape (examples, classes); rows sum to 1.
        class_names: A name for each class, all different.

    Raises:
        InputError: If shapes disagree, a target is no class id, or rows are no probabilities.

    Example:
        >>> classification_scores([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], ["cat", "dog"])["classes"]["dog"]
        {'precision': 1.0, 'recall': 0.5, 'f1': 0.6666666666666666, 'support': 2}
    """
    tally = ClassTally(class_names)
    tally.add(targets, probabilities)
    return tally.scores()


class ClassTally:
    """Collects class probabilities batch by batch, and scores them as `classification_scores` does.

    A few numbers an example are kept; the probabilities only while they are few (see `Ranking`).

    Args:
        class_names: As for `classification_scores`.

    Example:
        >>> tally = ClassTally(["cat", "dog"])
        >>> tally.add([0], [[0.9, 0.1]])
        >>> tally.add([1, 1], [[0.2, 0.8], [0.7, 0.3]])
        >>> round(tally.scores()["accuracy"], 3)
        0.667
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.names = [str(name) for name in class_names]
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise checks.error("`class_names` must all differ", given=f"{twice!r} more than once")
        self.ranking = ranking.Ranking(len(self.names))
        self._columns: list[tuple[np.ndarray, ...]] = []

    def add(self, targets: np.ndarray, probabilities: np.ndarray) -> None:
        """Adds a batch."""
        rows = probability_rows(probabilities, classes=len(self.names))
        ids = class_ids(targets, examples=len(rows), classes=len(self.names))
        own = rows[np.arange(len(ids)), ids][:, None]
        # Among equals the earlier class counts, as in `argmax`.
        is_earlier = np.arange(len(self.names)) < ids[:, None]
        place = ((rows > own) | ((rows == own) & is_earlier)).sum(axis=1, dtype="int32")
        answers = rows.argmax(axis=1).astype("int32")
        self._columns.append((ids.astype("int32"), answers, rows.max(axis=1), place))
        has_class = ids[:, None] == np.arange(len(self.names))
        self.ranking.add(has_class, np.asarray(probabilities))

    def counts(self) -> np.ndarray:
        """Returns how many examples of each class (row) got each answer (column)."""
        targets, answers, _, _ = self._joined()
        classes = len(self.names)
        cells = np.bincount(targets.astype("int64") * classes + answers, minlength=classes**2)
        return cells.reshape(classes, classes)

    def scores(self, *, groups: np.ndarray | None = None) -> dict:
        """Returns the scores of all that was added.

        Args:
            groups: A value for each example, equal for those that belong together, as for `bootstrap_interval`.
        """
        targets, answers, confidence, place = self._joined()
        if not len(targets):
            raise checks.error("there must be at least one example to score", given="none")
        counts = self.counts()
        sums = np.stack([counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)])
        by_class = {name: values[0] for name, values in _class_scores(sums[None]).items()}
        means = {name: float(values[0]) for name, values in _macro_scores(sums[None]).items()}
        is_right = answers == targets
        bins = _calibration_bins(confidence, is_right)
        scores = {
            "accuracy": float(is_right.mean()),
            **means,
            **self.ranking.scores(),
            "ece": _distance(bins),
            "support": len(targets),
            "intervals": self._intervals(targets, answers, place, groups),
            "classes": _class_rows(self.names, by_class, sums[2]),
            "confusion": counts.tolist(),
            "reliability": _reliability(bins),
        }
        if len(self.names) > TOP:
            scores["top_5"] = float((place < TOP).mean())
        return scores

    def _intervals(
        self,
        targets: np.ndarray,
        answers: np.ndarray,
        place: np.ndarray,
        groups: np.ndarray | None,
    ) -> dict:
        classes = len(self.names)
        found = {"accuracy": intervals.share_interval(answers == targets, groups=groups)}
        if classes > TOP:
            found["top_5"] = intervals.share_interval(place < TOP, groups=groups)
        if classes <= MOST_CLASSES:
            owners = intervals.units_of(groups, len(targets))
            rows = _rows(targets, answers, classes, owners)
            found |= intervals.bootstrap_intervals(
                lambda sums: _macro_scores(sums.reshape(-1, 3, classes)), rows
            )
        found |= self.ranking.intervals(groups=groups)
        return {name: list(bounds) for name, bounds in found.items() if bounds is not None}

    def operating_points(self, measure: str, least: float) -> dict:
        """Returns from which confidence on answers are right often enough, and such thresholds of each class.

        Args:
            measure: "precision" or "recall".
            least: How much of it.

        Returns:
            `answers`: `threshold`, `precision` (how many of the surer answers are right) and `share` (how many answers
            are that sure), None where none are; only for a precision. `classes`: `threshold`, `precision` and `recall`
            by name, as `Ranking.operating_point`.
        """
        points: dict = {}
        if measure == "precision":
            points["answers"] = self._sure_answers(least)
        points["classes"] = {
            name: self.ranking.operating_point(column, measure, least)
            for column, name in enumerate(self.names)
        }
        return points

    def _sure_answers(self, least: float) -> dict | None:
        targets, answers, confidence, _ = self._joined()
        order = np.argsort(-confidence, kind="stable")
        sure = confidence[order]
        precision = np.cumsum((answers == targets)[order]) / np.arange(1, len(order) + 1)
        is_last = np.append(sure[1:] != sure[:-1], True)  # equal confidences are answered alike
        enough = np.flatnonzero((precision >= least) & is_last)
        if not len(enough):
            return None
        last = int(enough[-1])
        return {
            "threshold": float(sure[last]),
            "precision": float(precision[last]),
            "share": (last + 1) / len(order),
        }

    def _joined(self) -> tuple[np.ndarray, ...]:
        """Returns targets, answers, confidences, and how many classes came before the target."""
        if not self._columns:
            return tuple(np.zeros(0, kind) for kind in ("int32", "int32", "float64", "int32"))
        if len(self._columns) > 1:
            joined = tuple(np.concatenate(parts) for parts in zip(*self._columns, strict=True))
            self._columns = [joined]
        return self._columns[0]


def _rows(targets: np.ndarray, answers: np.ndarray, classes: int, owners: np.ndarray) -> np.ndarray:
    """Returns for each example, or group of them, counts by class: right, answered, true."""
    units = int(owners.max()) + 1
    is_right = answers == targets
    cells = []
    for ids, chosen in ((targets, is_right), (answers, ...), (targets, ...)):
        places = (owners * classes + ids)[chosen]
        cells.append(np.bincount(places, minlength=units * classes).reshape(units, classes))
    return np.concatenate(cells, axis=1)


def _class_scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Returns scores of each class from counts `(draws, 3, classes)`: right, answered, true."""
    right, answered, true = sums[:, 0], sums[:, 1], sums[:, 2]
    return {
        "precision": right / np.maximum(answered, 1),
        "recall": right / np.maximum(true, 1),
        "f1": 2 * right / np.maximum(answered + true, 1),
    }


def _macro_scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the means over the classes that occur."""
    occurs = sums[:, 1] + sums[:, 2] > 0
    count = occurs.sum(axis=1)
    return {
        name: intervals.divide(values.sum(axis=1), count)  # those that do not occur have 0
        for name, values in _class_scores(sums).items()
    }


def _class_rows(
    names: Sequence[str], scores: Mapping[str, np.ndarray], support: np.ndarray
) -> dict[str, dict]:
    rows = {}
    for column, (name, count) in enumerate(zip(names, support.tolist(), strict=True)):
        values = {key: float(each[column]) if count else None for key, each in scores.items()}
        rows[name] = {**values, "support": count}
    return rows


def probability_rows(values: np.ndarray, *, classes: int, first: int = 0) -> np.ndarray:
    """Returns `values` as float64 if they are rows of `classes` probabilities; `first` is the first row's index.

    Example:
        >>> probability_rows([[0.25, 0.75]], classes=2)
        array([[0.25, 0.75]])
    """
    values = np.asarray(values, dtype="float64")
    if values.ndim != 2 or values.shape[1] != classes:
        raise checks.error(
            f"outputs must be probabilities of shape (examples, {classes})", given=values.shape
        )
    finite = np.isfinite(values).all(axis=1)
    wrong = ~(
        finite & (values > -1e-3).all(axis=1) & (abs(values.sum(axis=1) - 1) < 1e-2)
    )  # float16 rounds so much
    if wrong.any():
        row = int(wrong.argmax())
        shown = ", ".join(f"{value:g}" for value in values[row][:4]) + (
            ", …" if classes > 4 else ""
        )
        fix = (
            "End the model with softmax."
            if finite[row]
            else "Training diverged: lower the learning rate."
        )
        raise checks.error(
            "outputs must be probabilities that sum to 1",
            given=f"[{shown}] at index {first + row}",
            fix=fix,
        )
    return values


def class_ids(targets: np.ndarray, *, examples: int, classes: int, first: int = 0) -> np.ndarray:
    """Returns ids in [0, classes) or one-hot rows as int64 ids of shape (examples,); `first` is the first's index.

    Example:
        >>> class_ids([[0], [2]], examples=2, classes=3)
        array([0, 2])
    """
    targets = np.asarray(targets)
    if targets.shape == (examples, 1):
        targets = targets[:, 0]
    ids = one_hot.class_ids(targets, classes=classes)
    if ids is not None:
        targets = ids
    if targets.shape != (examples,):
        expected = f"targets must be class ids of shape ({examples},), or one-hot rows"
        raise checks.error(expected, given=targets.shape)
    if targets.dtype.kind not in "iubf":
        raise checks.error("targets must be class ids", given=f"values of type {targets.dtype}")
    wrong = ~((targets >= 0) & (targets < classes) & (targets == np.floor(targets)))
    if wrong.any():
        where = int(wrong.argmax())
        given = f"{targets[where]} at index {first + where}"
        fix = "Check the class names; a missing label has a sample weight of 0."
        raise checks.error(f"targets must be class ids in [0, {classes})", given=given, fix=fix)
    return targets.astype("int64")


def confused(
    matrix: Sequence[Sequence[int]], class_names: Sequence[str], *, limit: int = 3
) -> list[tuple[str, str, int]]:
    """Returns the class pairs of a confusion matrix that were mixed up most: (true, predicted, how often).

    Example:
        >>> confused([[5, 1], [2, 4]], ["cat", "dog"])
        [('dog', 'cat', 2), ('cat', 'dog', 1)]
    """
    counts = np.array(matrix)
    np.fill_diagonal(counts, 0)
    pairs = []
    for cell in np.argsort(-counts, axis=None, kind="stable")[:limit]:
        row, column = divmod(int(cell), len(counts))
        if counts[row, column]:
            pairs.append((class_names[row], class_names[column], int(counts[row, column])))
    return pairs


def calibration_error(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Returns how far confidences are from the share of right answers: `ece` of `classification_scores`.

    Example:
        >>> round(calibration_error(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1])), 3)
        0.4
    """
    is_right = probabilities.argmax(axis=1) == targets
    return _distance(_calibration_bins(probabilities.max(axis=1), is_right))


def _calibration_bins(confidence: np.ndarray, is_right: np.ndarray) -> np.ndarray:
    """Returns for each bin of confidence: sum of confidences, right answers, answers; (3, bins)."""
    last = CALIBRATION_BINS - 1
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, last)
    sums = [
        np.bincount(bins, weights=values, minlength=CALIBRATION_BINS)
        for values in (confidence, is_right, np.ones(len(bins)))
    ]
    return np.stack(sums)


def _distance(bins: np.ndarray) -> float:
    return float(abs(bins[0] - bins[1]).sum() / bins[2].sum())


def _reliability(bins: np.ndarray) -> list[dict]:
    rows = []
    for confidence, right, count in bins.T[bins[2] > 0].tolist():
        row = {"confidence": confidence / count, "accuracy": right / count, "support": int(count)}
        rows.append(row)
    return rows
