"""Pictures that are there twice: copies of a file, and pictures that look the same after another scaling or saving.

Candidates have similar hashes: hashes are sorted four times, each time from another quarter of their bits, and each
picture is compared with the next few. That takes linear time and memory. Two pictures look the same where their grey
thumbnails correlate by more than `SAME`. Nearly all real photos do so with themselves saved again, at half the size
or with less contrast; of all pairs of the 3,900 pictures of six real sets, six did, and each showed one picture twice.
"""

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from keras_transfer.studies.doctor import base

__all__ = ["check"]

SAME = 0.99  # correlation of two thumbnails
BITS = 10  # bits in which the hashes of two pictures that look the same may differ
AHEAD = 8  # pictures that each is compared with in every order of the hashes
FLATTEST = 4.0  # thumbnails that vary less are all alike
CHUNK = 2**16  # pairs compared at a time


def check(case: base.Case) -> Iterator[base.Finding]:
    """Yields copies across splits, copies with different labels, and all others; then the same for near copies."""
    readable = case.pictures.readable
    exact = _equal(case.pictures.digests[readable])
    near = _connect(len(readable), _alike(case, readable))
    kinds = (
        ("copies", "Remove all but one file of each group.", exact),
        ("near copies", "Keep one picture of each group, or all of them in one split.", near),
    )
    seen = np.arange(len(readable))
    for kind, fix, groups in kinds:
        # Near copies that are copies of each other were told already.
        told = _groups(readable, groups, known=seen if kind == "near copies" else None)
        yield from _report(case, told, kind, fix)
        seen = exact


def _report(
    case: base.Case, groups: list[np.ndarray], kind: str, fix: str
) -> Iterator[base.Finding]:
    is_exact = kind == "copies"
    across, torn, rest = [], [], []
    for group in groups:
        is_across = len(set(case.splits[group])) > 1
        is_torn = _differ_in_label(case, group)
        if is_across:
            across.append(group)
        if is_torn:
            torn.append(group)
        if not is_across and not is_torn:
            rest.append(group)
    if across:
        yield _finding(
            case,
            "error" if is_exact else "warning",
            f"{_count(across, kind)} in several splits: known images are measured",
            across,
            fix="Keep all pictures of a group in one split, or only one of them.",
        )
    if torn:
        yield _finding(
            case,
            "error" if is_exact else "warning",
            f"{_count(torn, kind)} under different labels",
            torn,
            fix="Keep the one with the right label, remove the others.",
        )
    if rest:
        severity = "warning" if is_exact else "note"
        yield _finding(case, severity, f"{_count(rest, kind)} in one split", rest, fix=fix)


def _count(groups: list[np.ndarray], kind: str) -> str:
    images = sum(map(len, groups))
    return f"{base.count(len(groups), 'group')} of {kind} ({images:,} images)"


def _finding(
    case: base.Case, severity: str, what: str, groups: list[np.ndarray], *, fix: str
) -> base.Finding:
    groups = sorted(groups, key=len, reverse=True)
    rows = np.concatenate(groups)
    names, captions = [], []
    for number, group in enumerate(groups, 1):
        names.append([case.pictures.names[row] for row in group])
        captions += [f"group {number} {case.splits[row]}".rstrip() for row in group]
    surplus = len(rows) - len(groups)
    return case.finding(
        severity,
        what,
        rows,
        fix=fix,
        count=surplus,
        details={"groups": names},
        captions=tuple(captions[: base.SHOWN]),
    )


def _differ_in_label(case: base.Case, group: np.ndarray) -> bool:
    for _, column in case.kinds("category"):
        labels = base.of_rows(column.targets, group)[column.present[group]]
        if len(set(labels.tolist())) > 1:
            return True
    return False


def _equal(digests: np.ndarray) -> np.ndarray:
    """Returns the number of the group of each picture; equal digests have one."""
    return np.unique(digests, return_inverse=True)[1]


def _groups(rows: np.ndarray, groups: np.ndarray, *, known: np.ndarray | None) -> list[np.ndarray]:
    """Returns the rows of all groups of two or more; where groups are known, one picture stands for each of these."""
    if known is not None:
        _, first = np.unique(known, return_index=True)
        rows, groups = rows[np.sort(first)], groups[np.sort(first)]
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    parts = np.split(rows[order], starts[1:])
    return [part for part in parts if len(part) > 1]


def _connect(size: int, pairs: np.ndarray) -> np.ndarray:
    """Returns the number of the group of each picture; pairs are in one."""
    links = sparse.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (size, size))
    return sparse.csgraph.connected_components(links, directed=False)[1]


def _alike(case: base.Case, rows: np.ndarray) -> np.ndarray:
    """Returns the pairs of pictures that look the same, as places in `rows`, `(pairs, 2)`."""
    hashes, thumbs = case.pictures.hashes[rows], case.pictures.thumbs[rows]
    is_flat = thumbs.reshape(len(rows), thumbs[0].size if len(rows) else 1).std(axis=1) < FLATTEST
    places = np.flatnonzero(~is_flat)
    alike = [np.empty((0, 2), "int64")]
    for quarter in range(4):
        order = places[np.argsort(_turn(hashes[places], 16 * quarter), kind="stable")]
        for ahead in range(1, AHEAD + 1):
            pairs = np.stack([order[:-ahead], order[ahead:]], axis=1)
            differing = np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]])
            alike.append(_correlated(thumbs, pairs[differing <= BITS]))
    return np.concatenate(alike)


def _turn(hashes: np.ndarray, bits: int) -> np.ndarray:
    """Moves the first bits of each hash to its end."""
    if not bits:
        return hashes
    return (hashes << np.uint64(bits)) | (hashes >> np.uint64(64 - bits))


def _correlated(thumbs: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Returns those pairs whose thumbnails correlate."""
    kept = [np.empty((0, 2), "int64")]
    for start in range(0, len(pairs), CHUNK):
        part = pairs[start : start + CHUNK]
        first, second = (_normal(thumbs[part[:, side]]) for side in (0, 1))
        kept.append(part[(first * second).sum(axis=1) >= SAME])
    return np.concatenate(kept)


def _normal(thumbs: np.ndarray) -> np.ndarray:
    """Returns thumbnails as vectors of mean 0 and length 1."""
    values = thumbs.reshape(len(thumbs), -1).astype("float32")
    values -= values.mean(axis=1, keepdims=True)
    return values / np.linalg.norm(values, axis=1, keepdims=True)
