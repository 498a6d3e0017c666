"""Seeded, stratified splits that never overlap."""

import functools
import hashlib
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any  # groups may be anything that can be written as text

import numpy as np

from keras_transfer.core import checks, labelled, lookup
from keras_transfer.data import balanced
from keras_transfer.data.targets import encoding, missing
from keras_transfer.storage import listing

__all__ = [
    "assign", "by_column", "check_apart", "check_shares", "fold", "fold_groups", "groups_of", "labels_of",
    "note_empty", "numbers_of", "shared_groups", "spread", "units_of",
]  # fmt: skip

ABSENT = balanced.ABSENT


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


def labels_of(targets: Any, class_names: Any = None, weights: Any = None) -> np.ndarray:
    """Returns what splits share out evenly: the classes of all targets, their tags, and which labels are missing.

    Args:
        targets: Encoded targets, an array or a dict of them.
        class_names: The names, in the form of the targets.
        weights: 0 where a label is missing, in the form of the targets; None where none is.

    Returns:
        int32 `(n,)`, or `(n, columns)` if there are several: ids from 0, `ABSENT` where there is nothing to share out.

    Example:
        >>> labels_of({"kind": np.array([1, 0]), "age": np.array([1.5, 2.5])}, {"kind": ["cat", "dog"]}).tolist()
        [1, 0]
    """
    columns = []
    count = 0
    for key, values in labelled.by_task(targets).items():
        count = len(values)
        kind = encoding.kind_of(values, labelled.of_task(class_names, key))
        ids = kind.stratify(values)
        own_weights = labelled.of_task(weights, key)
        is_missing = np.zeros(count, bool)
        if own_weights is not None:
            is_missing = ~labelled.rows(own_weights)
        if ids is None and not is_missing.any():
            continue
        if ids is None:
            ids = np.zeros(count)
        ids = np.array(ids, np.int32).reshape(count, -1)
        if is_missing.any() and ids.shape[1] == 1 and ids.min() >= 0:
            ids[is_missing] = ids[~is_missing].max(initial=-1) + 1
        elif is_missing.any():
            ids[is_missing] = ABSENT
            columns.append(np.where(is_missing, 0, ABSENT).astype(np.int32)[:, None])
        columns.append(ids)

    if not columns:
        return np.zeros(count, np.int32)
    labels = np.concatenate(columns, axis=1)
    return labels[:, 0] if labels.shape[1] == 1 else labels


def numbers_of(names: Iterable[Any]) -> np.ndarray:
    """Returns a number for each name, the same on every machine, for `keys` and `groups`.

    Args:
        names: File names below the user's folder, or groups; numbers count as their text.

    Returns:
        uint64; equal for equal names, however a file system writes their accents.

    Example:
        >>> numbers_of(["a.jpg", "b.jpg", "a.jpg"]) == numbers_of(["a.jpg"])
        array([ True, False,  True])
    """
    digests = bytearray()
    for name in names:
        text = unicodedata.normalize("NFC", str(name))
        content = text.encode(errors="surrogateescape")
        digests += hashlib.blake2b(content, digest_size=8).digest()
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def groups_of(values: Sequence[Any] | np.ndarray, count: int, *, name: str = "group") -> np.ndarray:
    """Checks a column of groups, such as the patient of each image.

    Args:
        values: One an image; a blank one (None, NaN, "") is a group of that image alone.
        count: How many images there are.
        name: How errors call the argument.

    Returns:
        Numbers as of `numbers_of`.

    Example:
        >>> len(set(groups_of(["p1", "p1", None, ""], 4).tolist()))
        3
    """
    if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__len__"):
        given = type(values).__name__
        raise checks.error(f"`{name}` must be a list with a group for each image", given=given)
    values = np.ravel(values).tolist() if isinstance(values, np.ndarray) else list(values)
    if len(values) != count:
        given = f"{len(values)} groups, {count} images"
        raise checks.error(f"`{name}` must hold a group for each image", given=given)
    odd = next((at for at, value in enumerate(values) if not _is_name(value)), None)
    if odd is not None:
        fix = "A group is a text or a whole number."
        raise checks.error(
            f"`{name}` must hold names of groups",
            given=f"{values[odd]!r} at index {odd}",
            fix=fix,
        )
    texts = []
    for at, value in enumerate(values):
        if missing.is_blank(value):
            texts.append(f"image {at}\0")
        elif isinstance(value, float | np.floating) and value == int(value):
            texts.append(str(int(value)))  # a column of whole numbers with blanks is read as floats
        else:
            texts.append(str(value))
    return numbers_of(texts)


