"""Scores of class probabilities: accuracy, precision, recall, F1, confusion and calibration."""

import math
from collections.abc import Sequence

import numpy as np
from sklearn import metrics

from keras_transfer.core import checks, one_hot

__all__ = ["class_ids", "classification_scores", "confused", "probability_rows"]

CALIBRATION_BINS = 15


def classification_scores(
    targets: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]
) -> dict:
    """Scores of `probabilities` against class ids, as a dict that goes into JSON as it is.

    `precision`, `recall` and `f1` are unweighted means over the classes that occur among the targets or the answers
    (scikit-learn's "macro" with 0 where a class was never answered). `classes` holds the same by name, with `support`,
    the number of targets; a class without any has None for its scores. `confusion[i][j]` counts targets `i` answered
    `j`. `accuracy_interval` is Wilson's 95 % interval. `ece` is the expected calibration error: the mean distance
    between confidence and accuracy over 15 equal bins of confidence (Guo et al. 2017, arXiv:1706.04599). `top_5` is
    there from six classes on.

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
    names = [str(name) for name in class_names]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise checks.error("`class_names` must all differ", given=f"{twice!r} more than once")
    probabilities = probability_rows(probabilities, classes=len(names))
    targets = class_ids(targets, examples=len(probabilities), classes=len(names))
    if not len(targets):
        raise checks.error("there must be at least one example to score", given="none")
    answers = probabilities.argmax(axis=1)
    ids = np.arange(len(names))
    macro = metrics.precision_recall_fscore_support(
        targets, answers, average="macro", zero_division=0
    )[:3]
    columns = metrics.precision_recall_fscore_support(targets, answers, labels=ids, zero_division=0)
    right = int((answers == targets).sum())
    scores = {
        "accuracy": right / len(targets),
        "accuracy_interval": _wilson(right, len(targets)),
        **dict(zip(("precision", "recall", "f1"), map(float, macro), strict=True)),
        "ece": calibration_error(probabilities, targets),
        "support": len(targets),
        "classes": {name: _row(*row) for name, *row in zip(names, *columns, strict=True)},
        "confusion": metrics.confusion_matrix(targets, answers, labels=ids).tolist(),
    }
    if len(names) > 5:
        above = (probabilities > probabilities[np.arange(len(targets)), targets][:, None]).sum(
            axis=1
        )
        scores["top_5"] = float((above < 5).mean())
    return scores


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


def _row(precision: float, recall: float, f1: float, support: int) -> dict:
    values = (float(precision), float(recall), float(f1)) if support else (None, None, None)
    return {
        **dict(zip(("precision", "recall", "f1"), values, strict=True)),
        "support": int(support),
    }


def _wilson(right: int, examples: int, z: float = 1.959964) -> list[float]:
    share, spread = right / examples, z * z / examples
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * share * (1 - share) + spread * spread / 4) / (1 + spread)
    return [max(0.0, centre - half), min(1.0, centre + half)]


def calibration_error(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Returns how far confidences are from the share of right answers: `ece` of `classification_scores`.

    Example:
        >>> round(calibration_error(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1])), 3)
        0.4
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=CALIBRATION_BINS)
    return float(abs(gaps).sum() / len(confidence))
