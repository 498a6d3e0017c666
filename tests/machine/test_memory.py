from keras_transfer.machine import kernels, memory


def test_memory_is_what_the_system_says(monkeypatch, tmp_path):
    assert 2**20 < memory.free_memory() < 2**50
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    half = memory.free_memory()
    assert 2**20 < half < 2**50
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert memory.free_memory() == 600
    (tmp_path / "memory.stat").write_text(
        "active_file 70\ninactive_file 300\n"
    )  # which the system would give back
    assert memory.free_memory() == 900
    (tmp_path / "memory.current").write_text("1400\n")
    assert memory.free_memory() == 0
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_memory() == half


def test_bfloat16_is_what_the_processor_says(monkeypatch, tmp_path):
    monkeypatch.setattr(kernels, "CPUINFO", tmp_path / "cpuinfo")
    assert not memory.has_bfloat16()
    (tmp_path / "cpuinfo").write_text("flags : fpu avx512f amx_tile\n")
    assert not memory.has_bfloat16()
    (tmp_path / "cpuinfo").write_text("flags : fpu avx512_bf16 amx_tile\n")
    assert memory.has_bfloat16()
