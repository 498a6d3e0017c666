"""Decodes image bytes to pixels, with TensorFlow operations only.

Training data and the exported SavedModel decode with the same functions, so they see the same pixels. JPEG is decoded
with the accurate transform, as Pillow does.
"""

import functools
import re
from collections.abc import Callable

import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.machine import streams

__all__ = [
    "CHANNELS", "FORMATS", "LUMINANCE", "decode", "decode_upright", "header", "is_upright", "load",
    "orientation", "reason", "resize",
]  # fmt: skip

FORMATS = "JPEG, PNG, WebP, BMP or GIF"
CHANNELS = (1, 3, 4)  # grey, RGB, RGB and alpha
# Shares of red, green and blue in the luminance, in 65536 parts: ITU-R BT.601, as in Pillow. Grey stays as it is.
LUMINANCE = (19595, 38470, 7471)
JPEG, EXIF = b"\xff\xd8\xff", b"Exif\0\0"
HEADER = 2**18  # bytes searched for the EXIF segment of a JPEG and the palette of a BMP
MARGIN = 32  # zeros behind the header, so that reading beyond the end gives 0
ORIENTATION = 0x0112  # the EXIF tag
# Orientations 5..8 are transposed, then these have their rows or columns reversed.
ROWS_REVERSED, COLUMNS_REVERSED = (3, 4, 7, 8), (2, 3, 6, 7)


def load(path: tf.Tensor, size: tuple[int, int], *, channels: int = 3) -> tf.Tensor:
    """Reads, decodes and resizes one image file.

    Args:
        path: Scalar string.
        size: Height and width of the result.
        channels: As for `decode`.

    Returns:
        uint8 of shape `(*size, channels)`.
    """
    return resize(decode(tf.io.read_file(path), channels=channels), size)


