import hashlib
import os
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_transfer.core import checks
from keras_transfer.data.sources import decoding
from keras_transfer.machine import progress
from keras_transfer.storage import images

RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    for at in range(4):
        picture = RNG.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        tf.io.write_file(str(tmp_path / f"{at}.png"), tf.io.encode_png(picture))
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "cut.png").write_bytes((tmp_path / "0.png").read_bytes()[:-40])
    return tmp_path


@pytest.mark.compiled
def test_files_are_decoded_and_hashed_and_failures_named(folder):
    names = ["0.png", "text.jpg", "1.png", "empty.jpg", "cut.png", "missing.png", "3.png"]
    paths = [folder / name for name in names]
    result = decoding.decode_files(paths, (6, 5), keep=True)
    assert result.failures == {
        1: "the bytes are not a JPEG, PNG, WebP, BMP or GIF image",
        3: "the file is empty",
        4: "damaged or cut off",
        5: "No such file or directory",
    }
    for at in (0, 2, 6):
        np.testing.assert_array_equal(result.pixels[at], images.load(str(paths[at]), (6, 5)))
        assert (
            result.digests[at]
            == hashlib.blake2b(paths[at].read_bytes(), digest_size=16).hexdigest()
        )
    checked = decoding.decode_files(paths, (6, 5), keep=False)
    assert len(checked.pixels) == 0
    assert (checked.failures, checked.digests) == (result.failures, result.digests)


@pytest.mark.compiled
def test_many_files_are_decoded_as_each_by_itself(tmp_path):
    """More than one call decodes, of both kinds of files, with bad ones in between."""
    count, bad = (
        2 * decoding.TOGETHER + 5,
        {3: ".jpg", decoding.TOGETHER: ".png", 2 * decoding.TOGETHER + 4: ".jpg"},
    )
    paths = []
    for at in range(count):
        picture = Image.fromarray(RNG.integers(0, 256, (9 + at % 3, 12, 3), dtype=np.uint8))
        paths.append(tmp_path / f"{at}{bad.get(at, ('.jpg', '.png')[at % 2])}")
        picture.save(paths[-1])
        if at in bad:
            paths[-1].write_bytes(paths[-1].read_bytes()[:-40])
    result = decoding.decode_files(paths, (6, 5), keep=True)
    assert list(result.failures) == list(bad)
    for at in set(range(count)) - set(bad):
        np.testing.assert_array_equal(result.pixels[at], images.load(str(paths[at]), (6, 5)))
        assert (
            result.digests[at]
            == hashlib.blake2b(paths[at].read_bytes(), digest_size=16).hexdigest()
        )
    assert decoding.decode_files(paths, (6, 5), keep=False).failures == result.failures


def test_large_files_are_decoded_as_they_come(folder, monkeypatch):
    paths = [folder / name for name in ("0.png", "1.png", "2.png", "3.png")]
    expected, calls = decoding.load_images(paths, 6), []
    decode = decoding._decode
    monkeypatch.setattr(
        decoding, "_decode", lambda *given: calls.append(len(given[1])) or decode(*given)
    )
    monkeypatch.setattr(decoding.os, "cpu_count", lambda: 1)
    np.testing.assert_array_equal(decoding.load_images(iter(paths), 6), expected)
    assert max(calls) == 2  # of four for one worker: both halves can be told apart in the progress
    calls.clear()
    monkeypatch.setattr(decoding, "ENOUGH", 10)
    np.testing.assert_array_equal(decoding.load_images(paths, 6), expected)
    assert max(calls) == 1


def test_an_image_that_memory_cannot_hold_is_named(folder, monkeypatch):
    def refuse(data):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(decoding, "_decoder", lambda *_: refuse)
    assert decoding.decode_files([folder / "0.png"], (6, 5), keep=True).failures == {
        0: "too large for the memory"
    }


def test_load_images_gives_what_the_training_data_sees(folder):
    paths = [folder / "1.png", str(folder / "0.png")]
    expected = np.stack([images.load(str(path), (6, 5)) for path in paths])
    np.testing.assert_array_equal(decoding.load_images(paths, (6, 5)), expected)


@pytest.mark.parametrize(
    "channels",
    [pytest.param(each, marks=[pytest.mark.compiled] * (each == 3)) for each in images.CHANNELS],
)
def test_upright_jpegs_and_turned_ones_are_decoded_alike(tmp_path, channels):
    picture = Image.fromarray(RNG.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    tags = Image.Exif()
    tags[0x0112] = 6
    picture.save(tmp_path / "upright.jpg")
    picture.save(tmp_path / "turned.jpg", exif=tags)
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "upright.jpg").read_bytes()[:-40])
    paths = [tmp_path / "upright.jpg", tmp_path / "turned.jpg"]
    found = decoding.load_images(paths, (6, 5), channels=channels)
    np.testing.assert_array_equal(
        found, [images.load(str(path), (6, 5), channels=channels) for path in paths]
    )
    assert not np.array_equal(*found)
    assert decoding.decode_files([tmp_path / "cut.jpg"], (6, 5), keep=False).failures == {
        0: "damaged or cut off"
    }


def test_load_images_names_what_it_cannot_read(folder):
    paths = [folder / "1.png", folder / "cut.png", folder / "none.png"]
    with pytest.raises(checks.InputError) as caught:
        decoding.load_images(paths, 8)
    message = str(caught.value)
    assert "2 files are not, of 3" in message
    assert f"{paths[1]} (damaged or cut off), {paths[2]} (No such file or directory)" in message
    for wrong in ([], "a.jpg"):
        with pytest.raises(checks.InputError, match="`paths` must be a list"):
            decoding.load_images(wrong, 8)


def test_many_failures_are_cut_short():
    reasons = {str(at): "bad" for at in range(9)}
    assert decoding.listing(reasons) == "0 (bad), 1 (bad), 2 (bad), 3 (bad), 4 (bad) and 4 more"


def test_a_long_pass_shows_how_many_files_are_read(monkeypatch, capsys, folder):
    paths = [folder / "0.png", folder / "1.png"]
    decoding.decode_files(paths, (4, 4), keep=True)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    monkeypatch.setattr(progress, "is_interactive", lambda: True)
    decoding.decode_files(paths, (4, 4), keep=True)
    printed = capsys.readouterr().out
    assert printed.startswith("keras_transfer: Reading 2 image files\n")
    assert "2/2" in printed


def test_sizes_are_those_of_the_files_and_huge_pictures_are_never_decoded(folder):
    """A header may claim billions of pixels in a few bytes."""
    content = bytearray((folder / "0.png").read_bytes())
    content[16:24] = struct.pack(">II", 50_000, 50_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (folder / "huge.png").write_bytes(content)
    with open(folder / "long.png", "wb") as file:
        file.truncate(2**31)
    os.mkfifo(folder / "pipe.png")
    paths = [folder / name for name in ("1.png", "huge.png", "long.png", "pipe.png", "a\0b.png")]
    result = decoding.decode_files(paths, (6, 5), keep=False)
    assert result.sizes.tolist() == [[9, 12], *[[0, 0]] * 4]
    assert result.failures == {
        1: "50000x50000 pixels are more than can be decoded safely",
        2: "2.1 GB are too many for an image",
        3: "no ordinary file",
        4: "embedded null byte",
    }
