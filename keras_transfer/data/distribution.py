"""How labels are distributed over the splits: what a report shows of the data that a model learned from."""

from collections.abc import Mapping, Sequence
from typing import Any  # targets, names and weights are one thing, or dicts by task

import numpy as np

from keras_transfer.core import labelled, one_hot
from keras_transfer.data.targets import KINDS

__all__ = ["tabulate"]

MOST = 40  # rows of a table
BINS = 10


def tabulate(targets: Mapping[str, Any], names: Any, weights: Mapping[str, Any] | None) -> dict:
    """Counts the labels of each task by split, as plain values.

    Args:
        targets: Split to its encoded targets, an array or a dict of arrays.
        names: Class names, or a dict of them.
        weights: Split to weights, 0 for a missing label; None where none is missing.

    Returns:
        By task ("" for one without a name): `splits`, and `rows` of a name and a count for each split. Of numbers,
        counts are of ten intervals; of many classes, the rarest are summed up. Targets that cannot be counted are left
        out.

    Example:
        >>> tabulate({"train": np.array([0, 1, 1]), "test": np.array([0])}, ["cat", "dog"], None)
        {'': {'splits': ['train', 'test'], 'rows': [['cat', 1, 1], ['dog', 2, 0]]}}
    """
    tables = {}
    for name in labelled.by_task(next(iter(targets.values()))):
        known, missing = [], []
        for split, values in targets.items():
            own = labelled.of_task(values, name) if isinstance(values, Mapping) else values
            weight = labelled.of_task(weights and weights.get(split), name)
            known.append(labelled.known(own, weight))
            missing.append(len(own) - len(known[-1]))
        rows = _rows(known, labelled.of_task(names, name))
        if rows and any(missing):
            rows.append(["no label", *missing])
        if rows:
            tables[name] = {"splits": list(targets), "rows": rows}
    return tables


def _rows(columns: Sequence[Any], names: Sequence[str] | None) -> list[list]:
    first = columns[0]
    if not hasattr(first, "dtype") or not len(first):
        return []
    if first.ndim == 2 and first.shape[1] == 1:
        columns = [values[:, 0] for values in columns]
    elif first.ndim == 2 and first.dtype.kind in "iub":
        ids = [one_hot.class_ids(values) for values in columns]
        if any(each is None for each in ids):
            return []
        columns = ids
    kind = next((kind for kind in KINDS.values() if kind.holds(columns[0], names)), None)
    count = getattr(kind, "count", None)
    if first.ndim > 2 and kind in (KINDS["category"], KINDS["tags"], KINDS["number"]):
        return []  # a value a pixel
    if names is not None and count is not None:
        counts = np.transpose([count(values, names) for values in columns])
        rows = [[name, *map(int, row)] for name, row in zip(names, counts, strict=True)]
        return _shortened(rows)
    is_number = kind is KINDS["number"] and columns[0].ndim == 1
    return _intervals(columns) if is_number else []


def _shortened(rows: list[list]) -> list[list]:
    if len(rows) <= MOST:
        return rows
    order = sorted(range(len(rows)), key=lambda place: -rows[place][1])
    kept, others = sorted(order[: MOST - 1]), order[MOST - 1 :]
    sums = np.sum([rows[place][1:] for place in others], axis=0).tolist()
    return [rows[place] for place in kept] + [[f"{len(others)} others", *sums]]


def _intervals(columns: Sequence[np.ndarray]) -> list[list]:
    low = min(float(values.min()) for values in columns if len(values))
    high = max(float(values.max()) for values in columns if len(values))
    edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    counts = [np.histogram(values, edges)[0] for values in columns]
    rows = []
    for place, row in enumerate(np.transpose(counts)):
        name = f"{edges[place]:.4g} – {edges[place + 1]:.4g}"
        rows.append([name, *map(int, row)])
    return rows
