"""Chooses TensorFlow's kernels for the processor. The choice must be made before TensorFlow is imported."""

import os
import platform
import sys
from pathlib import Path

__all__ = ["SWITCH", "choose", "describe_choice", "flags", "in_use", "rounding"]

CPUINFO = Path("/proc/cpuinfo")
SWITCH = "TF_ENABLE_ONEDNN_OPTS"
# Processors on which TensorFlow uses oneDNN by itself.
BY_ITSELF = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}
ONEDNN, OWN = "oneDNN", "TensorFlow's own"

_chosen = False  # whether `choose` turned oneDNN on in this process


def choose() -> None:
    """Turns oneDNN on where it is quicker but TensorFlow leaves it off.

    That is the case on Linux, on x86 processors with AVX2 but no instructions for neural networks: networks trained
    1.3 to 1.9 times as fast there (`examples/benchmarks/kernels.py`). Does nothing if the environment variable
    `SWITCH` is set or TensorFlow has been imported.
    """
    global _chosen
    if "tensorflow" not in sys.modules and _is_worth_it():
        os.environ[SWITCH] = "1"
        _chosen = True


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


def describe_choice() -> str:
    """Returns a line for the user if oneDNN was turned on, or would be quicker; else ""."""
    if _chosen:
        return f"TensorFlow computes with oneDNN's kernels, the quicker ones on this processor ({SWITCH}=0: its own)"
    if _is_worth_it():
        return (
            "oneDNN's kernels are quicker on this processor, but off, for TensorFlow was imported first: "
            f"import keras_transfer before it, or set {SWITCH}=1"
        )
    return ""


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
