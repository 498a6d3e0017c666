"""Running a function over batches, several at a time."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any  # items are whatever the caller's function takes

import numpy as np

from keras_transfer.core import checks
from keras_transfer.machine import engine, progress

__all__ = ["narrow", "run"]

AT_ONCE = 3  # batches: an operation that cannot use all cores leaves them to another batch


def run(
    work: Callable[[Any], Any],
    items: Iterable,
    *,
    label: str = "",
    total: int | None = None,
    verbose: str | int = 0,
) -> Iterator[tuple[Any, Any]]:
    """Yields each item with the result of `work`, in order.

    Args:
        work: Called once for each item, in threads.
        items: Batches.
        label: What is done, for the progress bar.
        total: How many there are, for the progress bar.
        verbose: 0 shows nothing; if it takes over two seconds, 1 shows a progress bar, 2 one line at the end.

    Example:
        >>> list(run(abs, [-1, -2]))
        [(-1, 1), (-2, 2)]
    """
    items = iter(items)
    # The first one alone: a function of TensorFlow traces in its first call.
    first = ((item, work(item)) for item in itertools.islice(items, 1))
    results = itertools.chain(first, _run_ahead(work, items))
    yield from progress.follow(results, label, total=total, verbose=verbose)


def _run_ahead(work: Callable[[Any], Any], items: Iterable) -> Iterator[tuple[Any, Any]]:
    at_once = AT_ONCE if engine.devices()[0].lower().rpartition(":")[0].endswith("cpu") else 1
    with futures.ThreadPoolExecutor(at_once) as pool:
        waiting: collections.deque = collections.deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) == at_once:
                    done, result = waiting.popleft()
                    yield done, result.result()
            for done, result in waiting:
                yield done, result.result()
        finally:
            for _, result in waiting:
                result.cancel()


def narrow(path: str, values: np.ndarray, dtype: str) -> np.ndarray:
    """Returns float32 features in the type that they are kept in.

    Raises:
        InputError: If they are too large for it.

    Example:
        >>> narrow("pool", np.ones(2, "float32"), "float16").dtype
        dtype('float16')
    """
    if dtype == "float32":
        return values
    with np.errstate(over="ignore"):  # the error below says it
        narrowed = values.astype(dtype)
    if not np.array_equal(np.isfinite(narrowed), np.isfinite(values)):
        largest = np.abs(values).max()
        limit = f"'float16', up to {np.finfo(np.float16).max:g}"
        given = f"{limit}, for {path!r} with values up to {largest:g}"
        fix = "Use dtype='float32'."
        raise checks.error("`dtype` must hold the features", given=given, fix=fix)
    return narrowed
