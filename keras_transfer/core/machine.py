"""What the machine has to spare."""

import os
from pathlib import Path

__all__ = ["free_memory"]

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
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        try:
            available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        except (AttributeError, OSError, ValueError):  # not a POSIX system
            available = 4 * 2**30
    return min(available, _container_memory())


def _container_memory() -> int | float:
    """What is left of the limit that a Linux container sets, infinite without one."""
    try:
        return int((GROUP / "memory.max").read_text()) - int((GROUP / "memory.current").read_text())
    except (OSError, ValueError):  # no container, or the limit is "max"
        return float("inf")
