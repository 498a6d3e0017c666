"""What the machine has to spare."""

import os
import pathlib

__all__ = ["free_memory"]


def free_memory() -> int:
    """Returns how many bytes this process may take before it is in the way of others, or of a container's limit.

    Example:
        >>> free_memory() > 0
        True
    """
    try:
        lines = dict(line.split(":") for line in pathlib.Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # no Linux
        try:
            free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        except (AttributeError, ValueError, OSError):
            return 4 * 2**30
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            room = [int((pathlib.Path("/sys/fs/cgroup") / name).read_text()) for name in (limit, used)]
        except (OSError, ValueError):  # "max" is no limit
            continue
        free = min(free, max(room[0] - room[1], 0))
    return free