def units_of(
    keys: np.ndarray, *, copies: np.ndarray | None = None, groups: np.ndarray | None = None
) -> np.ndarray:
    """Returns a number for each example, equal for those that stay together: the smallest of their keys.

    Args:
        keys: As for `assign`.
        copies: As for `assign`.
        groups: As for `assign`.

    Example:
        >>> units_of(np.array([7, 5, 6]), copies=np.array([1, 1, 2]), groups=np.array([0, 3, 4])).tolist()
        [5, 5, 6]
    """
    together = _join(copies, groups)
    if together is None:
        return keys
    _, numbers = np.unique(together, return_inverse=True)
    least = np.full(int(numbers.max(initial=-1)) + 1, keys.max(initial=0))
    np.minimum.at(least, numbers, keys)
    return least[numbers]


def _is_name(value: object) -> bool:
    if missing.is_blank(value) or isinstance(value, str | int | np.integer | np.bool_):
        return True
    return isinstance(value, float | np.floating) and bool(np.isfinite(value))


def by_column(values: Sequence[Any], *, name: str = "split") -> dict[str, np.ndarray]:
    """Returns the rows of each split that a column names.

    Args:
        values: "train", "validation" or "test" an image, in any of the spellings that folders may have ("val", "Test").
        name: How errors call the column.

    Example:
        >>> {split: rows.tolist() for split, rows in by_column(["train", "val", "train"]).items()}
        {'train': [0, 2], 'validation': [1]}
    """
    rows: dict[str, list[int]] = {}
    for at, value in enumerate(values):
        split = None
        if not missing.is_blank(value):
            split = listing.SPLIT_NAMES.get(str(value).strip().lower())
        if split is None:
            fix = "Write 'train', 'validation' or 'test'."
            raise checks.error(
                f"`{name}` must name a split", given=f"{value!r} at index {at}", fix=fix
            )
        rows.setdefault(split, []).append(at)
    if "train" not in rows:
        given = lookup.some(sorted(rows)) or "nothing"
        raise checks.error(f"`{name}` must leave images to train on", given=f"only {given}")
    return {split: np.array(places, np.int64) for split, places in rows.items()}


def check_apart(
    groups: Mapping[str, np.ndarray], names: Mapping[str, Sequence[Any]], *, name: str = "group"
) -> None:
    """Raises an error if a group is in two splits.

    Args:
        groups: Split to the number of the group of each of its examples.
        names: Split to the groups as the user wrote them, for the error.
        name: How errors call the argument.

    Example:
        >>> check_apart({"train": np.array([1]), "test": np.array([2])}, {"train": ["a"], "test": ["b"]})
    """
    splits = list(groups)
    for place, first in enumerate(splits):
        for second in splits[place + 1 :]:
            is_shared = np.isin(groups[second], groups[first])
            if is_shared.any():
                at = int(is_shared.argmax())
                given = f"{names[second][at]!r} in {first} and {second}"
                fix = "Move its images to one of them: scores on known groups are too good."
                raise checks.error(f"each `{name}` must be in one split", given=given, fix=fix)


