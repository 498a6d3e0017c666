"""Hashes of values, and of what computes with them."""

import numpy as np

from keras_transfer.machine import kernels
from keras_transfer.training.cache import keys


def test_what_computes_is_in_the_key(monkeypatch):
    first = keys.combine("a")
    assert keys.combine("a") == first
    for name, value in (("in_use", lambda: "others"), ("flags", lambda: {"avx2", "fma"})):
        with monkeypatch.context() as changed:
            changed.setattr(kernels, name, value)
            assert keys.combine("a") != first
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    assert keys.combine("a") != first


def test_values_shape_and_type_are_in_the_hash_of_an_array():
    arrays = [np.zeros(4), np.ones(4), np.zeros((2, 2)), np.zeros(4, "int64")]
    arrays += [np.array(["a", "b"], object), np.array(["a", "c"], object)]
    assert len({keys.hash_array(each) for each in arrays}) == len(arrays)
    text = ["one ", "text"]
    first, second = (np.array(["".join(text), "b"], object) for _ in range(2))
    assert keys.hash_array(first) == keys.hash_array(second)
