"""How alike two sets of features of the same images are."""

import numpy as np

from keras_transfer.core import checks

__all__ = ["cka", "neighbours"]

CHUNK = 256  # rows compared with all others at a time


def cka(first: np.ndarray, second: np.ndarray) -> float:
    """Returns the linear centred kernel alignment of two sets of features, from 0 to 1 (Kornblith et al. 2019).

    It does not change when features are rotated, shifted or scaled as a whole; their numbers may differ.

    Args:
        first: One row an image; further axes count as features.
        second: Of the same images.

    Returns:
        1 for features that arrange the images alike, 0 where nothing in one tells of the other, NaN where one of them
        is the same for all images.

    Raises:
        InputError: If the numbers of images differ.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(9, 4))
        >>> round(cka(features, 3 * features[:, ::-1]), 6)
        1.0
    """
    if len(first) != len(second):
        given = f"{len(first)} and {len(second)} rows"
        raise checks.error("features must be of the same images", given=given)
    x, y = (_centred(each) for each in (first, second))
    # The same numbers by either way: products of features, or products of images, whatever is smaller.
    if len(x) > max(x.shape[1], y.shape[1]):
        between, own, other = x.T @ y, x.T @ x, y.T @ y
        shared = float((between**2).sum())
    else:
        own, other = x @ x.T, y @ y.T
        shared = float((own * other).sum())
    size = np.linalg.norm(own) * np.linalg.norm(other)
    return shared / float(size) if size > 0 else float("nan")


def neighbours(
    features: np.ndarray, queries: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the places and the cosine similarity of the features most alike each query, (queries, count) each.

    Args:
        features: Among which to look, (images, features).
        queries: What to look for, (queries, features).
        count: How many.

    Example:
        >>> places, similarity = neighbours(np.eye(3), np.array([[1.0, 0.9, 0.0]]), 2)
        >>> places.tolist()
        [[0, 1]]
    """
    known = _unit(features)
    count = min(count, len(known))
    places, similarities = [], []
    for start in range(0, len(queries), CHUNK):
        alike = _unit(queries[start : start + CHUNK]) @ known.T
        best = np.argsort(-alike, axis=1, kind="stable")[:, :count]
        places.append(best)
        similarities.append(np.take_along_axis(alike, best, axis=1))
    return np.concatenate(places), np.concatenate(similarities)


def _centred(features: np.ndarray) -> np.ndarray:
    rows = np.asarray(features, "float64").reshape(len(features), -1)
    return rows - rows.mean(axis=0)


def _unit(features: np.ndarray) -> np.ndarray:
    rows = np.asarray(features, "float32").reshape(len(features), -1)
    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(sizes == 0, 1, sizes)