def assign(
    labels: np.ndarray,
    shares: Mapping[str, float],
    *,
    seed: int,
    copies: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    keys: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Deals examples out to training and held-out splits.

    Of one column of labels without `groups`, every class gives each split its share, rounded up or down, and keeps at
    least one training example. With several columns, tags, or `groups`, all labels come as close to their shares as
    their combinations and the sizes of the groups let them.

    Args:
        labels: As `labels_of` returns them.
        shares: Held-out split to its share of all examples.
        seed: Equal seeds give equal splits.
        copies: A number for each example; examples of equal content have equal numbers and stay in one split, in
            training if they have different labels. By default there are no copies.
        groups: A number for each example; those of one group stay in one split, whatever their labels.
        keys: A number for each example that does not depend on their order, from `numbers_of`. With it the splits do
            not depend on the order either, and an added example moves few others. Without it the order decides.

    Returns:
        Split to its indices in rising order; "train" is what the others leave.

    Example:
        >>> {name: len(rows) for name, rows in assign(np.zeros(10, int), {"test": 0.3}, seed=0).items()}
        {'train': 7, 'test': 3}
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels)) if keys is None else _order_of(keys, seed)
    if groups is None and labels.ndim == 1 and labels.min(initial=0) >= 0:
        parts = _assign_classes(labels, shares, rng, order, copies)
    else:
        together = _join(copies, groups)
        names = [*shares, "train"]
        sizes = np.array([*shares.values(), 1 - sum(shares.values())])
        owners = balanced.deal(labels, sizes, order=order, together=together, spare=len(shares))
        parts = {name: np.flatnonzero(owners == at) for at, name in enumerate(names[:-1])}

    held = np.concatenate([*parts.values(), np.empty(0, int)])
    return {"train": np.setdiff1d(np.arange(len(labels)), held), **parts}


def fold(
    labels: np.ndarray,
    count: int,
    *,
    seed: int,
    groups: np.ndarray | None = None,
    keys: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Deals examples out to folds of about equal size, every example to one.

    Args:
        labels: As for `assign`.
        count: How many folds.
        seed: As for `assign`.
        groups: As for `assign`.
        keys: As for `assign`.

    Example:
        >>> [len(rows) for rows in fold(np.array([0, 0, 0, 1, 1, 1]), 3, seed=0)]
        [2, 2, 2]
    """
    units = len(labels) if groups is None else len(np.unique(groups))
    if count > units:
        what = "images" if groups is None else "groups"
        raise checks.error(f"there must be {what} for {count} folds", given=f"{units} {what}")
    if keys is None:
        order = np.random.default_rng(seed).permutation(len(labels))
    else:
        order = _order_of(keys, seed)
    shares = np.full(count, 1 / count)
    owners = balanced.deal(labels, shares, order=order, together=groups)
    return [np.flatnonzero(owners == at) for at in range(count)]


def shared_groups(groups: Sequence[Any] | np.ndarray | None, count: int) -> np.ndarray | None:
    """Returns a number from 0 for the group of each example; None where no two share one, or all do.

    Example:
        >>> shared_groups([7, 3, 7], 3).tolist(), shared_groups([7, 3, 1], 3)
        ([1, 0, 1], None)
    """
    if groups is None:
        return None
    if np.shape(groups) != (count,):
        given = f"shape {np.shape(groups)}, {count} images"
        raise checks.error("`groups` must have a group for each image", given=given)
    names, numbers = np.unique(groups, return_inverse=True)
    return numbers if 1 < len(names) < count else None


def fold_groups(labels: np.ndarray, groups: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """Returns the fold of each example, the same for all of one group; there are no more folds than groups.

    Args:
        labels: As for `assign`.
        groups: As of `shared_groups`.
        count: How many folds.
        seed: As for `assign`.

    Example:
        >>> folds = fold_groups(np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1]), 5)
        >>> sorted(folds.tolist()), folds[0] == folds[1]
        ([0, 0, 1, 1], np.True_)
    """
    count = min(count, int(groups.max()) + 1)
    fold_of = np.empty(len(labels), np.int64)
    for number, rows in enumerate(fold(labels, count, seed=seed, groups=groups)):
        fold_of[rows] = number
    return fold_of


def spread(labels: np.ndarray, *, seed: int) -> np.ndarray:
    """Returns an order of the examples in which each beginning has labels in about the shares of all.

    The first image of every label comes before the second of any.

    Args:
        labels: As for `assign`; of several columns, examples that are equal in all of them count as one label.
        seed: Equal seeds give equal orders.

    Example:
        >>> labels = np.array([0, 0, 0, 0, 1, 1])
        >>> labels[spread(labels, seed=0)[:3]].tolist().count(0)
        2
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    _, kinds, sizes = np.unique(labels[shuffled], axis=0, return_inverse=True, return_counts=True)
    kinds = kinds.reshape(-1)
    ranks = np.empty(len(labels))
    for kind, size in enumerate(sizes):
        ranks[kinds == kind] = (np.arange(size) + 0.5) / size
        ranks[np.flatnonzero(kinds == kind)[0]] = -1.0
    return shuffled[np.argsort(ranks, kind="stable")]


