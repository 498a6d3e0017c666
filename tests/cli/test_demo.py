"""The demo, with a few epochs in place of its own."""

import json
import re

import pytest

from keras_transfer.cli import demo, main


@pytest.mark.parametrize("seeds", [1, 2])
def test_each_step_has_a_line_and_everything_is_left_in_the_folder(
    seeds, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(demo, "EPOCHS", dict.fromkeys(demo.EPOCHS, 1))
    monkeypatch.setattr(demo, "VERIFIED_IMAGES", 32)
    assert (
        main.main(["demo", "--shots", "2", "--seeds", str(seeds), "--out", f"{tmp_path}/out"]) == 0
    )

    printed = capsys.readouterr().out
    steps, table = printed.split("accuracy")
    for arm in demo.ARMS:
        assert len(re.findall(rf"^ *\d+ s  {arm}.* \d+\.\d%", steps, re.M)) == seeds
        assert len(re.findall(rf"^{arm} +\d+\.\d%", table, re.M)) == 1
    assert ("range" in table) == (seeds > 1)
    assert "agrees with Keras on 32 of 32 images" in steps

    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"model.keras", "report.html", "report.json", "run.json", "export"} <= names
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    last = re.findall(r"two-stage.* (\d+\.\d)%", steps)[-1]
    assert f"{100 * report['accuracy']:.1f}" == last
