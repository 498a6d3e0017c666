"""`keras-transfer doctor` as a user runs it."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_transfer.cli import main


@pytest.fixture
def photos(tmp_path):
    root = tmp_path / "photos"
    rng = np.random.default_rng(0)
    for at in range(20):
        file = root / ("cat" if at % 2 else "dog") / f"{at}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(file)
    return root


def test_a_clean_folder_ends_with_0(photos, capsys):
    assert main.main(["doctor", str(photos)]) == 0
    assert capsys.readouterr().out == "no findings in 20 images\n"


def test_errors_end_with_2(photos, tmp_path, capsys):
    (photos / "cat" / "bad.png").write_bytes(b"")
    out = [tmp_path / "found.json", tmp_path / "found.html"]
    options = ["--json", str(out[0]), "--html", str(out[1])]
    assert main.main(["doctor", str(photos), *options]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "1 error in 21 images",
        "error: 1 file of 21 cannot be read",
        "  cat/bad.png",
    ]
    assert json.loads(out[0].read_text())["findings"][0]["files"] == [str(photos / "cat/bad.png")]
    assert "1 file of 21 cannot be read" in out[1].read_text()


def test_json_alone_on_stdout(photos, capsys):
    arguments = ["--json", "-", "--backbone", "tiny", "--weights", "none"]
    assert main.main(["doctor", str(photos), *arguments]) == 0
    captured = capsys.readouterr()
    values = json.loads(captured.out)
    checks = [each["check"] for each in values["findings"]]
    assert "random_backbone" in checks
    assert values["about"]["costs"]["batch_size"] == 32


def test_a_table(photos, capsys):
    rows = [
        "file,kind,size",
        *(f"{'cat' if at % 2 else 'dog'}/{at}.png,{at % 2},1" for at in range(20)),
    ]
    rows.append("cat/absent.png,1,1")
    table = photos / "labels.csv"
    table.write_text("\n".join(rows))
    options = ["--image-column", "file", "--targets", "kind=category", "size=number"]
    assert main.main(["doctor", str(table), *options]) == 2
    out = capsys.readouterr().out
    assert "error: all labels of 'size' are equal: 1.0" in out
    assert "error: not taken as it was: " in out
    assert "absent.png" in out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["absent"], "FOLDER must be a folder that exists"),
        (["{photos}", "--json", "a.txt"], "--json must end in .json"),
        (["{photos}", "--backbone", "tinny"], "--backbone must be a known name"),
    ],
)
def test_bad_arguments(photos, capsys, arguments, text):
    assert main.main(["doctor", *(each.format(photos=photos) for each in arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert text in line
