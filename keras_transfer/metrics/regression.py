"""Scores of predicted numbers: absolute and squared error, explained variance."""

import numpy as np
from sklearn import metrics

from keras_transfer.core import checks
from keras_transfer.metrics import intervals

__all__ = ["number_rows", "regression_intervals", "regression_scores"]


def regression_scores(targets: np.ndarray, values: np.ndarray) -> dict:
    """Scores of predicted numbers, as a dict that goes into JSON as it is.

    `mae` and `rmse` are in the unit of the targets, `bias` is the mean of value minus target. `r2` is the share of the
    targets' variance that is explained; it is None where all targets are equal. With several numbers an example, the
    scores are means over them and `outputs` lists those of each. `intervals` has the 95 % interval of each score, by
    the bootstrap over examples.

    Args:
        targets: Shape (examples,) or (examples, outputs).
        values: The predictions, of the same number of examples and outputs.

    Raises:
        InputError: If shapes disagree or a number is not finite.

    Example:
        >>> regression_scores([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])["r2"]
        0.5
    """
    values = number_rows(values, name="outputs")
    targets = number_rows(targets, name="targets")
    if targets.shape != values.shape:
        raise checks.error(
            f"targets must have the shape of the outputs, {values.shape}", given=targets.shape
        )
    if not len(values):
        raise checks.error("there must be at least one example to score", given="none")
    outputs = [_scores(*pair) for pair in zip(targets.T, values.T, strict=True)]
    scores: dict = {}
    for key in outputs[0]:
        scores[key] = _mean([output[key] for output in outputs])
    scores["support"] = len(values)
    scores["intervals"] = regression_intervals(targets, values)
    if len(outputs) > 1:
        scores["outputs"] = outputs
    return scores


def regression_intervals(
    targets: np.ndarray, values: np.ndarray, *, groups: np.ndarray | None = None
) -> dict[str, list[float]]:
    """Returns the 95 % interval of each score, by the bootstrap over examples, or over groups of them.

    Args:
        targets: As for `regression_scores`.
        values: As for `regression_scores`.
        groups: As for `bootstrap_interval`.

    Example:
        >>> sorted(regression_intervals([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]))
        ['bias', 'mae', 'r2', 'rmse']
    """
    targets = number_rows(targets, name="targets")
    values = number_rows(values, name="outputs")
    centre = targets.mean(axis=0)  # squares of large numbers would lose digits
    gaps, truth = values - targets, targets - centre
    columns = [abs(gaps), gaps**2, gaps, truth, truth**2]
    owners = intervals.units_of(groups, len(gaps))
    columns = [_add_up(column, owners) for column in columns]
    counts = np.bincount(owners).astype("float64")
    outputs = targets.shape[1]

    def score(sums: np.ndarray) -> dict[str, np.ndarray]:
        size = sums[:, -1:, None]
        means = sums[:, :-1].reshape(len(sums), len(columns), outputs)
        errors, squares, bias, first, second = np.moveaxis(intervals.divide(means, size), 1, 0)
        spread = second - first**2
        found = {
            "mae": errors,
            "rmse": np.sqrt(squares),
            "r2": 1 - intervals.divide(squares, np.where(spread > 1e-12 * second, spread, 0)),
            "bias": bias,
        }
        return {name: each.mean(axis=1) for name, each in found.items()}

    rows = np.concatenate([*columns, counts[:, None]], axis=1)
    found = intervals.bootstrap_intervals(score, rows)
    return {name: list(bounds) for name, bounds in found.items() if bounds is not None}


def number_rows(values: np.ndarray, *, name: str, first: int = 0) -> np.ndarray:
    """Returns `values` as float64 of shape (examples, outputs) if all are finite; `first` is the first row's index.

    Example:
        >>> number_rows([1, 2], name="targets")
        array([[1.],
               [2.]])
    """
    values = np.asarray(values)
    if values.dtype.kind not in "iubf" or values.ndim not in (1, 2):
        given = f"{values.dtype} of shape {values.shape}"
        raise checks.error(
            f"{name} must be numbers of shape (examples,) or (examples, outputs)", given=given
        )
    values = (values[:, None] if values.ndim == 1 else values).astype("float64")
    wrong = ~np.isfinite(values)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        fix = "A missing label has a sample weight of 0." if name == "targets" else ""
        raise checks.error(
            f"{name} must be finite", given=f"{values[row, column]} at index {first + row}", fix=fix
        )
    return values


def _scores(targets: np.ndarray, values: np.ndarray) -> dict:
    return {
        "mae": float(metrics.mean_absolute_error(targets, values)),
        "rmse": float(metrics.root_mean_squared_error(targets, values)),
        "r2": float(metrics.r2_score(targets, values)) if np.ptp(targets) else None,
        "bias": float((values - targets).mean()),
    }


def _add_up(columns: np.ndarray, owners: np.ndarray) -> np.ndarray:
    sums = [np.bincount(owners, weights=column) for column in columns.T]
    return np.stack(sums, axis=1)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
