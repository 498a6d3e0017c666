"""Groups of images, such as cameras, clinics or people: how many, with which labels, and how well they are told apart.

A group that nearly always has one label teaches the network the group instead; a group in which a classifier on the
network's features is worse than in others will get worse answers.
"""

from collections.abc import Iterator

import numpy as np

from keras_transfer.studies.doctor import base

__all__ = ["check"]

TIED = 0.5  # Cramér's V of groups and labels, from where on a group tells the label
FEW = 10  # images of a group
RATIO = 10.0  # the largest group by the smallest
GAP = 0.1  # points of accuracy below all images that count, if they are no chance
MOST = 100  # groups that are compared: more are people or places, which splits keep apart


def check(case: base.Case) -> Iterator[base.Finding]:
    """Puts a row a group into `case.facts`, and yields groups that are small, tell the label, or are hard."""
    if case.groups is None:
        return
    groups, ids, counts = np.unique(case.groups, return_inverse=True, return_counts=True)
    names = [str(group) for group in groups]
    table = [{"group": name, "images": int(n)} for name, n in zip(names, counts, strict=True)]
    case.facts["groups"] = table
    if not 2 <= len(names) <= MOST:
        return

    small = [name for name, n in zip(names, counts, strict=True) if n < FEW]
    if small and counts.max() >= RATIO * counts.min():
        words = base.count(len(small), "group has", "groups have")
        yield base.Finding(
            "warning",
            f"{words} fewer than {FEW} images, the largest {counts.max():,}",
            fix="Add images of these groups: answers for them cannot be trusted, nor measured.",
            count=len(small),
            details={"groups": small},
        )
    for of, column in case.kinds("category"):
        yield from _compare_labels(of, column, ids, table)
        yield from _compare_accuracy(case, of, ids, table)


def _compare_labels(
    of: str, column: base.Column, ids: np.ndarray, table: list[dict]
) -> Iterator[base.Finding]:
    labels = np.asarray(column.targets)[column.present]
    cells = np.zeros((len(table), int(labels.max(initial=0)) + 1))
    np.add.at(cells, (ids[column.present], labels.clip(0)), 1)
    cells = cells[:, cells.any(axis=0)]
    kept = cells.any(axis=1)
    if cells.shape[1] < 2 or kept.sum() < 2:
        return

    names = [str((column.names or labels)[label]) for label in np.unique(labels.clip(0))]
    for row, own in zip(table, cells, strict=True):
        total = max(own.sum(), 1)
        row[f"labels{of}"] = {
            name: round(float(n / total), 4) for name, n in zip(names, own, strict=True)
        }
    tie = _cramers_v(cells[kept])
    if tie >= TIED:
        yield base.Finding(
            "warning",
            f"the group nearly tells the label{of} (Cramér's V {tie:.2f}): a network may learn the group instead",
            fix="Add images of the missing combinations, or measure on groups that were not trained on.",
            count=len(table),
            details={"cramers_v": round(tie, 4)},
        )


def _compare_accuracy(
    case: base.Case, of: str, ids: np.ndarray, table: list[dict]
) -> Iterator[base.Finding]:
    if of not in case.facts.get("probe", {}):
        return
    rows, right = case.facts["probe"][of]
    whole, worse = float(right.mean()), []
    for number, row in enumerate(table):
        own = right[ids[rows] == number]
        if not len(own):
            continue
        share = float(own.mean())
        row[f"right{of}"] = round(share, 4)
        chance = 2 * np.sqrt(whole * (1 - whole) / len(own))
        if whole - share > max(GAP, chance):
            worse.append(row["group"])
    if worse:
        groups = base.count(len(worse), "group is", "groups are")
        yield base.Finding(
            "warning",
            f"{groups} harder{of}: {', '.join(worse[:5])}, against {whole:.0%} right of all images",
            fix="Add images of these groups, and measure each group by itself.",
            count=len(worse),
            details={"groups": worse},
        )


def _cramers_v(cells: np.ndarray) -> float:
    """Returns how far columns depend on rows, 0 to 1, corrected for chance (Bergsma, 2013)."""
    total = cells.sum()
    expected = cells.sum(axis=1, keepdims=True) * cells.sum(axis=0, keepdims=True) / total
    rows, columns = cells.shape
    square = ((cells - expected) ** 2 / expected).sum() / total
    square = max(0.0, square - (rows - 1) * (columns - 1) / (total - 1))
    rows_left = rows - (rows - 1) ** 2 / (total - 1)
    columns_left = columns - (columns - 1) ** 2 / (total - 1)
    least = min(rows_left, columns_left) - 1
    return float(np.sqrt(square / least)) if least > 0 else 0.0
