"""Values of image files as they are stored; damaged and hostile files cost one line and no memory."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_transfer.storage import planes

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 9, (13, 17)).astype(np.uint8)


def saved(picture, ending, **options):
    stream = io.BytesIO()
    if ending == "npy":
        np.save(stream, picture)
    else:
        picture.save(stream, ending, **options)
    return stream.getvalue()


def with_palette():
    picture = Image.fromarray(IDS).convert("P")
    picture.putpalette(RNG.integers(0, 256, 27).astype(np.uint8).tolist())
    return picture


FILES = {
    "grey": (saved(Image.fromarray(IDS), "png"), IDS),
    "palette": (saved(with_palette(), "png"), None),
    "gif": (saved(with_palette(), "gif"), None),
    "bits": (saved(Image.fromarray(IDS > 4), "png"), (IDS > 4).astype(np.uint8)),
    "16 bits": (saved(Image.fromarray(IDS * np.uint16(5000)), "png"), IDS * np.uint16(5000)),
    "floats": (saved(Image.fromarray(IDS / np.float32(7)), "tiff"), IDS / np.float32(7)),
    "array": (saved(IDS.astype(np.int64), "npy"), IDS),
    "grey and alpha": (saved(Image.merge("LA", [Image.fromarray(IDS)] * 2), "png"), IDS),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_values_are_as_they_are_stored(case):
    content, values = FILES[case]
    found = planes.decode(content, size=(13, 17))
    if values is None:
        colours = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        np.testing.assert_array_equal(found.colours(), colours)
    else:
        np.testing.assert_array_equal(found.values, values)
    with pytest.raises(planes.UnreadableError, match="17 x 13 pixels, and its picture has 12 x 13"):
        planes.decode(content, size=(13, 12))


def huge_array():
    stream = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (2**20, 2**20)}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


def pickled_array():
    stream = io.BytesIO()
    np.save(stream, np.array([[1, None]], object), allow_pickle=True)
    return stream.getvalue()


def picture_of(width, height):
    """A whole and valid PNG file but for its header, which announces another size."""
    content = saved(Image.fromarray(IDS), "png")
    head = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]


HOSTILE = {
    "empty": (b"", "the file is empty"),
    "text": (b"hello", "the bytes are not PNG"),
    "cut off": (saved(Image.fromarray(IDS), "png")[:60], "damaged or cut off"),
    "huge array": (huge_array(), "more than can be decoded safely"),
    "pickle": (pickled_array(), "an array of object"),
    "huge picture": (picture_of(50_000, 50_000), "more than can be decoded safely"),
    "tall picture": (picture_of(17, 3_000_000), "damaged or cut off"),
    "wrong header": (b"\x93NUMPY\x01\0\x10\0{'descr': 1}    ", "damaged or cut off"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_cost_no_memory(case):
    content, reason = HOSTILE[case]
    tracemalloc.start()
    with pytest.raises(planes.UnreadableError, match=reason):
        planes.decode(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6


def test_mutated_files_are_read_or_refused():
    """A thousand files with some bytes changed, cut out or repeated: never another error."""
    rng = np.random.default_rng(5)
    contents = [content for content, _ in FILES.values()]
    refused = 0
    for number in range(1000):
        content = bytearray(contents[number % len(contents)])
        for _ in range(rng.integers(1, 6)):
            place = rng.integers(len(content))
            content[place] = rng.integers(256)
        if number % 3 == 0:
            del content[rng.integers(len(content)) :]
        try:
            planes.decode(bytes(content))
        except planes.UnreadableError:
            refused += 1
    assert 500 < refused < 1000
