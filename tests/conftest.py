"""Shared by all tests: quiet TensorFlow, fixed seeds, the folder of real data."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def _default_precision():
    yield
    keras.mixed_precision.set_global_policy("float32")


@pytest.fixture
def real_data() -> pathlib.Path:
    folder = os.environ.get("KERAS_TRANSFER_DATA")
    if not folder:
        pytest.skip("KERAS_TRANSFER_DATA is not set")
    return pathlib.Path(folder)
