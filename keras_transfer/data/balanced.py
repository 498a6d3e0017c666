"""Deals out examples with several labels, or in groups, so that each part gets its share of every label.

Examples that stay together are a unit. A unit is a row of counts: its examples, then how many of them have each label.
First every frequent combination of labels gives each part whole shares. What is left is dealt out one by one, rarest
labels first (Sechidis et al., "On the Stratification of Multi-label Data", 2011), to the part that is most behind. At
the end single units move or change places as long as that brings the counts closer to the shares.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

__all__ = ["ABSENT", "deal"]

ABSENT = -1  # an id that is not shared out: a tag that an image does not have
SIZE = 4.0  # how much more it counts that a part has its share of all examples than that it has its share of a label
ROUNDS = 300  # changes at the end, at most
CANDIDATES = 48  # units of each part that are tried for changing places
ENOUGH = 4  # examples of a combination that each part must get for its whole shares to be dealt out at once
LARGEST = 2_000_000  # counts of labels of the units that may move: the last ones, with frequent labels only


def deal(
    labels: np.ndarray,
    shares: np.ndarray,
    *,
    order: np.ndarray,
    together: np.ndarray | None = None,
    spare: int | None = None,
) -> np.ndarray:
    """Returns the part of each example.

    Args:
        labels: Ids from 0, `(n,)` or `(n, columns)`; `ABSENT` where there is nothing to share out.
        shares: Of each part; they sum to 1.
        order: The examples in the order that decides between equals.
        together: A number for each example; those of equal numbers come to one part. None: each by itself.
        spare: A part that must get an example of every label, however small its share.

    Example:
        >>> tags = np.array([[0, -1], [0, 0], [-1, 0], [-1, -1]])
        >>> owners = deal(tags, np.array([0.5, 0.5]), order=np.arange(4))
        >>> np.bincount(owners).tolist(), np.bincount(owners[:2]).tolist()
        ([2, 2], [1, 1])
    """
    labels = labels.reshape(len(labels), -1)[order]
    units = _number(None if together is None else together[order], len(labels))
    counts = _count(labels, units)
    owners = np.full(counts.shape[0], -1)
    if together is None:
        owners = _deal_whole_shares(labels, shares)
    task = _Task(counts, shares, spare, owners)
    rest = _rarest_first(counts, np.flatnonzero(owners < 0))
    _deal_rest(task, rest)
    most = max(CANDIDATES, LARGEST // counts.shape[1])
    _improve(task, rest[-most:])

    result = np.empty(len(labels), np.int64)
    result[order] = owners[units]
    return result


class _Task(NamedTuple):
    """What is dealt out.

    `counts` has a row of counts for each unit, `owners` the part of each, -1 as long as it has none.
    """

    counts: sparse.csr_matrix
    shares: np.ndarray
    spare: int | None
    owners: np.ndarray

    def totals(self) -> np.ndarray:
        """Returns how many examples there are, and how many with each label."""
        return np.asarray(self.counts.sum(axis=0))[0]

    def dealt(self) -> np.ndarray:
        """Returns what each part has: `(parts, columns)`."""
        parts = len(self.shares)
        is_dealt = self.owners >= 0
        rows, columns = self.owners[is_dealt], np.flatnonzero(is_dealt)
        shape = (parts, len(self.owners))
        chosen = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape)
        return (chosen @ self.counts).toarray()


def _number(together: np.ndarray | None, count: int) -> np.ndarray:
    """Returns the unit of each example; units are numbered as they come."""
    if together is None:
        return np.arange(count)
    _, first, numbers = np.unique(together, return_index=True, return_inverse=True)
    ranks = np.empty(len(first), np.int64)
    ranks[np.argsort(first)] = np.arange(len(first))
    return ranks[numbers]


def _count(labels: np.ndarray, units: np.ndarray) -> sparse.csr_matrix:
    """Returns for each unit the number of its examples, and of those with each label."""
    rows, columns, start = [units], [np.zeros(len(units), np.int64)], 1
    for ids in labels.T:
        has = np.flatnonzero(ids != ABSENT)
        values, numbers = np.unique(ids[has], return_inverse=True)
        rows.append(units[has])
        columns.append(start + numbers)
        start += len(values)
    places = np.concatenate(rows), np.concatenate(columns)
    shape = (int(units.max(initial=-1)) + 1, start)
    counts = sparse.csr_matrix((np.ones(len(places[0])), places), shape)
    counts.sum_duplicates()
    return counts


def _deal_whole_shares(labels: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Returns the part of each example, -1 for those that are left when every combination has given whole shares."""
    _, kinds, sizes = np.unique(labels, axis=0, return_inverse=True, return_counts=True)
    by_kind = np.argsort(kinds, kind="stable")
    starts = np.cumsum(sizes) - sizes
    places = np.empty(len(labels), np.int64)
    places[by_kind] = np.arange(len(labels)) - np.repeat(starts, sizes)

    whole = np.floor(np.outer(sizes, shares) + 1e-9)
    whole[whole[:, shares > 0].min(axis=1) < ENOUGH] = 0
    ends = np.cumsum(whole, axis=1)
    owners = (places[:, None] >= ends[kinds]).sum(axis=1)
    return np.where(owners < len(shares), owners, -1)