def note_empty(parts: Mapping[str, np.ndarray], shares: Mapping[str, float]) -> list[str]:
    """Notes the splits that got nothing though they were asked for."""
    return [
        checks.note(f"too few images for a {name} share of {share:g}: there is no {name} split")
        for name, share in shares.items()
        if share and not len(parts[name])
    ]


def _order_of(keys: np.ndarray, seed: int) -> np.ndarray:
    """Returns the examples in the order of a hash of key and seed."""
    salt = seed.to_bytes(8, "little")
    contents = np.ascontiguousarray(keys, "<u8").tobytes()
    hashes = bytearray()
    for start in range(0, len(contents), 8):
        content = contents[start : start + 8]
        hashes += hashlib.blake2b(content, digest_size=8, salt=salt).digest()
    ranks = np.frombuffer(hashes, ">u8")
    return np.argsort(ranks, kind="stable")


def _join(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    """Returns numbers that are equal where examples are connected by either of two kinds of groups."""
    if first is None or second is None:
        return second if first is None else first
    from scipy.sparse import csgraph, csr_matrix

    _, rows = np.unique(first, return_inverse=True)
    _, columns = np.unique(second, return_inverse=True)
    columns = columns + rows.max() + 1
    size = int(columns.max()) + 1
    links = csr_matrix((np.ones(len(rows)), (rows, columns)), (size, size))
    _, component = csgraph.connected_components(links, directed=False)
    return component[rows]


def _assign_classes(
    strata: np.ndarray,
    shares: Mapping[str, float],
    rng: np.random.Generator,
    order: np.ndarray,
    copies: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """Returns the held-out splits of examples with one class each."""
    sizes = np.bincount(strata)
    room = np.maximum(sizes - 1, 0)
    take: Callable[[int, int], np.ndarray]
    if copies is None:
        take = functools.partial(_take_single, _by_stratum(strata, order))
    else:
        take = functools.partial(_take_units, _units(strata, order, copies))
    parts = {}
    for name, share in shares.items():
        counts = _counts(sizes, share, room, rng)
        room = room - counts
        taken = [take(at, count) for at, count in enumerate(counts)]
        parts[name] = np.sort(np.concatenate(taken)).astype(int)
    return parts


def _by_stratum(strata: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
    """Returns the indices of each class, in the given order."""
    sorted_by_class = order[np.argsort(strata[order], kind="stable")]
    return np.split(sorted_by_class, np.cumsum(np.bincount(strata))[:-1])


def _take_single(rest: list[np.ndarray], at: int, count: int) -> np.ndarray:
    """Removes the first `count` indices of class `at` from `rest`."""
    taken, rest[at] = rest[at][:count], rest[at][count:]
    return taken


def _units(strata: np.ndarray, order: np.ndarray, copies: np.ndarray) -> list[list[np.ndarray]]:
    """For each class the index arrays that stay together, in the given order, without copies of several classes."""
    units: list[list[np.ndarray]] = [[] for _ in range(strata.max() + 1)]
    members: dict[int, list[int]] = {}
    for index in order:
        members.setdefault(int(copies[index]), []).append(int(index))
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
