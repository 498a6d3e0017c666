from keras_transfer.machine import energy


def test_energy_without_counters_is_an_estimate_of_processor_time(tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "COUNTERS", tmp_path)
    meter = energy.Meter()
    sum(number * number for number in range(200_000))
    used = meter.read()
    assert 0 < used["processor_seconds"] < 60
    assert abs(used["energy"]["watt_hours"] - 10 * used["processor_seconds"] / 3600) < 1e-5
    assert used["energy"]["from"].startswith("estimated")


def test_energy_is_what_the_counters_say_also_when_one_begins_again(tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "COUNTERS", tmp_path)

    def count(package, microjoules):
        folder = tmp_path / f"intel-rapl:{package}"
        folder.mkdir(exist_ok=True)
        (folder / "energy_uj").write_text(f"{microjoules}\n")
        (folder / "max_energy_range_uj").write_text("10000000\n")

    count(0, 1_000_000)
    count(1, 9_000_000)
    meter = energy.Meter()
    count(0, 4_600_000)
    count(1, 2_600_000)
    assert meter.read()["energy"] == {
        "watt_hours": round((3.6 + 3.6) / 3600, 6),
        "from": "measured by the processor",
    }
