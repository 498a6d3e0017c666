"""Scores of tags, each of which an example has or has not: average precision, precision, recall, F1."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from sklearn import metrics

from keras_transfer.core import checks
from keras_transfer.metrics import intervals, ranking

__all__ = ["TagAccuracy", "best_thresholds", "tag_rows", "tag_scores"]

MOST_TAGS = 200  # with intervals for means over tags


@keras.saving.register_keras_serializable("keras_transfer")
class TagAccuracy(keras.metrics.Mean):
    """The share of right tags at a threshold of 0.5; tags that are not known (NaN) do not count.

    Example:
        >>> targets, answers = np.array([[1.0, 0.0, np.nan]]), np.array([[0.9, 0.6, 0.2]])
        >>> float(TagAccuracy()(targets, answers))
        0.5
    """

    def __init__(self, name: str = "accuracy", dtype: object = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: object, y_pred: object, sample_weight: object = None) -> object:
        """Adds a batch.

        Args:
            y_true: Whether each tag is there, (batch, tags); from 0.5 on it is.
            y_pred: Probabilities (batch, tags).
            sample_weight: None, or a weight an example.
        """
        targets = ops.cast(y_true, "float32")
        right = ops.equal(targets >= 0.5, ops.cast(y_pred, "float32") >= 0.5)
        weights = ops.cast(ops.logical_not(ops.isnan(targets)), "float32")
        if sample_weight is not None:
            weights = weights * ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1))
        return super().update_state(ops.cast(right, "float32"), weights)


def tag_scores(
    targets: np.ndarray,
    probabilities: np.ndarray,
    names: Sequence[str],
    *,
    thresholds: Sequence[float] | np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> dict:
    """Scores of tags, as a dict that goes into JSON as it is.

    `map` is the mean over tags of the average precision, `auc` of the area under the ROC curve; no threshold changes
    them. At the thresholds, `precision`,
    `recall` and `f1` are unweighted means over tags, `accuracy` is the share of right tags, and `exact` that of
    examples whose known tags are all right. Means are over the tags that some example has. `classes` holds the scores
    of each tag, with its `threshold` and `support`, the number of examples that have it; a tag of no example has None
    for its scores. `intervals` has the 95 % interval of each score, by the bootstrap over examples.

    Args:
        targets: 1 where an example has a tag, 0 where not, NaN where that is not known, (examples, tags).
        probabilities: Of each tag, (examples, tags).
        names: Of the tags.
        thresholds: From which probability on a tag is there; 0.5 by default.
        groups: As for `bootstrap_interval`.

    Raises:
        InputError: If shapes disagree or values are out of range.

    Example:
        >>> scores = tag_scores([[1, 0], [1, 1]], [[0.9, 0.6], [0.4, 0.7]], ["red", "round"])
        >>> scores["map"], scores["classes"]["red"]["recall"], scores["exact"]
        (1.0, 0.5, 0.0)
    """
    targets, probabilities = tag_rows(targets, probabilities, tags=len(names))
    if not len(targets):
        raise checks.error("there must be at least one example to score", given="none")
    limits = np.full(len(names), 0.5) if thresholds is None else np.asarray(thresholds)
    known = np.isfinite(targets)
    right = (probabilities >= limits) == (targets == 1)
    classes = {}
    for column, name in enumerate(names):
        rows = known[:, column]
        found = _scores(targets[rows, column], probabilities[rows, column], limits[column])
        classes[str(name)] = found

    curves = ranking.Ranking(len(names))
    curves.add(np.where(known, targets, -1), probabilities)
    has_tag = np.array([row["support"] > 0 for row in classes.values()])
    bounds = _intervals(right, known, targets, probabilities >= limits, groups)
    found = curves.intervals(groups=groups)
    bounds |= {"auc": found.get("auc"), "map": found.get("average_precision")}

    seen = [row for row in classes.values() if row["support"]]
    means = {}
    for title, key in (
        ("map", "average_precision"), ("precision", "precision"), ("recall", "recall"), ("f1", "f1"),
    ):  # fmt: skip
        means[title] = float(np.mean([row[key] for row in seen])) if seen else None
    return {
        **means,
        "auc": curves.scores(has_tag)["auc"],
        "accuracy": float(right[known].mean()) if known.any() else None,
        "exact": float((right | ~known).all(axis=1).mean()),
        "support": len(targets),
        "intervals": {name: list(ends) for name, ends in bounds.items() if ends is not None},
        "classes": classes,
    }


def _intervals(
    right: np.ndarray,
    known: np.ndarray,
    targets: np.ndarray,
    answers: np.ndarray,
    groups: np.ndarray | None,
) -> dict[str, intervals.Interval]:
    """Returns the intervals of scores at the thresholds, by the bootstrap over examples."""
    tags = known.shape[1]
    if tags > MOST_TAGS:
        return {}
    has = known & (targets == 1)
    columns = [has & answers, known & answers, has]
    shares = [(right & known).sum(axis=1), known.sum(axis=1)]

    def score(sums: np.ndarray) -> dict[str, np.ndarray]:
        hits, answered, there = np.moveaxis(sums[:, : 3 * tags].reshape(-1, 3, tags), 1, 0)
        seen = np.maximum((there > 0).sum(axis=1), 1)
        by_tag = {
            "precision": hits / np.maximum(answered, 1),
            "recall": hits / np.maximum(there, 1),
            "f1": 2 * hits / np.maximum(answered + there, 1),
        }
        found = {
            name: np.where(there > 0, each, 0).sum(axis=1) / seen for name, each in by_tag.items()
        }
        right_tags, known_tags = sums[:, 3 * tags :].T
        found["accuracy"] = intervals.divide(right_tags, known_tags)
        return found

    rows = np.concatenate([*columns, np.stack(shares, axis=1)], axis=1)
    exact = intervals.share_interval((right | ~known).all(axis=1), groups=groups)
    return {**intervals.bootstrap_intervals(score, rows, groups=groups), "exact": exact}


def _scores(targets: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict:
    """Returns the scores of one tag."""
    support = int(targets.sum())
    scores = dict.fromkeys(("precision", "recall", "f1", "average_precision"))
    if support:
        values = metrics.precision_recall_fscore_support(
            targets, probabilities >= threshold, average="binary", zero_division=0
        )
        precision = metrics.average_precision_score(targets, probabilities)
        scores = dict(zip(scores, map(float, (*values[:3], precision)), strict=True))
    return {**scores, "threshold": float(threshold), "support": support}


def best_thresholds(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns the threshold with the highest F1 of each tag; 0.5 where all known examples have it, or none has.

    It lies in the middle between two probabilities, so that rounding changes no answer.

    Args:
        targets: As for `tag_scores`.
        probabilities: As for `tag_scores`.

    Example:
        >>> best_thresholds(np.array([[1.0], [1.0], [0.0]]), np.array([[0.4], [0.3], [0.1]])).tolist()
        [0.2]
    """
    targets, probabilities = tag_rows(targets, probabilities, tags=np.shape(targets)[1])
    thresholds = np.full(targets.shape[1], 0.5)
    for column, (truth, scores) in enumerate(zip(targets.T, probabilities.T, strict=True)):
        known = np.isfinite(truth)
        truth, scores = truth[known], scores[known]
        if len(np.unique(truth)) < 2:
            continue
        order = np.argsort(-scores, kind="stable")
        hits, answered = np.cumsum(truth[order]), np.arange(1, len(truth) + 1)
        f1 = 2 * hits / (answered + truth.sum())
        following = np.append(scores[order][1:], 0.0)
        f1[scores[order] == following] = 0.0  # equal probabilities get one answer
        best = int(np.argmax(f1))
        thresholds[column] = (scores[order][best] + following[best]) / 2
    return thresholds.round(6)


def tag_rows(
    targets: np.ndarray, probabilities: np.ndarray, *, tags: int, first: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as float64 of shape (examples, tags) if their values can be; `first` is the first row's index.

    Example:
        >>> tag_rows([[1, 0]], [[0.5, 0.25]], tags=2)[1]
        array([[0.5 , 0.25]])
    """
    targets, probabilities = np.asarray(targets, "float64"), np.asarray(probabilities, "float64")
    shape = (len(probabilities), tags)
    for name, values in (("outputs", probabilities), ("targets", targets)):
        if values.shape != shape:
            raise checks.error(
                f"{name} must have a column for each of {tags} tags", given=values.shape
            )
    _check_values(
        "outputs must be probabilities", probabilities, first, lambda v: (v >= 0) & (v <= 1)
    )
    _check_values(
        "targets must be 0, 1 or NaN", targets, first, lambda v: np.isin(v, (0, 1)) | np.isnan(v)
    )
    return targets, probabilities


def _check_values(expected: str, values: np.ndarray, first: int, allowed: Any) -> None:
    wrong = np.argwhere(~allowed(values))
    if len(wrong):
        row, column = wrong[0]
        raise checks.error(expected, given=f"{values[row, column]:g} at index {first + row}")
