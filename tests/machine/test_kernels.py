"""Whose kernels TensorFlow computes with."""

import os
import platform
import subprocess
import sys

import pytest

from keras_transfer.machine import kernels


@pytest.fixture
def processor(monkeypatch, tmp_path):
    """Pretends to be a processor with some flags, on which nobody has chosen yet."""

    def pretend(*flags):
        (tmp_path / "cpuinfo").write_text(f"flags : fpu {' '.join(flags)}\n")

    monkeypatch.setattr(kernels, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(kernels, "_is_told", False)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.delenv(kernels.SWITCH, raising=False)
    return pretend


def test_chosen_where_it_gains(processor, monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorflow")
    processor("avx2")
    assert kernels.in_use() == kernels.OWN
    kernels.choose()
    assert kernels.in_use() == kernels.ONEDNN
    assert kernels.advice() == ""  # nobody needs to know


@pytest.mark.parametrize("flags", [(), ("sse4_2",), ("avx2", "avx512_vnni"), ("avx2", "amx_tile")])
def test_left_alone_elsewhere(processor, monkeypatch, flags):
    monkeypatch.delitem(sys.modules, "tensorflow")
    processor(*flags)
    kernels.choose()
    assert kernels.SWITCH not in os.environ
    assert kernels.advice() == ""
    assert kernels.in_use() == (kernels.ONEDNN if len(flags) > 1 else kernels.OWN)


def test_what_the_user_says_stands(processor, monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorflow")
    processor("avx2")
    monkeypatch.setenv(kernels.SWITCH, "0")
    kernels.choose()
    assert (kernels.in_use(), kernels.advice()) == (kernels.OWN, "")


def test_too_late_is_told(processor):
    processor("avx2")
    kernels.choose()
    assert kernels.in_use() == kernels.OWN
    line = kernels.advice()
    assert "put `import keras_transfer` above `import keras`" in line
    assert "TF_ENABLE_ONEDNN_OPTS=1" in line
    assert kernels.advice() == ""  # once is enough


def test_tensorflow_takes_it():
    """In a process of its own: TensorFlow itself says that oneDNN is on, whether it would be by itself or not."""
    code = (
        "import os; os.environ.pop('TF_ENABLE_ONEDNN_OPTS', None)\n"
        "import keras_transfer, tensorflow\n"
        "from keras_transfer.machine import kernels\n"
        "from tensorflow.python.util import _pywrap_util_port as port\n"
        "print(port.IsMklEnabled() == (kernels.in_use() == kernels.ONEDNN))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "True"
