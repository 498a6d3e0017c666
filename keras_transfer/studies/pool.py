"""Runs a function many times: one after the other, in processes of this machine, or on a Ray cluster."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from keras_transfer.core import checks, optional

__all__ = ["check", "run"]


def check(jobs: int, ray: str | None) -> int:
    """Returns `jobs` if it can be; raises an error where Ray is asked for and not installed."""
    jobs = checks.integer(jobs, name="jobs")
    if ray is not None:
        if not isinstance(ray, str) or not ray:
            fix = "Such as 'auto', or 'local' for one on this machine."
            raise checks.error("`ray` must be an address of a cluster", given=repr(ray), fix=fix)
        _require_ray()
    return jobs


def run(
    function: Callable[[Any, Any], Any],
    shared: Any,
    items: Sequence[Any],
    *,
    jobs: int = 1,
    ray: str | None = None,
) -> Iterator[Any]:
    """Yields `function(shared, item)` of each item as it is done; one at a time in order, others in any order.

    The processes have as many threads as this one is set to, so that they compute the same to the bit.

    Args:
        function: Of a module, since other processes import it.
        shared: What all calls have in common; it goes to each process once.
        items: What differs.
        jobs: How many processes.
        ray: Address of a Ray cluster, which gives each call a processor core; "local" starts one here with `jobs`
            cores.

    Example:
        >>> import operator
        >>> list(run(operator.add, 1, [2, 3]))
        [3, 4]
    """
    if ray is not None:
        yield from _run_on_ray(function, shared, items, jobs, ray)
    elif jobs > 1 and len(items) > 1:
        yield from _run_in_processes(function, shared, items, min(jobs, len(items)))
    else:
        for item in items:
            yield function(shared, item)


def _run_in_processes(
    function: Callable, shared: Any, items: Sequence[Any], jobs: int
) -> Iterator[Any]:
    from concurrent import futures

    # Unlike the standard library's, these processes do not run the user's script again, and take functions from it.
    from joblib.externals import loky

    executor = loky.ProcessPoolExecutor(
        max_workers=jobs, initializer=_begin, initargs=(function, shared, _threads())
    )
    try:
        pending = [executor.submit(_work, item) for item in items]
        for done in futures.as_completed(pending):
            yield done.result()
    finally:
        executor.shutdown(wait=True, kill_workers=True)


def _run_on_ray(
    function: Callable, shared: Any, items: Sequence[Any], jobs: int, address: str
) -> Iterator[Any]:
    ray = _require_ray()
    was_running = ray.is_initialized()
    if not was_running:
        own = {"num_cpus": jobs, "include_dashboard": False} if address == "local" else {}
        ray.init(address=address, log_to_driver=False, **own)

    @ray.remote(num_cpus=1, max_retries=3)  # a machine that goes away loses no training
    def call(common: Any, item: Any, threads: tuple[int, int]) -> Any:
        _set_threads(threads)
        return function(common, item)

    try:
        common, threads = ray.put(shared), _threads()
        pending = [call.remote(common, item, threads) for item in items]
        while pending:
            ready, pending = ray.wait(pending)
            yield from ray.get(ready)
    finally:
        if not was_running:
            ray.shutdown()


_process: dict[str, Any] = {}  # what this process works on


def _begin(function: Callable, shared: Any, threads: tuple[int, int]) -> None:
    """Begins a process of the pool."""
    _set_threads(threads)
    _process.update(function=function, shared=shared)


def _work(item: Any) -> Any:
    return _process["function"](_process["shared"], item)


def _threads() -> tuple[int, int]:
    threading = tf.config.threading
    return (
        threading.get_intra_op_parallelism_threads(),
        threading.get_inter_op_parallelism_threads(),
    )


def _set_threads(threads: tuple[int, int]) -> None:
    if threads == _threads():
        return
    tf.config.threading.set_intra_op_parallelism_threads(threads[0])
    tf.config.threading.set_inter_op_parallelism_threads(threads[1])


def _require_ray() -> Any:
    return optional.require("ray", extra="ray", purpose="A comparison on a Ray cluster")
