"""Which kernels TensorFlow computes with on the processor: a choice that stands as soon as it is imported."""

import os
import platform
import sys
from pathlib import Path

__all__ = ["SWITCH", "choose", "in_use", "rounding", "told"]

CPUINFO = Path("/proc/cpuinfo")
SWITCH = "TF_ENABLE_ONEDNN_OPTS"
# Processors on which TensorFlow uses oneDNN by itself.
BY_ITSELF = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}
ONEDNN, OWN = "oneDNN", "TensorFlow's own"

_chosen = False  # whether this process was given oneDNN here


def choose() -> None:
    """Has TensorFlow compute with oneDNN where it would not by itself, though it is quicker there.

    That is on Linux, on x86 processors with AVX2 and without instructions for neural networks: the networks that were
    tried train there 1.3 to 1.9 times as fast (`examples/benchmarks/kernels.py`). Nothing is done if `SWITCH` is set or
    TensorFlow was imported before.
    """
    global _chosen
    if "tensorflow" not in sys.modules and _is_open():
        os.environ[SWITCH] = "1"
        _chosen = True


def in_use() -> str:
    """Returns whose kernels TensorFlow computes with.

    Example:
        >>> in_use() in ("oneDNN", "TensorFlow's own")
        True
    """
    asked = os.environ.get(SWITCH)
    return ONEDNN if asked == "1" or (asked is None and _flags() & BY_ITSELF) else OWN


def rounding() -> list[str]:
    """Returns what decides how sums are rounded: whose kernels, for which processor, how many threads.

    Example:
        >>> rounding()[0] == in_use()
        True
    """
    import tensorflow as tf

    flags = sorted(
        flag for flag in _flags() if flag.startswith(("avx", "amx", "fma", "asimd", "sve"))
    )
    settings = sorted(
        f"{name}={value}" for name, value in os.environ.items() if name.startswith("ONEDNN_")
    )
    threads = tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count()
    return [in_use(), *flags, *settings, f"threads={threads}"]


def told() -> str:
    """Returns a line for the user where there is something to say, else ""."""
    if _chosen:
        return f"TensorFlow computes with oneDNN's kernels, the quicker ones on this processor ({SWITCH}=0: its own)"
    if _is_open():
        return (
            "oneDNN's kernels are quicker on this processor, but off, for TensorFlow was imported first: "
            f"import keras_transfer before it, or set {SWITCH}=1"
        )
    return ""


def _is_open() -> bool:
    """Whether the choice was left open, on a processor on which it matters."""
    flags = _flags()
    return (
        SWITCH not in os.environ
        and platform.system() == "Linux"
        and "avx2" in flags
        and not flags & BY_ITSELF
    )


def _flags() -> set[str]:
    """What the processor says that it can do; nothing where it does not say."""
    try:
        return set(CPUINFO.read_text().split())
    except OSError:
        return set()
