"""Measurements of pictures."""

import importlib.util
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from keras_transfer.studies.doctor import pictures

spec = importlib.util.spec_from_file_location(
    "planted", pathlib.Path(__file__).parent / "planted.py"
)
planted = importlib.util.module_from_spec(spec)
spec.loader.exec_module(planted)


def look(tmp_path, image, name="a.png", **options):
    image.save(tmp_path / name, **options)
    found = pictures.look_at_files([tmp_path / name])
    assert not found.failures
    return found


def slow_blur(grey):
    """The definition, pixel by pixel, for a box of 11 pixels."""
    worst = 0.0
    for values in (grey, grey.T):
        before, lost = 0.0, 0.0
        rows, columns = values.shape
        for column in range(columns):
            line = values[:, column].astype(float)
            for row in range(6, rows - 5):
                detail = abs(line[row] - line[row - 1])
                smooth = line[row - 5 : row + 6].mean() - line[row - 6 : row + 5].mean()
                before += detail
                lost += max(0.0, detail - abs(smooth))
        worst = max(worst, 1 - lost / before)
    return worst


def test_numbers_agree_with_their_definitions(tmp_path):
    image = planted.photo(3)
    found = look(tmp_path, image)
    grey = np.asarray(image.convert("L"))
    low, middle, high = np.percentile(grey, [1, 50, 99], method="inverted_cdf")
    assert (found.darkest[0], found.middle[0], found.brightest[0]) == (low, middle, high)
    np.testing.assert_allclose(found.deviation[0], grey.std(), rtol=1e-5)
    np.testing.assert_allclose(found.blur[0], slow_blur(grey), rtol=0.02)  # other rows at the edges
    assert (found.heights[0], found.widths[0]) == (64, 64)
    assert found.thumbs[0].shape == (16, 16)
    grey_places = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX))
    bits = (grey_places[:, 1:] > grey_places[:, :-1]).ravel()
    assert int(found.hashes[0]).bit_count() == bits.sum()


def test_sizes_are_those_that_are_seen(tmp_path):
    image = planted.photo(4, 320).resize((320, 200))
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side
    found = look(tmp_path, image, "a.jpg", exif=exif)
    assert (found.heights[0], found.widths[0]) == (320, 200)
    upright = look(tmp_path, image.rotate(-90, expand=True), "b.jpg")
    assert (found.thumbs[0].astype(int) - upright.thumbs[0]).std() < 4


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "I;16", "CMYK", "1"])
def test_every_kind_of_pixel(tmp_path, mode):
    image = planted.photo(5)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype("uint16") * 257)
    else:
        image = image.convert(mode)
    found = look(tmp_path, image, "a.jpg" if mode == "CMYK" else "a.png")
    reference = look(tmp_path, planted.photo(5), "b.png")
    difference = found.thumbs[0].astype(int) - reference.thumbs[0]
    assert np.abs(difference).mean() < (30 if mode == "1" else 8)


def test_transparency_lies_over_white(tmp_path):
    found = look(tmp_path, Image.new("RGBA", (64, 64), (0, 0, 0, 0)))
    assert found.darkest[0] == 255


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("text")
    (tmp_path / "eps.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    planted.save_png_header(tmp_path / "bomb.png", 40_000, 40_000)
    planted.save_png_header(tmp_path / "headless.png", 40, 40)
    frames = [planted.photo(1), planted.photo(2)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    content = planted.jpeg(planted.photo(6))
    for at in range(0, len(content), len(content) // 20):
        (tmp_path / f"cut{at}.jpg").write_bytes(content[:at])
    planted.photo(7).save(tmp_path / "good.png")
    files = sorted(tmp_path.iterdir())
    found = pictures.look_at_files([*files, tmp_path / "absent.png"])
    good = [files.index(tmp_path / "good.png")]
    assert found.readable.tolist() == good
    assert len(found.failures) == len(files)
    assert all(found.failures.values())


def test_arrays_are_measured_as_files_are(tmp_path):
    image = planted.photo(8)
    file = look(tmp_path, image)
    pixels = np.asarray(image)[None]
    for batch in (pixels, pixels.astype("float32"), pixels / np.float32(255)):
        found = pictures.look_at_batches([batch], "train")
        assert found.names == ["train[0]"]
        assert abs(int(found.middle[0]) - int(file.middle[0])) <= 1
        np.testing.assert_allclose(found.deviation, file.deviation, rtol=0.01)
    grey = pictures.look_at_batches([pixels[..., :1], pixels[..., 0]], "x")
    assert grey.chroma.tolist() == [0, 0]
    assert len(pictures.joined([])) == 0


def test_damaged_files_are_read_or_told(tmp_path):
    """Whatever bytes a file has, it has a size or a reason, and nothing else happens."""
    rng = np.random.default_rng(0)
    for kind in ("png", "jpg", "gif", "bmp", "webp"):
        planted.photo(9).save(tmp_path / f"whole.{kind}")
        content = bytearray((tmp_path / f"whole.{kind}").read_bytes())
        for at in range(30):
            damaged = bytearray(content)
            for place in rng.integers(0, min(len(content), 200 + 100 * at), 4):
                damaged[place] = rng.integers(256)
            (tmp_path / f"{at}.{kind}").write_bytes(damaged)
    files = sorted(tmp_path.iterdir())
    found = pictures.look_at_files(files)
    told = set(found.failures)
    assert told.isdisjoint(found.readable)
    assert told | set(found.readable.tolist()) == set(range(len(files)))
    assert 10 < len(told) < len(files) - 10