def _deal_rest(task: _Task, rest: np.ndarray) -> None:
    """Gives each unit of `rest` to the part that is most behind, measured on what was dealt out of the rest so far."""
    counts, owners = task.counts, task.owners
    totals = task.totals()
    dealt = task.dealt()
    wanted = np.outer(task.shares, totals) - dealt
    shares = wanted / np.maximum(wanted.sum(axis=0), 1)  # of the rest, by part and column
    size = totals[0] / counts.shape[0]  # of a unit, in the mean
    weights = 1 / np.sqrt(size + totals)
    weights[0] *= SIZE

    given = np.zeros_like(dealt)
    for unit in rest:
        start, end = counts.indptr[unit : unit + 2]
        columns, added = counts.indices[start:end], counts.data[start:end]
        have = given[:, columns]
        gaps = have - shares[:, columns] * (have.sum(axis=0) + added)
        costs = (2 * gaps + added) @ (weights[columns] * added)
        if task.spare is not None:
            held = np.delete(dealt[:, columns] + have, task.spare, axis=0).sum(axis=0)
            is_last = (totals[columns] - held - added < 1)[columns > 0].any()
            costs[np.arange(len(costs)) != task.spare] += np.inf if is_last else 0
        owner = int(costs.argmin())
        owners[unit] = owner
        given[owner, columns] += added


def _rarest_first(counts: sparse.csr_matrix, units: np.ndarray) -> np.ndarray:
    """Returns some units by their rarest label, then large ones first, then as they come."""
    totals = np.asarray(counts.sum(axis=0))[0]
    rarest = np.full(len(units), np.inf)
    counts = counts[units]
    entries = counts.tocoo()
    np.minimum.at(rarest, entries.row, totals[entries.col])
    sizes = counts[:, [0]].toarray()[:, 0]
    return units[np.lexsort((-sizes, rarest))]


def _improve(task: _Task, rest: np.ndarray) -> None:
    """Moves single units of `rest`, or lets two change places, as long as counts come closer to the shares."""
    counts = task.counts[rest].toarray()
    totals = task.totals()
    size = totals[0] / task.counts.shape[0]
    counts, wanted = counts / size, np.outer(task.shares, totals) / size
    weights = 1 / np.sqrt(1 + wanted)
    weights[:, 0] = SIZE
    squares = counts**2
    gaps = task.dealt() / size - wanted
    one = 1 / size  # an example

    for _ in range(ROUNDS):
        owners = task.owners[rest]
        slopes = 2 * counts @ (weights * gaps).T
        curves = squares @ weights.T
        rows = np.arange(len(rest))
        moves = slopes + curves + (curves - slopes)[rows, owners][:, None]
        moves[rows, owners] = np.inf
        if task.spare is not None:
            kept = (gaps + wanted)[task.spare]
            is_last = ((counts[:, 1:] > 0) & (kept[1:] - counts[:, 1:] < one / 2)).any(axis=1)
            moves[is_last & (owners == task.spare)] = np.inf
        change = _best_change(moves, owners, counts, weights)
        if change is None:
            return
        for unit, part in change:
            gaps[owners[unit]] -= counts[unit]
            gaps[part] += counts[unit]
            task.owners[rest[unit]] = part


def _best_change(
    moves: np.ndarray, owners: np.ndarray, counts: np.ndarray, weights: np.ndarray
) -> list[tuple[int, int]] | None:
    """Returns the units and their new parts that lower the cost most, None if nothing does.

    Args:
        moves: What it costs to move each unit to each part.
        owners: The part of each unit.
        counts: Of each unit.
        weights: Of the squared gaps, by part and column.
    """
    best, change = -1e-9, None
    if moves.size and moves.min() < best:
        unit, part = np.unravel_index(moves.argmin(), moves.shape)
        best, change = moves[unit, part], [(int(unit), int(part))]

    parts = len(weights)
    members = [np.flatnonzero(owners == part) for part in range(parts)]
    for first in range(parts):
        for second in range(first + 1, parts):
            ones = _cheapest(members[first], moves[:, second])
            others = _cheapest(members[second], moves[:, first])
            if not len(ones) or not len(others):
                continue
            both = weights[first] + weights[second]
            saved = 2 * (counts[ones] * both) @ counts[others].T
            costs = moves[ones, second][:, None] + moves[others, first][None] - saved
            if costs.min() < best:
                one, other = np.unravel_index(costs.argmin(), costs.shape)
                best = costs[one, other]
                change = [(int(ones[one]), second), (int(others[other]), first)]
    return change


def _cheapest(units: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Returns the units that cost least to move, few enough to try all pairs."""
    units = units[np.isfinite(costs[units])]
    return units[np.argsort(costs[units], kind="stable")[:CANDIDATES]]
