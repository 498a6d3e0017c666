"""The check as users call it. What the compiler finds is tested in tests/engine/test_tpu_programs.py."""

import sys

import keras
import networks
import numpy as np
import pytest

import keras_transfer as kt
from keras_transfer.core import optional

IMAGES = np.zeros((40, 32, 32, 3), np.uint8), np.arange(40) % 3


def classifier():
    return kt.build_model(networks.small(weights=None), kt.tasks.Classification(3))


def test_without_the_compiler_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "libtpu", None)
    with pytest.raises(optional.MissingExtraError) as failed:
        kt.check_tpu(classifier(), IMAGES)
    assert 'pip install "keras-transfer[jax-tpu]"' in str(failed.value)
    assert "\n" not in str(failed.value)


@pytest.fixture
def _pretend(monkeypatch):
    """What is wrong with the arguments is told before anything is compiled."""
    monkeypatch.setitem(sys.modules, "libtpu", sys)


@pytest.mark.usefixtures("_pretend")
def test_a_batch_that_chips_cannot_share_says_which_they_can():
    with pytest.raises(kt.InputError, match=r"multiple of 64 .* 32 images. Pass `batch_size=64`"):
        kt.check_tpu(classifier(), IMAGES, topology="v5e-64")


@pytest.mark.usefixtures("_pretend")
@pytest.mark.parametrize("model", ["tiny", keras.Sequential([keras.Input((32, 32, 3))])])
def test_the_model_must_be_compiled(model):
    with pytest.raises(kt.InputError, match="must be a compiled Keras model"):
        kt.check_tpu(model, IMAGES)


@pytest.mark.engine
def test_with_tensorflow_a_model_is_saved_and_compiled_in_a_process_of_its_own():
    pytest.importorskip("libtpu", reason="the TPU compiler is not installed: extra jax-tpu")
    found = kt.check_tpu(classifier(), IMAGES, topology="v5e-4")
    assert found.is_fine
    assert (found.chips, found.batch_size, found.topology) == (4, 32, "v5e:2x2")
    assert found.all_reduces >= 1
    text = str(found)
    assert "4 chips), batches of 32" in text
    assert "fits" in text
    assert found.to_dict()["problems"] == []
