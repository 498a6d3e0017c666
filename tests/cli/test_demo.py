"""The demo, with one epoch a stage and 120 digits in place of its own."""

import json
import re

import sklearn.datasets
import sklearn.utils

from keras_transfer.cli import demo, main


def test_each_step_has_a_line_and_everything_is_left_in_the_folder(tmp_path, capsys, monkeypatch):
    digits = sklearn.datasets.load_digits()
    few = sklearn.utils.Bunch(**{name: digits[name][:120] for name in ("images", "data", "target")})
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: few)
    monkeypatch.setattr(demo, "EPOCHS", dict.fromkeys(demo.EPOCHS, 1))
    monkeypatch.setattr(demo, "VERIFIED_IMAGES", 32)
    assert main.main(["demo", "--shots", "2", "--out", f"{tmp_path}/out"]) == 0

    steps, table = capsys.readouterr().out.split("accuracy")
    lines = re.findall(r"^ *\d+ s  (.+?)  +(\d+\.\d%)  (.+)", steps, re.M)
    assert [(arm, meaning) for arm, _, meaning in lines] == list(demo.ARMS.items())
    for arm, accuracy, meaning in lines:
        assert re.search(rf"^{arm} +{accuracy}  {meaning}$", table, re.M)
    assert "agrees with Keras on 32 of 32 images" in steps

    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"model.keras", "report.html", "report.json", "run.json", "export"} <= names
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert f"{report['accuracy']:.1%}" == dict(line[:2] for line in lines)["two-stage"]


def test_several_seeds_have_a_range():
    scores = {arm: [0.5, 0.625] for arm in demo.ARMS} | {"two-stage": [0.75, 1.0]}
    table = demo.table(scores)
    assert re.search(r"^scratch +56\.2% +50\.0 – 62\.5  the same network", table, re.M)
    assert re.search(r"^two-stage +87\.5% +75\.0 – 100\.0 ", table, re.M)
    assert "Transfer gained +31.2 points over training from scratch." in table
