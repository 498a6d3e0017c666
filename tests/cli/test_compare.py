"""`keras-transfer compare`, `rank` and `auto` as a user runs them."""

import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer.cli import main


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    rng = np.random.default_rng(0)
    for at in range(30):
        file = root / ("dark" if at % 2 else "light") / f"{at}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 100, (32, 32, 3), dtype=np.uint8) + (0 if at % 2 else 150)
        Image.fromarray(pixels.astype(np.uint8)).save(file)
    return root


def test_compare_prints_a_table_and_writes_a_folder(photos, tmp_path, capsys):
    out = tmp_path / "runs"
    arguments = ["--backbone", "tiny", "--test", "0.3", "--seeds", "2", "--out", str(out)]
    command = ["compare", str(photos), "--arms", "probe,full", "--epochs", "1", *arguments]
    assert main.main(command) == 0
    text = capsys.readouterr().out
    assert "gain over probe" in text
    assert "keras_transfer: probe, seed 0: accuracy" in text
    names = ["comparison.csv", "comparison.html", "comparison.json", "result.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert set(json.loads((out / "result.json").read_text())["arms"]) == {"probe", "full"}


def test_rank_prints_a_table_and_writes_a_page(photos, tmp_path, capsys):
    out = tmp_path / "ranking.html"
    arguments = ["--image-size", "32", "--finalists", "0", "--out", str(out)]
    assert main.main(["rank", str(photos), "--backbones", "tiny", *arguments]) == 0
    assert "tiny is the first by scores" in capsys.readouterr().out
    assert out.is_file()


def test_rank_goes_on_in_a_folder(photos, tmp_path, capsys, monkeypatch):
    out = tmp_path / "ranked"
    command = ["rank", str(photos), "--backbones", "tiny", "--image-size", "32"]
    command += ["--finalists", "0", "--out", str(out)]
    assert main.main(command) == 0
    names = ["ranking.csv", "ranking.html", "ranking.json", "result.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    capsys.readouterr()
    assert main.main(command) == 0
    assert "going on after 1 scored candidate and 0 short trainings" in capsys.readouterr().out


def test_auto_writes_the_model_and_tells_all_that_it_wrote(photos, tmp_path, capsys):
    out = tmp_path / "best"
    arguments = ["--time-limit", "30", "--preset", "medium", "--candidates", "tiny"]
    arguments += ["--image-size", "32", "--test", "0.3", "--out", str(out)]
    assert main.main(["auto", str(photos), *arguments]) == 0
    told = capsys.readouterr().out.strip().splitlines()
    files = {path.name for path in out.iterdir() if path.is_file()}
    assert "report.html" in files
    assert set(told[-1].partition(" holds ")[2].split(", ")) == files
    assert kt.load_model(out / "model.keras").output_shape == (None, 2)


WRONG = [
    (["compare", "--arms", "probe,probe"], "--arms must be different names. Given: 'probe' twice"),
    (["compare", "--arms", "probs"], "Close names: 'probe'"),
    (["compare", "--seeds", "1"], "--seeds must be at least 2 for intervals"),
    (["compare", "--images", "half"], "--images must be numbers"),
    (["compare", "--level", "high"], "--level must be a number or none"),
    (["compare", "--metric", "mae", "--backbone", "tiny"], "--metric must be a score"),
    (["rank", "--backbones", "tiny,tiny"], "--backbones must be different. Given: 'tiny' twice"),
    (
        ["rank", "--backbones", "tiny", "--max-latency", "-1"],
        "--max-latency must be a number above",
    ),
    (["rank", "--backbones", "tinny"], "Close names: 'tiny'"),
    (["rank", "--backbones", "tiny", "--out", "a.txt"], "--out must end in .html"),
]


EARLY = [
    (["compare", "--level", "2"], "--level must be a number above 0 and below 1"),
    (["compare", "--reference", "prob"], "Close names: 'probe'"),
    (["compare", "--images", "0.5,-1"], "--images must be a number above 0. Given: -1"),
    (["compare", "--ray", "auto"], "needs the package `ray`. Install it with"),
    (["rank", "--backbones", "tiny", "--ray", "auto"], "needs the package `ray`"),
    (["rank", "--backbones", "tiny,nix:abc"], "an existing file or folder. Given: 'nix:abc'"),
    (["rank", "--backbones", "tiny", "--out", "/dev/null/a.html"], "--out must be a folder that can"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "message"), EARLY)
def test_what_needs_no_images_is_told_before_they_are_read(
    command, message, photos, monkeypatch, capsys
):
    monkeypatch.setattr(kt.data, "from_folder", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # of Ray
    assert main.main([command[0], str(photos), *command[1:]]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert message in told[0]


@pytest.mark.parametrize(("command", "message"), WRONG)
def test_wrong_input_is_one_line_and_ends_with_2(command, message, photos, monkeypatch, capsys):
    monkeypatch.setattr(kt.training, "fine_tune", None)
    assert main.main([command[0], str(photos), *command[1:]]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert message in told[0]
