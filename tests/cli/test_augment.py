"""`keras-transfer augment` as a user runs it."""

import json

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


def test_boxes_and_masks_are_drawn(photos, tmp_path):
    masks = tmp_path / "masks"
    categories = [{"id": 1, "name": "pet"}]
    pictures, boxes = [], []
    for at, file in enumerate(sorted(photos.rglob("*.png"))):
        name = file.relative_to(photos)
        (masks / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 50), at % 2, np.uint8)).save(masks / name)
        pictures.append({"id": at, "file_name": str(name), "width": 50, "height": 40})
        boxes.append(
            {"id": at, "image_id": at, "category_id": 1, "bbox": [5, 5, 20, 20], "iscrowd": 0}
        )
    coco = tmp_path / "boxes.json"
    coco.write_text(
        json.dumps({"images": pictures, "annotations": boxes, "categories": categories})
    )
    plain, small = tmp_path / "plain.png", ["--image-size", "32", "--count", "1"]
    assert main.main(["augment", str(photos), *small, "--out", str(plain)]) == 0
    for option, value in (("--boxes", coco), ("--masks", masks)):
        out = tmp_path / f"{option}.png"
        assert (
            main.main(["augment", str(photos), option, str(value), *small, "--out", str(out)]) == 0
        )
        with Image.open(out) as sheet, Image.open(plain) as other:
            assert sheet.size[1] > other.size[1]  # pictures with marks are larger
    both = ["--boxes", str(coco), "--masks", str(masks)]
    assert main.main(["augment", str(photos), *both, "--out", str(tmp_path / "x.png")]) == 2


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
