import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_transfer.storage import headers

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)


def encoded(form, **options):
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, form, **options)
    return file.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded("JPEG", exif=exif)


def png_of(width, height):
    """A whole PNG file that claims a size which its few pixels do not fill."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(bytes(500))), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    "content",
    [
        encoded("PNG"), encoded("GIF"), encoded("BMP"), encoded("WEBP"), encoded("WEBP", lossless=True),
        encoded("WEBP", exif=b"Exif\0\0" + Image.Exif().tobytes()), encoded("JPEG"), encoded("JPEG", progressive=True),
        encoded("JPEG", comment=b"x" * 9000), turned(1), turned(3),
    ],
)  # fmt: skip
def test_the_size_is_what_pillow_says(content):
    with Image.open(io.BytesIO(content)) as picture:
        assert headers.size_of(content) == picture.size[::-1] == (9, 14)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_picture_on_its_side_is_told_upright(orientation):
    assert headers.size_of(turned(orientation)) == (14, 9)


def test_headers_that_do_not_tell_give_nothing():
    for content in (encoded("PNG"), encoded("JPEG"), encoded("WEBP"), turned(6)):
        for end in range(30):
            assert headers.size_of(content[:end]) in (None, (9, 14), (14, 9))
    assert headers.size_of(b"no picture") is None
    assert headers.size_of(png_of(0, 5)) is None


def test_pictures_are_refused_by_their_size():
    assert headers.size_of(png_of(50_000, 50_000)) == (50_000, 50_000)
    assert headers.check_pixels((50_000, 50_000))
    assert not headers.check_pixels((10_000, 10_000))
    assert not headers.check_pixels(None)
