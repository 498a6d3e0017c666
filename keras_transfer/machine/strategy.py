"""`kt.strategy`: finds the devices that train, and shares every training step among them."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any  # a tf.distribute.Strategy, or what has its `scope` under JAX

import keras

from keras_transfer.core import checks, lookup
from keras_transfer.machine import cluster, engine, jax_strategy

__all__ = ["NAMES", "check_model", "count_replicas", "made", "strategy"]

NAMES = ("auto", "one", "mirrored", "multiworker", "tpu")
COLAB = (
    "In Colab choose Runtime > Change runtime type > TPU, and set the environment variable KERAS_BACKEND=jax in the "
    "first cell, before Keras is imported; a machine without a TPU takes strategy='auto'."
)
# What a machine with TPUs has: devices of its kernel, or addresses that its runtime set.
TPU_DEVICES = ("/dev/accel0", "/dev/vfio/0")
TPU_ADDRESSES = ("TPU_NAME", "COLAB_TPU_ADDR", "TPU_WORKER_HOSTNAMES", "TPU_ACCELERATOR_TYPE")

_made: Any = None  # the strategy of this process, if it shares steps among devices


def strategy(
    name: str = "auto", *, devices: int | Sequence[str] | None = None, wait: float = 600
) -> Any:
    """Finds the devices that train, prints which, and returns a strategy for them.

    Models that are built in its scope train on all of them: each device computes its share of every batch, so the
    `batch_size` of the data is that of all devices together, and weights, logs and answers are those of one device.
    A process makes one such strategy and keeps it.

    Args:
        name: "auto" takes a TPU, else several GPUs, else one GPU, else the CPU, and the workers of the environment
            variable TF_CONFIG where it names several; "one" a single device; "mirrored" the GPUs of this machine;
            "multiworker" the machines of TF_CONFIG; "tpu" a TPU.
        devices: How many devices, or their names ("GPU:0"); all by default. A machine without GPUs takes its CPU as
            that many virtual devices, to try a program out.
        wait: How many seconds to wait for other workers.

    Returns:
        Under TensorFlow a `tf.distribute.Strategy`, under JAX a `keras.distribution.DataParallel`; both have `scope()`.

    Raises:
        InputError: If the devices are not there, or the process has a strategy already.

    Example:
        >>> import keras_transfer as kt
        >>> strategy = kt.strategy("one")
        keras_transfer: Strategy 'one': trains on the CPU.
        >>> with strategy.scope():
        ...     model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(2))
    """
    global _made
    lookup.find(name, dict.fromkeys(NAMES), argument="strategy")
    _check_devices(name, devices)
    checks.number(wait, name="wait", above=0)
    if _made is not None:
        raise checks.error(
            "a process must make one strategy only",
            given=f"{name!r} after {type(_made).__name__}",
            fix="Keep the first one, and use its scope for every model.",
        )
    if engine.is_jax():
        made_now, line = jax_strategy.make(name, devices, wait)
    else:
        made_now, line = _make(name, devices, wait)
    checks.note(f"Strategy {name!r}: {line}.")
    if made_now.num_replicas_in_sync > 1:
        _made = made_now
    return made_now


def made() -> Any:
    """Returns the strategy of this process that shares steps among devices, None without one."""
    return _made


def count_replicas(model: keras.Model) -> int:
    """Returns how many devices share a step of `fit`."""
    shared = _made if engine.is_jax() else model.distribute_strategy
    return getattr(shared, "num_replicas_in_sync", 1)


def check_model(model: keras.Model) -> None:
    """Raises an error if this process has a strategy and the variables of `model` were made outside its scope."""
    if _made is None or engine.is_jax():
        return
    for variable in model.variables:
        home = getattr(variable.value, "distribute_strategy", None)
        if home is not _made:
            raise checks.error(
                "a model must be built in the scope of the strategy, its backbone as well",
                given=f"{model.name!r}, whose {variable.path!r} was made outside",
                fix="Write `with strategy.scope():` above the lines that make backbone and model.",
            )


def _check_devices(name: str, devices: int | Sequence[str] | None) -> None:
    """Raises an error if `devices` is no number and no list of names."""
    if devices is None:
        return
    if name in ("one", "multiworker") and devices != 1:
        raise checks.error(f"`devices` must be left out for strategy {name!r}", given=repr(devices))
    if isinstance(devices, str) or not isinstance(devices, Sequence):
        checks.integer(devices, name="devices")
    elif not devices or not all(isinstance(device, str) for device in devices):
        raise checks.error(
            "`devices` must be a number or a list of names such as 'GPU:0'", given=repr(devices)
        )


def _make(name: str, devices: int | Sequence[str] | None, wait: float) -> tuple[Any, str]:
    """Returns a strategy of TensorFlow and a line that says what it trains on."""
    import tensorflow as tf

    gpus = len(tf.config.list_physical_devices("GPU"))
    if name == "auto":
        name = _choose(gpus, devices)
    if name == "tpu":
        return _tpu(devices)
    if name == "multiworker":
        return _several_machines(wait)
    if name == "mirrored":
        return _mirrored(devices, gpus)
    return tf.distribute.get_strategy(), f"trains on {'one GPU' if gpus else 'the CPU'}"


def _choose(gpus: int, devices: int | Sequence[str] | None) -> str:
    """Returns the strategy for what this machine has."""
    if _has_tpu():
        if _tensorflow_has_tpu():
            return "tpu"
        checks.note(f"This machine has a TPU, which this TensorFlow cannot use. {COLAB}")
    if cluster.is_given():
        return "multiworker"
    wanted = devices if isinstance(devices, int) else len(devices or ())
    return "mirrored" if gpus > 1 or wanted > 1 else "one"


def _mirrored(devices: int | Sequence[str] | None, gpus: int) -> tuple[Any, str]:
    """Returns a strategy for devices of this machine."""
    import tensorflow as tf

    from keras_transfer.machine import shares

    if not isinstance(devices, int) and devices is not None:
        known = {device.name.partition("device:")[2] for device in tf.config.list_logical_devices()}
        for device in devices:
            lookup.find(device, dict.fromkeys(sorted(known)), argument="devices")
        names = list(devices)
        return shares.Mirrored(names), _shared_among(", ".join(names), len(names))

    if gpus == 0:
        count = devices or 1
        names = _split_cpu(count)
        what = f"{count} virtual devices of the CPU"
    else:
        count = devices or gpus
        if count > gpus:
            fix = "Leave `devices` out to take all."
            raise checks.error(
                f"`devices` must be at most {gpus}, the GPUs here", given=count, fix=fix
            )
        names = [f"GPU:{number}" for number in range(count)]
        what = f"{count} GPUs"
    if count == 1:
        return tf.distribute.get_strategy(), f"trains on {'one GPU' if gpus else 'the CPU'}"
    return shares.Mirrored(names), _shared_among(what, count)


def _split_cpu(count: int) -> list[str]:
    """Makes virtual devices of the CPU, and returns their names."""
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    present = tf.config.get_logical_device_configuration(cpu)
    if len(present or [None]) < count:
        parts = [tf.config.LogicalDeviceConfiguration()] * count
        try:
            tf.config.set_logical_device_configuration(cpu, parts)
        except RuntimeError as started:
            raise checks.error(
                "virtual devices must be made before TensorFlow computes anything",
                given=f"{count} devices in a process that has computed",
                fix="Call kt.strategy right after the imports.",
            ) from started
    return [f"CPU:{number}" for number in range(count)]


def _several_machines(wait: float) -> tuple[Any, str]:
    """Returns a strategy for the machines of TF_CONFIG, this one among them, when all have started."""
    import tensorflow as tf

    from keras_transfer.machine import shares, watching

    workers = cluster.read()
    if workers.count == 1:
        line = "TF_CONFIG names one worker, so this process trains alone"
        return tf.distribute.get_strategy(), line
    workers.check_own_address()
    links = workers.meet(wait)
    watching.start(links, workers.addresses, workers.index)
    os.environ.setdefault("GRPC_FAIL_FAST", "use_caller")  # notices a worker that is gone
    try:
        made_now = shares.SeveralMachines()
    except RuntimeError as started:
        if "program startup" not in str(started):
            raise
        raise checks.error(
            "several machines must be joined before TensorFlow computes anything",
            given="a process that has computed",
            fix="Call kt.strategy right after the imports: stages and models come after it.",
        ) from started
    watching.take_signal_back()
    replicas = made_now.num_replicas_in_sync
    which = f"worker {workers.index + 1} of {workers.count}"
    return made_now, f"{which}, {_shared_among('all workers', replicas)}"


def _shared_among(what: str, count: int) -> str:
    return f"every batch is shared among {what} ({count} replicas)"


def _has_tpu() -> bool:
    """Whether this machine looks like one with a TPU."""
    return any(pathlib.Path(device).exists() for device in TPU_DEVICES) or any(
        os.environ.get(address) for address in TPU_ADDRESSES
    )


def _tensorflow_has_tpu() -> bool:
    """Whether TensorFlow was built for TPUs, which the one of the package index is not."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("TPU")) or tf.sysconfig.get_build_info().get(
        "is_tpu_build", False
    )


def _tpu(devices: int | Sequence[str] | None) -> tuple[Any, str]:
    """Returns a strategy for a TPU under TensorFlow, which is a best effort: JAX is the engine for TPUs."""
    import tensorflow as tf

    if devices is not None:
        raise checks.error("`devices` must be left out for a TPU", given=repr(devices))
    if not _has_tpu() and not _tensorflow_has_tpu():
        raise checks.error("strategy 'tpu' needs a TPU", given="a machine without one", fix=COLAB)
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(
            os.environ.get("TPU_NAME", "local")
        )
        made_now = tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as failed:
        given = f"a TensorFlow that cannot use it ({checks.first_line(failed)})"
        raise checks.error("strategy 'tpu' needs a TPU", given=given, fix=COLAB) from failed
    count = made_now.num_replicas_in_sync
    return (
        made_now,
        f"{_shared_among('the cores of the TPU', count)}; a best effort: use JAX on TPUs",
    )
