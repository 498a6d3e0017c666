"""Chooses TensorFlow's kernels for the processor. The choice must be made before TensorFlow is imported."""

import os
import platform
import sys
from pathlib import Path

__all__ = ["SWITCH", "advice", "choose", "flags", "in_use", "rounding"]

CPUINFO = Path("/proc/cpuinfo")
SWITCH = "TF_ENABLE_ONEDNN_OPTS"
# Processors on which TensorFlow uses oneDNN by itself.
BY_ITSELF = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}
ONEDNN, OWN = "oneDNN", "TensorFlow's own"

_is_told = False  # whether the user was told that oneDNN is off


def choose() -> None:
    """Turns oneDNN on where it is quicker but TensorFlow leaves it off.

    That is the case on Linux, on x86 processors with AVX2 but no instructions for neural networks: networks trained
    1.3 to 1.9 times as fast there (`examples/benchmarks/kernels.py`). Does nothing if the environment variable
    `SWITCH` is set or TensorFlow has been imported.
    """
    if "tensorflow" not in sys.modules and _is_worth_it():
        os.environ[SWITCH] = "1"


def in_use() -> str:
    """Returns the kernels that TensorFlow computes with.

    Example:
        >>> in_use() in ("oneDNN", "TensorFlow's own")
        True
    """
    value = os.environ.get(SWITCH)
    return ONEDNN if value == "1" or (value is None and flags() & BY_ITSELF) else OWN


def rounding() -> list[str]:
    """Returns what decides how sums are rounded: kernels, processor flags, oneDNN's settings, number of threads.

    Example:
        >>> rounding()[0] == in_use()
        True
    """
    import tensorflow as tf

    vector_flags = [
        flag for flag in flags() if flag.startswith(("avx", "amx", "fma", "asimd", "sve"))
    ]
    settings = [
        f"{name}={value}" for name, value in os.environ.items() if name.startswith("ONEDNN_")
    ]
    threads = tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count()
    return [in_use(), *sorted(vector_flags), *sorted(settings), f"threads={threads}"]


def advice() -> str:
    """Returns a line for the user if oneDNN would be quicker but is off, the first time in a process; else ""."""
    global _is_told
    if _is_told or not _is_worth_it():
        return ""
    _is_told = True
    return (
        "Networks train 1.3 to 1.9 times as fast on this processor with oneDNN's kernels, which are off because "
        "TensorFlow was imported first. To turn them on, put `import keras_transfer` above `import keras` and "
        f"`import tensorflow`, or set the environment variable {SWITCH}=1."
    )


def _is_worth_it() -> bool:
    """Whether oneDNN is quicker here, off by default, and not switched by the user."""
    if SWITCH in os.environ or platform.system() != "Linux":
        return False
    return "avx2" in flags() and not flags() & BY_ITSELF


def flags() -> set[str]:
    """Returns the flags of the processor, such as "avx2"; an empty set where the system does not list them."""
    try:
        return set(CPUINFO.read_text().split())
    except OSError:
        return set()
