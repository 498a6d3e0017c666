"""`keras-transfer augment` as a user runs it."""

import numpy as np
import pytest
from PIL import Image

from keras_transfer.cli import main


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("cli_augment") / "photos"
    rng = np.random.default_rng(0)
    for at in range(4):
        file = root / ("cat" if at < 2 else "dog") / f"{at}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(file)
    return root


def test_a_sheet_has_a_row_a_photo(photos, tmp_path, capsys):
    out = tmp_path / "new" / "sheet.png"
    options = ["--preset", "light", "--change", "mosaic=1.0", "--count", "2", "--image-size", "32"]
    assert main.main(["augment", str(photos), *options, "--out", str(out)]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert (
        line
        == f"keras_transfer: wrote {out}: Augment(flip=True, crop=0.85, colour=0.1, mosaic=1.0)"
    )
    with Image.open(out) as sheet:
        width, height = sheet.size
    assert width > 2 * height


def test_wrong_options_are_one_line(photos, tmp_path, capsys):
    taken = tmp_path / "taken.png"
    taken.write_bytes(b"")
    cases = {
        ("--change", "mosaik=1"): "Close names: 'mosaic'",
        ("--change", "mosaic"): "--change must be NAME=VALUE",
        ("--change", "crop=2"): "`crop` must be at most 1",
        ("--out", str(taken)): "Add --overwrite",
        ("--seed", "-1"): "--seed must be",
    }
    for options, message in cases.items():
        assert main.main(["augment", str(photos), "--out", str(tmp_path / "x.png"), *options]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert main.main(["augment", str(tmp_path / "none")]) == 2
