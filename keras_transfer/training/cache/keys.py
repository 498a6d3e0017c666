"""Hashes of values, and of the machine that computes with them."""

import hashlib
import json
import platform

import keras
import numpy as np

import keras_transfer
from keras_transfer.machine import engine, kernels

__all__ = ["combine", "hash_array", "hash_facts"]


def combine(*parts: str) -> str:
    """Returns one hash of several, and of whatever else decides how results are rounded.

    That is the versions of the packages, the engine, the processor and its kernels, threads and accelerators.

    Example:
        >>> len(combine("a", "b"))
        32
    """
    versions = [keras.__version__, keras_transfer.__version__]
    machine = [platform.machine(), *kernels.rounding(), *engine.describe()]
    return hashlib.sha256("|".join([*parts, *versions, *machine]).encode()).hexdigest()[:32]


def hash_array(values: np.ndarray) -> str:
    """Returns a hash of an array's values, shape and type."""
    values = np.ascontiguousarray(values)
    content = repr(values.tolist()).encode() if values.dtype == object else values.tobytes()
    return hashlib.sha256(f"{values.shape} {values.dtype}".encode() + content).hexdigest()


def hash_facts(facts: object) -> str:
    """Returns a hash of plain values."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=repr).encode()).hexdigest()