def resize(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes one image, or a batch of them, bilinearly with antialiasing.

    An image of that size stays as it is, bit by bit.

    Args:
        image: Values 0..255, uint8 or float, `(height, width, channels)` or with a batch axis in front. Alpha is
            resized like any other channel.
        size: Height and width of the result.

    Returns:
        uint8, rounded and clipped.

    Example:
        >>> resize(tf.zeros((5, 7, 3), tf.uint8), (4, 4)).shape
        TensorShape([4, 4, 3])
    """
    image = tf.convert_to_tensor(image)
    resized = tf.image.resize(image, size, method="bilinear", antialias=True)
    rounded = tf.round(tf.cast(resized, tf.float32))
    if image.dtype != tf.uint8:  # means of bytes are none below 0 or above 255
        rounded = tf.clip_by_value(rounded, 0, 255)
    return tf.cast(rounded, tf.uint8)


@streams.plain
def decode(data: tf.Tensor, *, channels: int = 3) -> tf.Tensor:
    """Decodes the bytes of a JPEG, PNG, WebP, BMP or GIF (its first frame) image.

    Grey and CMYK become RGB. Transparency is composited over white (a GIF's transparent pixels are black). The EXIF
    orientation of a JPEG is applied. When the operation runs, it raises `tf.errors.InvalidArgumentError` for cut-off
    files, other formats, animated WebP, compressed BMP and BMP of fewer than 256 colours.

    Args:
        data: Scalar string.
        channels: 3 for RGB, 1 for its luminance, 4 for the stored RGB and alpha (255 if the file has none).

    Returns:
        uint8 of shape `(height, width, channels)`.

    Example:
        >>> decode(tf.io.encode_png(tf.fill((2, 3, 1), tf.constant(9, tf.uint8)))).shape
        TensorShape([2, 3, 3])
    """
    decoder = _decoder(checks.choice(channels, CHANNELS, name="channels"))
    return decoder(tf.convert_to_tensor(data))


@functools.cache
def _decoder(channels: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the traced function that decodes; every data set and export uses it, since tracing takes a second."""

    def decode_on_cpu(data: tf.Tensor) -> tf.Tensor:
        with tf.device("CPU:0"):
            return _decode(data, channels)

    function = tf.function(decode_on_cpu, autograph=False)
    with tf.init_scope():  # the first caller may be tracing a function of its own
        return function.get_concrete_function(tf.TensorSpec((), tf.string))


def _decode(data: tf.Tensor, channels: int) -> tf.Tensor:
    to_rgb = functools.partial(_to_rgb, keeps_alpha=channels == 4)
    octets = header(data)
    starts = [_is(octets[: len(text)], text) for text in (JPEG, b"\x89PNG", b"GIF8", b"BM")]
    starts.append(_is(octets[:4], b"RIFF") & _is(octets[8:12], b"WEBP"))
    kind = tf.argmax(tf.cast(tf.stack([*starts, True]), tf.int32), output_type=tf.int32)
    image = tf.switch_case(
        kind,
        [
            lambda: _orient(_decode_jpeg(data), orientation(octets)),
            lambda: to_rgb(tf.io.decode_png(data)),
            lambda: to_rgb(tf.io.decode_image(data, expand_animations=False)),
            lambda: _decode_bmp(data, octets),
            lambda: to_rgb(_decode_webp(data, octets)),
            lambda: _fail(f"the bytes are not a {FORMATS} image", kind < 0),
        ],
    )
    return _to_channels(image, channels)


def is_upright(data: bytes) -> bool:
    """Returns whether a file is a JPEG without EXIF orientation, so that `decode_upright` can decode it."""
    return data.startswith(JPEG) and data.find(EXIF, 0, HEADER) < 0


@streams.plain
def decode_upright(data: tf.Tensor, *, channels: int = 3) -> tf.Tensor:
    """Decodes a JPEG for which `is_upright` holds in half the time of `decode`, which reads the header.

    Example:
        >>> file = tf.io.encode_jpeg(tf.fill((2, 3, 3), tf.constant(9, tf.uint8)))
        >>> is_upright(file.numpy()), bool(tf.reduce_all(decode_upright(file) == decode(file)))
        (True, True)
    """
    return _to_channels(_decode_jpeg(data), channels)


def reason(problem: tf.errors.OpError) -> str:
    """Returns in a few words why `decode` failed."""
    if isinstance(problem, tf.errors.ResourceExhaustedError):
        return "too large for the memory"
    lines = [line for line in problem.message.split("\n\t [[")[0].splitlines() if line]
    line = re.sub(r"\{\{.*?\}\}", "", lines[-1]).strip()  # which function or node failed
    start, _, text = line.partition("assertion failed: [")
    return text.rstrip("]") if text and not start else "damaged or cut off"


def header(data: tf.Tensor) -> tf.Tensor:
    """Returns the first bytes of a file as uint8 numbers, and some zeros behind them."""
    return tf.pad(tf.io.decode_raw(tf.strings.substr(data, 0, HEADER), tf.uint8), [[0, MARGIN]])


def orientation(octets: tf.Tensor) -> tf.Tensor:
    """Reads the EXIF orientation of a JPEG file; 1 (upright) if there is none or it is invalid.

    Args:
        octets: From `header`.

    Returns:
        int64 scalar in 1..8.
    """

    def is_more(position: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
        marker = _slice(octets, position, 2)
        is_last = (marker[1] == 0xDA) | (marker[1] == 0xD9)  # the scan, or the end
        return (start < 0) & (marker[0] == 0xFF) & ~is_last

    def step(position: tf.Tensor, start: tf.Tensor) -> list[tf.Tensor]:
        segment = _slice(octets, position, 10)  # marker, length, text
        is_exif = _is(segment[:2], b"\xff\xe1") & _is(segment[4:], EXIF)
        # A second 0xFF is padding.
        length = tf.where(segment[1] == 0xFF, tf.constant(1, tf.int64), 2 + _number(segment[2:4]))
        return [position + length, tf.where(is_exif, position, start)]

    # Every step moves forward, and beyond the end there is no 0xFF: the loop ends.
    first, none = tf.constant(2, tf.int64), tf.constant(-1, tf.int64)
    _, start = tf.while_loop(is_more, step, [first, none])

    def read() -> tf.Tensor:
        segment = octets[start + 10 : start + 2 + _number(_slice(octets, start + 2, 2))]
        return _read_tiff_orientation(tf.pad(segment, [[0, MARGIN]]))

    return tf.cond(start < 0, lambda: tf.constant(1, tf.int64), read)


def _read_tiff_orientation(octets: tf.Tensor) -> tf.Tensor:
    """Reads the orientation from the first directory of the TIFF structure in an EXIF segment."""
    head = _slice(octets, 0, 8)
    is_little = _is(head[:4], b"II*\0")
    is_tiff = is_little | _is(head[:4], b"MM\0*")
    directory = _number(head[4:], is_little)
    count = _number(_slice(octets, directory, 2), is_little)
    # 12 bytes an entry: tag, type (3 is a 16 bit number), count, value.
    entries = _gather(octets, directory + 2 + 12 * tf.range(count), 12)
    tags, types, numbers = (
        _number(entries[:, start : start + 2], is_little) for start in (0, 2, 8)
    )
    values = tf.boolean_mask(numbers, (tags == ORIENTATION) & (types == 3))
    value = tf.reduce_sum(values[:1])  # 0 where there is none
    return tf.where(is_tiff & (value >= 1) & (value <= 8), value, 1)


def _decode_jpeg(data: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")


def _to_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Converts RGB, or RGB and alpha if 4 channels are asked for, to as many channels as are asked for."""
    if channels == 4:  # RGB is opaque, and RGB with alpha stays as it is
        opaque = tf.fill(tf.concat([tf.shape(image)[:2], [1]], 0), tf.constant(255, tf.uint8))
        return tf.ensure_shape(tf.concat([image, opaque], -1)[..., :4], (None, None, 4))
    image = tf.ensure_shape(image, (None, None, 3))
    if channels == 3:
        return image
    shares = tf.cast(image, tf.int32) * tf.constant(LUMINANCE)
    return tf.cast((tf.reduce_sum(shares, axis=-1, keepdims=True) + 2**15) // 2**16, tf.uint8)


def _orient(image: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    """Turns and mirrors an image so that it is upright."""
    image = tf.cond(turn >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    for axis, turns in enumerate((ROWS_REVERSED, COLUMNS_REVERSED)):
        is_flipped = tf.reduce_any(turn == tf.constant(turns, tf.int64))
        image = tf.cond(is_flipped, lambda x=image, a=axis: tf.reverse(x, [a]), lambda x=image: x)
    return image


def _to_rgb(image: tf.Tensor, *, keeps_alpha: bool) -> tf.Tensor:
    """Converts 1 (grey), 2 (grey, alpha), 3 or 4 (RGB, alpha) channels to RGB over white, or keeps the alpha."""
    channels = tf.shape(image)[-1]
    rgb = tf.cond(
        channels < 3, lambda: tf.repeat(image[..., :1], 3, axis=-1), lambda: image[..., :3]
    )

    def use_alpha() -> tf.Tensor:
        if keeps_alpha:
            return tf.concat([rgb, image[..., -1:]], -1)
        colours, alpha = tf.cast(rgb, tf.int32), tf.cast(image[..., -1:], tf.int32)
        return tf.cast((colours * alpha + 255 * (255 - alpha) + 127) // 255, tf.uint8)

    return tf.cond(channels % 2 == 0, use_alpha, lambda: rgb)


def _decode_bmp(data: tf.Tensor, octets: tf.Tensor) -> tf.Tensor:
    """Decodes 24 and 32 bit colours (the fourth byte is unused), or indices into a palette of up to 256."""
    head = _slice(octets, 14, 20)
    info, bits, compression = (_number(part, True) for part in (head[:4], head[14:16], head[16:]))
    is_uncompressed = (info >= 40) & (compression == 0)
    is_known = is_uncompressed & tf.reduce_any(bits == tf.constant((8, 24, 32), tf.int64))

    def look_up(indices: tf.Tensor) -> tf.Tensor:
        positions = 14 + info + 4 * tf.cast(indices[..., 0], tf.int64)  # blue, green, red, unused
        return tf.reverse(_gather(octets, positions, 3), [-1])

    def decode_known() -> tf.Tensor:
        image = tf.io.decode_bmp(data)
        return tf.cond(bits == 8, lambda: look_up(image), lambda: image[..., :3])

    message = "a BMP image must be uncompressed, with 8, 24 or 32 bits a pixel; save it as PNG"
    return tf.cond(is_known, decode_known, lambda: _fail(message, is_known))


def _decode_webp(data: tf.Tensor, octets: tf.Tensor) -> tf.Tensor:
    """Decodes still images only: for an animated one TensorFlow 2.21 writes out of bounds."""
    is_still = ~_is(octets[12:16], b"VP8X") | (octets[20] & 2 == 0)
    if not hasattr(tf.io, "decode_webp"):
        message = f"TensorFlow {tf.__version__} cannot read WebP; save it as PNG"
        return _fail(message, is_still & ~is_still)
    message = "animated WebP cannot be read; save one frame"
    return tf.cond(is_still, lambda: tf.io.decode_webp(data)[0], lambda: _fail(message, is_still))


def _fail(message: str, never: tf.Tensor) -> tf.Tensor:
    """Fails when it runs; `never` is a tensor that is then False."""
    with tf.control_dependencies([tf.debugging.Assert(never, [message])]):
        return tf.zeros((1, 1, 3), tf.uint8)


def _is(octets: tf.Tensor, text: bytes) -> tf.Tensor:
    return tf.reduce_all(octets == tf.constant(list(text), tf.uint8))


def _number(octets: tf.Tensor, is_little: tf.Tensor | bool = False) -> tf.Tensor:
    """Returns the unsigned numbers whose bytes are on the last axis, as int64."""
    powers = [256**exponent for exponent in range(octets.shape[-1])]
    factors = tf.where(is_little, powers, powers[::-1])
    return tf.reduce_sum(tf.cast(octets, tf.int64) * tf.cast(factors, tf.int64), axis=-1)


def _slice(octets: tf.Tensor, position: tf.Tensor | int, size: int) -> tf.Tensor:
    """Returns `size` bytes, at most `MARGIN`, from `position`; zeros beyond the end."""
    start = tf.minimum(tf.cast(position, tf.int64), tf.size(octets, tf.int64) - MARGIN)
    return tf.ensure_shape(octets[start : start + size], (size,))


def _gather(octets: tf.Tensor, positions: tf.Tensor, size: int) -> tf.Tensor:
    """Returns `size` bytes from each of the positions, on a new last axis; zeros beyond the end."""
    positions = positions[..., None] + tf.range(size, dtype=tf.int64)
    return tf.gather(octets, tf.minimum(positions, tf.size(octets, tf.int64) - 1))
