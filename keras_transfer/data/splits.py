"""Seeded, stratified splits that never overlap."""

import functools
from collections.abc import Callable, Mapping

import numpy as np

from keras_transfer.core import checks

__all__ = ["assign", "check_shares", "note_empty"]


def check_shares(shares: Mapping[str, float]) -> dict[str, float]:
    """Returns the shares of the held-out splits if they leave something to train on."""
    shares = {name: checks.share(share, name=name) for name, share in shares.items()}
    if sum(shares.values()) >= 1:
        given = " + ".join(f"{share:g}" for share in shares.values())
        raise checks.error(
            "`validation` and `test` together must be below 1",
            given=given,
            fix="The rest is trained on.",
        )
    return shares


def assign(
    strata: np.ndarray, shares: Mapping[str, float], *, seed: int, groups: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Deals examples out to training and held-out splits.

    Every class gives each split its share, rounded up or down, and keeps at least one training example. Examples of one
    group stay together, a group of several classes in training; so large groups may make a split smaller.

    Args:
        strata: Class id of every example; all the same where there are no classes.
        shares: Held-out split to its share of all examples.
        seed: Equal seeds give equal splits.
        groups: Group id of every example; by default each is one of its own.

    Returns:
        Split to its indices in rising order; "train" is what the others leave.

    Example:
        >>> {name: len(rows) for name, rows in assign(np.zeros(10, int), {"test": 0.3}, seed=0).items()}
        {'train': 7, 'test': 3}
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(strata))
    sizes = np.bincount(strata)
    room = np.maximum(sizes - 1, 0)
    take: Callable[[int, int], np.ndarray]
    if groups is None:
        take = functools.partial(_take_single, _by_stratum(strata, order))
    else:
        take = functools.partial(_take_units, _units(strata, order, groups))
    parts = {}
    for name, share in shares.items():
        counts = _counts(sizes, share, room, rng)
        room = room - counts
        taken = [take(at, count) for at, count in enumerate(counts)]
        parts[name] = np.sort(np.concatenate(taken)).astype(int)
    held = np.concatenate([*parts.values(), np.empty(0, int)])
    return {"train": np.setdiff1d(np.arange(len(strata)), held), **parts}


def note_empty(parts: Mapping[str, np.ndarray], shares: Mapping[str, float]) -> list[str]:
    """Notes the splits that got nothing though they were asked for."""
    return [
        checks.note(f"too few images for a {name} share of {share:g}: there is no {name} split")
        for name, share in shares.items()
        if share and not len(parts[name])
    ]


def _by_stratum(strata: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
    """Returns the indices of each class, in the given order."""
    sorted_by_class = order[np.argsort(strata[order], kind="stable")]
    return np.split(sorted_by_class, np.cumsum(np.bincount(strata))[:-1])


def _take_single(rest: list[np.ndarray], at: int, count: int) -> np.ndarray:
    """Removes the first `count` indices of class `at` from `rest`."""
    taken, rest[at] = rest[at][:count], rest[at][count:]
    return taken


def _units(strata: np.ndarray, order: np.ndarray, groups: np.ndarray) -> list[list[np.ndarray]]:
    """For each class the index arrays that stay together, in the given order, without groups of several classes."""
    units: list[list[np.ndarray]] = [[] for _ in range(strata.max() + 1)]
    members: dict[int, list[int]] = {}
    for index in order:
        members.setdefault(int(groups[index]), []).append(int(index))
    for rows in members.values():
        if len(set(strata[rows])) == 1:
            units[strata[rows[0]]].append(np.array(rows))
    return units


def _counts(
    sizes: np.ndarray, share: float, room: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """How many examples each class gives: its share rounded so that the sum is right (largest remainders first)."""
    exact = sizes * share
    counts = np.minimum(np.floor(exact).astype(int), room)
    missing = int(np.floor(exact.sum() + 0.5)) - int(counts.sum())
    remainder = exact - np.floor(exact)
    by_remainder = np.lexsort((rng.permutation(len(sizes)), -np.round(remainder, 9)))
    takers = [at for at in by_remainder if remainder[at] > 1e-9 and counts[at] < room[at]]
    counts[takers[: max(missing, 0)]] += 1
    return counts


def _take_units(rest: list[list[np.ndarray]], at: int, count: int) -> np.ndarray:
    """Removes from those of class `at` the units that fill `count` best, first come first served."""
    units, taken = rest[at], []
    for unit in list(units):
        if len(unit) <= count:
            count -= len(unit)
            taken.append(unit)
    chosen = {id(unit) for unit in taken}
    units[:] = [unit for unit in units if id(unit) not in chosen]
    return np.concatenate([*taken, np.empty(0, int)])
