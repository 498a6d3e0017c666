"""Image files as their values are stored: palette indices, 16 bits, floats. `storage.images` makes pixels of them."""

import io
import struct
import tokenize
import warnings
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from keras_transfer.storage import headers

__all__ = ["FORMATS", "Planes", "UnreadableError", "decode"]

FORMATS = "PNG, TIFF, BMP, GIF, WebP, JPEG or .npy"
NPY = b"\x93NUMPY"
ORIENTATION = 0x0112  # the EXIF tag
# What Pillow's decoders raise for damaged files.
DAMAGES = (
    OSError, ValueError, SyntaxError, TypeError, LookupError, EOFError, ArithmeticError, AttributeError, RuntimeError,
    struct.error, zlib.error,
)  # fmt: skip
# Pillow's modes whose values are what the file means; others are turned into RGB.
STORED = {"1", "L", "P", "RGB", "RGBA", "I;16", "I;16B", "I;16L", "I", "F"}


class UnreadableError(ValueError):
    """A file cannot be read; the message says why in a few words."""


class Planes(NamedTuple):
    """What a file stores.

    Attributes:
        values: `(height, width)`, or `(height, width, channels)` for colours.
        palette: uint8 `(256, 3)`, the colours that `values` are indices of, or None.
    """

    values: np.ndarray
    palette: np.ndarray | None = None

    def colours(self) -> np.ndarray:
        """Returns the values as RGB.

        Example:
            >>> Planes(np.array([[7]], np.uint8)).colours().tolist()
            [[[7, 7, 7]]]
        """
        if self.palette is not None:
            return self.palette[self.values]
        if self.values.ndim == 2:
            return np.repeat(self.values[..., None], 3, axis=-1)
        return self.values[..., :3]


def decode(content: bytes, *, size: tuple[int, int] | None = None) -> Planes:
    """Decodes a file, without turning its values into pixels.

    Args:
        content: Of the file.
        size: Height and width that the image must have, checked before it is decoded; None for any.

    Raises:
        UnreadableError: If the file is damaged, of another format or size, or too large.

    Example:
        >>> buffer = io.BytesIO()
        >>> Image.fromarray(np.array([[1, 300]], np.uint16)).save(buffer, "png")
        >>> decode(buffer.getvalue()).values.tolist()
        [[1, 300]]
    """
    if not content:
        raise UnreadableError("the file is empty")
    if content.startswith(NPY):
        return Planes(_decode_array(content, size))
    # Pillow decodes a whole PNG file when it is asked for its orientation, so this comes first.
    why = headers.check_pixels(headers.size_of(content))
    if why:
        raise UnreadableError(why)
    if headers.is_short_png(content):
        raise UnreadableError("damaged or cut off")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about sizes and damaged tags
            return _decode_image(content, size)
    except UnreadableError:
        raise
    except (Image.DecompressionBombError, MemoryError):
        raise UnreadableError("too large") from None
    except Image.UnidentifiedImageError:
        raise UnreadableError(f"the bytes are not {FORMATS}") from None
    except DAMAGES:
        raise UnreadableError("damaged or cut off") from None


def _decode_image(content: bytes, size: tuple[int, int] | None) -> Planes:
    with Image.open(io.BytesIO(content)) as image:
        is_turned = image.getexif().get(ORIENTATION, 1) >= 5
        height, width = image.size if is_turned else image.size[::-1]
        _check_size((height, width), size)
        shown = ImageOps.exif_transpose(image)
    if shown.mode == "P":
        return Planes(np.asarray(shown), _palette(shown))
    if shown.mode == "LA":
        shown = shown.convert("L")
    elif shown.mode not in STORED:
        shown = shown.convert("RGB")
    values = np.asarray(shown)
    return Planes(values.astype(np.uint8) if values.dtype == bool else values)


def _palette(image: Image.Image) -> np.ndarray:
    """Returns the colours of a palette image; indices beyond its palette are black."""
    colours = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)[:256]
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colours)] = colours
    return palette


def _decode_array(content: bytes, size: tuple[int, int] | None) -> np.ndarray:
    """Decodes an array of NumPy's own format; its header is checked before memory is taken."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers that are not as NumPy writes them
            shape, _, dtype = read(stream)
    except (*DAMAGES, MemoryError, tokenize.TokenError):
        raise UnreadableError("damaged or cut off") from None
    if dtype.hasobject or dtype.kind not in "biuf" or len(shape) not in (2, 3):
        raise UnreadableError(
            f"an array of {dtype} of shape {shape}, not (height, width[, channels])"
        )
    _check_size(shape[:2], size)
    count = int(np.prod([int(length) for length in shape], dtype=object))
    if len(content) - stream.tell() < count * dtype.itemsize:
        raise UnreadableError("damaged or cut off")
    stream.seek(0)
    return np.load(stream, allow_pickle=False)


def _check_size(size: tuple[int, ...], wanted: tuple[int, int] | None) -> None:
    height, width = size
    if wanted is not None and (height, width) != tuple(wanted):
        expected = f"{wanted[1]} x {wanted[0]}"
        raise UnreadableError(f"{width} x {height} pixels, and its picture has {expected}")
    if min(height, width) < 1:
        raise UnreadableError("it has no pixels")
    why = headers.check_pixels((height, width))
    if why:
        raise UnreadableError(why)
