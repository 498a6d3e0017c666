"""What the machine has to spare, and what it can do."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["bfloat16", "free_memory", "has_bfloat16"]

CPUINFO = Path("/proc/cpuinfo")
BFLOAT16 = ("avx512_bf16", "amx_bf16")  # what a processor says that computes with it
OPTION = "auto_mixed_precision_onednn_bfloat16"  # of TensorFlow's graph optimizer
MEMINFO = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Returns how many bytes of main memory are free to use; half of all of it where the system does not say.

    Example:
        >>> free_memory() > 0
        True
    """
    try:
        lines = MEMINFO.read_text().splitlines()
        available = next(
            int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")
        )
    except (OSError, StopIteration):
        try:
            available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        except (AttributeError, OSError, ValueError):  # not a POSIX system
            available = 4 * 2**30
    return min(available, _container_memory())


def has_bfloat16() -> bool:
    """Whether the processor computes with bfloat16; False where it does not say.

    Example:
        >>> has_bfloat16() in (True, False)
        True
    """
    try:
        words = set(CPUINFO.read_text().split())
    except OSError:
        return False
    return bool(words & set(BFLOAT16))


@contextlib.contextmanager
def bfloat16() -> Iterator[None]:
    """Functions of TensorFlow that run on the CPU for the first time within compute in bfloat16 where that is safe.

    Weights, what goes in and what comes out stay float32.

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
    """What is left of the limit that a Linux container sets, infinite without one."""
    try:
        limit, used = (int((GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        return max(0, limit - used + _inactive_files())
    except (OSError, ValueError):  # no container, or the limit is "max"
        return float("inf")


def _inactive_files() -> int:
    """What a container counts as used though it would be free on demand: files that were read and not since."""
    try:
        lines = (GROUP / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
