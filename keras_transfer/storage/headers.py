"""How large a picture is, from the first bytes of its file: known before anything is decoded."""

import io
import struct
from collections.abc import Callable

from PIL import JpegImagePlugin

__all__ = ["MOST_PIXELS", "check_pixels", "is_short_png", "size_of"]

MOST_PIXELS = 178_956_970  # as Pillow, whose limit stops decompression bombs
ORIENTATION = 0x0112  # the EXIF tag; from 5 on the picture is stored on its side
# Start-of-frame segments of a JPEG file, which hold its size; the numbers between them mean other segments.
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
PNG_CHANNELS = {2: 3, 4: 2, 6: 4}  # by the header's type of colour; one for the others
MOST_PACKED = 1032  # bytes for which one byte of compressed data can stand, by the format of zlib


def size_of(content: bytes) -> tuple[int, int] | None:
    """Returns height and width of a JPEG, PNG, GIF, BMP or WebP picture, upright; None if the header does not tell.

    Args:
        content: The file, or as much of it as holds the header.

    Example:
        >>> size_of(b"GIF89a" + struct.pack("<HH", 7, 5))
        (5, 7)
    """
    for start, read in READERS.items():
        if content.startswith(start):
            try:
                height, width = read(content)
            except (struct.error, IndexError, ValueError):  # cut off, or no such header
                return None
            return (height, width) if height > 0 and width > 0 else None
    return None


def check_pixels(size: tuple[int, int] | None) -> str:
    """Returns in a few words why a picture of that size must not be decoded, "" if it may be.

    Example:
        >>> check_pixels((50_000, 50_000))
        '50000x50000 pixels are more than can be decoded safely'
    """
    if size is None or size[0] * size[1] <= MOST_PIXELS:
        return ""
    height, width = size
    return f"{width}x{height} pixels are more than can be decoded safely"


def is_short_png(content: bytes) -> bool:
    r"""Says whether a PNG file is too short for the picture that its header announces.

    Pillow would take memory for all of it, and leave the missing rows 0.

    Args:
        content: The whole file.

    Example:
        >>> header = struct.pack(">IIBB", 60_000, 2_000, 8, 2)
        >>> is_short_png(b"\x89PNG".ljust(16) + header + bytes(100))
        True
    """
    if not content.startswith(b"\x89PNG") or len(content) < 26:
        return False
    width, height, bits, colour = struct.unpack_from(">IIBB", content, 16)
    announced = height * width * bits * PNG_CHANNELS.get(colour, 1) // 8
    return announced > MOST_PACKED * len(content)


def _of_png(content: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", content, 16)
    return height, width


def _of_gif(content: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", content, 6)
    return height, width


def _of_bmp(content: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<ii", content, 18)
    return abs(height), width  # a negative height: rows from the top


def _of_webp(content: bytes) -> tuple[int, int]:
    kind = content[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(content[24:27], "little") + 1
        return int.from_bytes(content[27:30], "little") + 1, width
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return height & 0x3FFF, width & 0x3FFF
    raise ValueError("no such WebP")


def _of_jpeg(content: bytes) -> tuple[int, int]:
    """Goes from segment to segment until one holds the size."""
    at = 2
    while True:
        if content[at] != 0xFF:
            raise ValueError("no segment starts here")
        marker = content[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in WITHOUT_LENGTH:
            at += 2
        elif marker in FRAMES:
            height, width = struct.unpack_from(">HH", content, at + 5)
            return (width, height) if _is_on_its_side(content) else (height, width)
        else:
            (length,) = struct.unpack_from(">H", content, at + 2)
            at += 2 + length


def _is_on_its_side(content: bytes) -> bool:
    if content.find(b"Exif\0\0", 0, 2**18) < 0:
        return False
    try:
        exif = JpegImagePlugin.JpegImageFile(io.BytesIO(content)).getexif()
    except (SyntaxError, OSError, ValueError):  # what Pillow raises on damaged files
        return False
    orientation = exif.get(ORIENTATION, 1)
    return isinstance(orientation, int) and 5 <= orientation <= 8


# First bytes of a file: what reads its header.
READERS: dict[bytes, Callable[[bytes], tuple[int, int]]] = {
    b"\xff\xd8\xff": _of_jpeg,
    b"\x89PNG": _of_png,
    b"GIF8": _of_gif,
    b"BM": _of_bmp,
    b"RIFF": _of_webp,
}
