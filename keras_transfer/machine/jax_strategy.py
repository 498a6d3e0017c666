"""The strategies of `kt.strategy` under JAX: every batch is divided among the devices of all processes."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any  # shardings, data sets

import keras

from keras_transfer.core import checks, optional, processes
from keras_transfer.machine import cluster, shares, watching

__all__ = ["Spread", "alone", "count_devices", "divide", "gather", "make"]


class Spread(keras.distribution.DataParallel):
    """Several devices, of one process or of several, that divide every batch.

    Every process reads all data and takes its rows. A batch that the devices do not divide is filled up with rows that
    do not count.
    """

    @property
    def num_replicas_in_sync(self) -> int:
        """How many devices share a step."""
        return self.device_mesh.devices.size

    def distribute_dataset(self, dataset: Any) -> Any:
        """Returns the rows of each batch that this process has."""
        if self.num_replicas_in_sync == 1 or not shares.can_be_dealt(dataset):
            return dataset
        return shares.fill_up(
            dataset,
            devices=self.num_replicas_in_sync,
            process=self._process_id,
            processes=self.num_processes,
        )

    def leave(self) -> None:
        """Ends the sharing: waits until every process has called this, and computes alone afterwards.

        What was made before belongs to all of them: load the model again.
        """
        keras.distribution.set_distribution(None)
        jax = optional.require("jax", extra="jax", purpose="A strategy of JAX")
        if self.num_processes > 1:
            jax.distributed.shutdown()


def make(name: str, devices: int | Sequence[str] | None, wait: float) -> tuple[Any, str]:
    """Returns a `keras.distribution.DataParallel`, set for this process, and a line that says what it trains on.

    Args:
        name: As for `kt.strategy`.
        devices: As for `kt.strategy`.
        wait: As for `kt.strategy`.
    """
    if name == "multiworker" or (name == "auto" and cluster.is_given()):
        _join_others(wait)
    found = keras.distribution.list_devices()
    if devices is None or name == "one":
        chosen = found[:1] if name == "one" else found
    elif isinstance(devices, int):
        chosen = found[:devices]
        if len(chosen) < devices:
            raise checks.error(f"`devices` must be at most {len(found)}", given=devices)
    else:
        chosen = list(devices)
    made = Spread(devices=chosen, auto_shard_dataset=False)
    keras.distribution.set_distribution(made)
    line = f"every batch is shared among {', '.join(chosen)}"
    if made.num_processes == 1:
        return made, line
    if not processes.are_several():  # joined by the user's own code
        processes.join(made._process_id)  # the first one writes files
    return made, f"worker {made._process_id + 1} of {made.num_processes}, {line}"


def _join_others(wait: float) -> None:
    """Joins the processes of TF_CONFIG, the first of which is JAX's coordinator, before JAX looks for devices."""
    jax = optional.require("jax", extra="jax", purpose="A strategy of JAX")
    if jax.distributed.is_initialized():
        return
    workers = cluster.read()
    if workers.count == 1:
        return
    workers.check_own_address()
    links = workers.meet(wait)

    def may_be_loss(failed: Exception) -> bool:
        return isinstance(failed, jax.errors.JaxRuntimeError) or "Gloo" in str(failed)

    watching.start(links, workers.addresses, workers.index, may_be_loss=may_be_loss)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        keras.distribution.initialize(",".join(workers.addresses), workers.count, workers.index)
    except RuntimeError as started:
        if "before any JAX" not in str(started):
            raise
        raise checks.error(
            "several processes must be joined before JAX computes anything",
            given="a process that has computed",
            fix="Call kt.strategy right after the imports: stages and models come after it.",
        ) from started
    watching.take_signal_back()


def count_devices() -> int:
    """Returns how many devices share a step; 1 without a strategy.

    Example:
        >>> count_devices()
        1
    """
    return getattr(keras.distribution.distribution(), "num_replicas_in_sync", 1)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Variables that are made in the block are this process's own: others need not make them at the same time.

    Example:
        >>> with alone():
        ...     count_devices()
        1
    """
    shared = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(shared)


def divide(batch: Any) -> Any:
    """Returns an array of a traced function with its rows divided among the devices, as many on each."""
    shared = keras.distribution.distribution()
    if shared is None:
        return batch
    jax = optional.require("jax", extra="jax", purpose="A strategy of JAX")
    return jax.lax.with_sharding_constraint(
        batch, shared.get_data_layout(batch.shape).backend_layout
    )


def gather(arrays: Any) -> Any:
    """Returns arrays of a traced function that every device, so every process, has as a whole."""
    shared = keras.distribution.distribution()
    if shared is None:
        return arrays
    layout = keras.distribution.TensorLayout([], shared.device_mesh)
    jax = optional.require("jax", extra="jax", purpose="A strategy of JAX")
    return jax.lax.with_sharding_constraint(arrays, layout.backend_layout)
