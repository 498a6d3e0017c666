from keras_transfer.core import machine


def test_memory_is_what_the_system_says(monkeypatch, tmp_path):
    assert 2**20 < machine.free_memory() < 2**50
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(machine, "GROUP", tmp_path)
    half = machine.free_memory()
    assert 2**20 < half < 2**50
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert machine.free_memory() == 600
    (tmp_path / "memory.stat").write_text("active_file 70\ninactive_file 300\n")  # which the system would give back
    assert machine.free_memory() == 900
    (tmp_path / "memory.current").write_text("1400\n")
    assert machine.free_memory() == 0
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.free_memory() == half


def test_bfloat16_is_what_the_processor_says(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    assert not machine.has_bfloat16()
    (tmp_path / "cpuinfo").write_text("flags : fpu avx512f amx_tile\n")
    assert not machine.has_bfloat16()
    (tmp_path / "cpuinfo").write_text("flags : fpu avx512_bf16 amx_tile\n")
    assert machine.has_bfloat16()
