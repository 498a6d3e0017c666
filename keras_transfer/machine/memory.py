"""Free memory, and computing in bfloat16 on the CPU."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from keras_transfer.machine import kernels

__all__ = ["bfloat16", "free_memory", "has_bfloat16"]

BFLOAT16 = {"avx512_bf16", "amx_bf16"}  # flags of processors that compute in it
OPTION = "auto_mixed_precision_onednn_bfloat16"  # of TensorFlow's graph optimizer
MEMINFO = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Returns how many bytes of main memory are free; half of all memory where the system does not say.

    Example:
        >>> free_memory() > 0
        True
    """
    available = _read_number(MEMINFO, "MemAvailable:") * 1024
    if not available:
        try:
            available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        except (AttributeError, OSError, ValueError):  # not a POSIX system
            available = 4 * 2**30
    return int(min(available, _container_memory()))


def has_bfloat16() -> bool:
    """Returns whether the processor computes in bfloat16; False where it does not say.

    Example:
        >>> has_bfloat16() in (True, False)
        True
    """
    return bool(kernels.flags() & BFLOAT16)


@contextlib.contextmanager
def bfloat16() -> Iterator[None]:
    """Lets TensorFlow functions that first run within the block compute in bfloat16 on the CPU where that is safe.

    Weights, inputs and outputs stay float32.

    Example:
        >>> import tensorflow as tf
        >>> with bfloat16():
        ...     tf.config.optimizer.get_experimental_options()["auto_mixed_precision_onednn_bfloat16"]
        True
    """
    import tensorflow as tf

    before = tf.config.optimizer.get_experimental_options().get(OPTION, False)
    tf.config.optimizer.set_experimental_options({OPTION: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({OPTION: before})


def _container_memory() -> int | float:
    """Returns the free part of a Linux container's memory, infinity without a limit."""
    try:
        limit, used = (int((GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no container, or the limit is "max"
        return float("inf")
    # The container counts cached files as used, but frees them on demand.
    return max(0, limit - used + _read_number(GROUP / "memory.stat", "inactive_file"))


def _read_number(file: Path, name: str) -> int:
    """Returns the number on the line that begins with the word `name`, 0 if there is none."""
    try:
        rows = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return 0
    return next((int(row[1]) for row in rows if row[:1] == [name]), 0)
