import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from keras_transfer.core import checks
from keras_transfer.storage import images

pytestmark = pytest.mark.compiled

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (20, 30, 1), dtype=np.uint8)
FLAT = np.repeat(NOISE[::5, ::5], 5, axis=0).repeat(5, axis=1)  # blocks survive JPEG
decode = tf.function(images.decode, input_signature=[tf.TensorSpec([], tf.string)])


@pytest.fixture(autouse=True)
def _seed():
    """Leaves TensorFlow's seed alone, which nothing here uses: setting it discards what traced functions became."""


def encoded(picture, form, **options):
    file = io.BytesIO()
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(
        file, form, **options
    )
    return file.getvalue()


def pillow(data, mode="RGB"):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert(mode))


def exif(value, *, order=">", tag=0x0112, kind=3, before=0):
    """A JPEG's EXIF segment, written by hand; `before` counts other tags in front."""
    filler = b"".join(struct.pack(order + "HHIHH", 0x0100 + i, 3, 1, 7, 0) for i in range(before))
    entry = struct.pack(order + "HHI", tag, kind, 1)
    entry += struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
    head = {">": b"MM\0*", "<": b"II*\0"}[order] + struct.pack(order + "I", 8)
    body = b"Exif\0\0" + head + struct.pack(order + "H", before + 1) + filler + entry + b"\0" * 4
    return app1(body)


def app1(body):
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def with_segment(jpeg, segment, *, first=False):
    """`jpeg` with a segment directly at the start, or behind the JFIF one."""
    at = 2 if first else 4 + struct.unpack(">H", jpeg[4:6])[0]
    return jpeg[:at] + segment + jpeg[at:]


JPEG = encoded(FLAT, "JPEG", quality=95)
INDEXED = Image.fromarray(NOISE).quantize(200)
RGBA = np.concatenate([NOISE, ALPHA], axis=-1)

SAME_AS_PILLOW = {
    "jpeg": encoded(NOISE, "JPEG", quality=75),
    "progressive jpeg": encoded(NOISE, "JPEG", progressive=True),
    "grey jpeg": encoded(NOISE[..., 0], "JPEG"),
    "cmyk jpeg": encoded(Image.fromarray(NOISE).convert("CMYK"), "JPEG"),
    "png": encoded(NOISE, "PNG"),
    "grey png": encoded(NOISE[..., 0], "PNG"),
    "one bit png": encoded(Image.fromarray(NOISE).convert("1"), "PNG"),
    "indexed png": encoded(INDEXED, "PNG"),
    "bmp": encoded(NOISE, "BMP"),
    "grey bmp": encoded(NOISE[..., 0], "BMP"),
    "indexed bmp": encoded(INDEXED, "BMP"),
    "32 bit bmp": encoded(RGBA, "BMP"),
    "gif": encoded(INDEXED, "GIF"),
    "webp": encoded(NOISE, "WEBP", quality=80),
    "lossless webp": encoded(NOISE, "WEBP", lossless=True),
    "animated gif": encoded(INDEXED, "GIF", save_all=True, append_images=[INDEXED.rotate(180)]),
}


@pytest.mark.parametrize("name", SAME_AS_PILLOW)
def test_pixels_are_those_of_pillow(name):
    data = SAME_AS_PILLOW[name]
    np.testing.assert_array_equal(decode(data), pillow(data))


@pytest.mark.parametrize("name", SAME_AS_PILLOW)
def test_luminance_is_that_of_pillow(name):
    data = SAME_AS_PILLOW[name]
    expected = np.asarray(Image.fromarray(pillow(data)).convert("L"))[..., None]
    np.testing.assert_array_equal(images.decode(data, channels=1), expected)


def test_grey_stays_as_it_is_bit_by_bit():
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(images.decode(encoded(every, "PNG"), channels=1)[..., 0], every)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_alpha_is_kept_with_the_colours_as_they_are_stored(form):
    data = encoded(RGBA, form, **({"lossless": True, "exact": True} if form == "WEBP" else {}))
    np.testing.assert_array_equal(images.decode(data, channels=4), RGBA)
    grey = encoded(Image.fromarray(RGBA[..., [0, 3]], "LA"), "PNG")
    np.testing.assert_array_equal(images.decode(grey, channels=4), RGBA[..., [0, 0, 0, 3]])


@pytest.mark.parametrize("name", SAME_AS_PILLOW)
def test_files_without_alpha_are_opaque(name):
    found = images.decode(SAME_AS_PILLOW[name], channels=4).numpy()
    np.testing.assert_array_equal(found[..., :3], pillow(SAME_AS_PILLOW[name]))
    assert (found[..., 3] == 255).all()


def test_files_hold_one_three_or_four_channels():
    with pytest.raises(checks.InputError, match="`channels` must be one of 1, 3, 4. Given: 2."):
        images.decode(SAME_AS_PILLOW["png"], channels=2)


def test_palette_bmp_shows_its_colours_not_its_indices():
    np.testing.assert_array_equal(
        decode(encoded(INDEXED, "BMP")), np.asarray(INDEXED.convert("RGB"))
    )


def test_sixteen_bits_keep_the_high_byte():
    deep = RNG.integers(0, 65536, (20, 30)).astype(np.uint16)
    np.testing.assert_array_equal(
        decode(encoded(deep, "PNG")), np.repeat((deep >> 8)[..., None], 3, axis=-1)
    )


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_alpha_is_composited_over_white(form):
    data = encoded(RGBA, form, **({"lossless": True, "exact": True} if form == "WEBP" else {}))
    expected = np.empty_like(NOISE)
    for index in np.ndindex(NOISE.shape):  # the definition, pixel by pixel
        opacity = ALPHA[index[:2]][0] / 255
        expected[index] = np.floor(NOISE[index] * opacity + 255 * (1 - opacity) + 0.5)
    np.testing.assert_array_equal(decode(data), expected)


def test_grey_with_alpha_and_a_transparent_palette():
    grey = np.concatenate([NOISE[..., :1], ALPHA], axis=-1)
    opaque = grey.copy()
    opaque[..., 1] = 255
    np.testing.assert_array_equal(
        decode(encoded(opaque, "PNG")), np.repeat(NOISE[..., :1], 3, axis=-1)
    )
    clear = grey.copy()
    clear[..., 1] = 0
    np.testing.assert_array_equal(decode(encoded(clear, "PNG")), np.full_like(NOISE, 255))
    data = encoded(INDEXED, "PNG", transparency=3)
    is_clear = pillow(data, "RGBA")[..., 3:] == 0
    assert is_clear.any()
    np.testing.assert_array_equal(decode(data), np.where(is_clear, 255, pillow(data)))


@pytest.mark.parametrize("channels", images.CHANNELS)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_an_upright_jpeg_needs_no_look_at_its_header(mode, channels):
    data = encoded(Image.fromarray(NOISE).convert(mode), "JPEG")
    quick = tf.function(lambda file: images.decode_upright(file, channels=channels))(data)
    assert images.is_upright(data)
    assert quick.shape == (20, 30, channels)
    np.testing.assert_array_equal(
        quick, tf.function(lambda file: images.decode(file, channels=channels))(data)
    )


def test_which_jpegs_are_upright():
    assert images.is_upright(with_segment(JPEG, app1(b"JFXX\0 else")))
    assert not images.is_upright(with_segment(JPEG, exif(6)))
    assert not images.is_upright(encoded(NOISE, "PNG"))
    assert not images.is_upright(b"")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_exif_orientation_turns_as_pillow_does(value, order):
    first = with_segment(JPEG, exif(value, order=order, before=3), first=True)
    later = with_segment(
        JPEG, b"\xff\xfe\0\5abc\xff" + exif(value, order=order)
    )  # behind a comment and a padding byte
    expected = pillow(first)
    assert expected.shape == ((30, 20, 3) if value >= 5 else (20, 30, 3))
    assert (value == 1) == np.array_equal(expected, pillow(JPEG))
    np.testing.assert_array_equal(decode(first), expected)
    np.testing.assert_array_equal(decode(later), expected)


def test_exif_written_by_pillow_is_read():
    tags = Image.Exif()
    tags[0x0112] = 6
    tags[0x010F] = "a maker"
    data = encoded(FLAT, "JPEG", exif=tags)
    np.testing.assert_array_equal(decode(data), pillow(data))
    assert decode(data).shape == (30, 20, 3)


@pytest.mark.parametrize(
    "segment",
    [
        exif(0),
        exif(9),
        exif(65535),
        exif(6, tag=0x0113),
        exif(6, kind=2),
        app1(b"Exif\0\0"),
        app1(b"Exif\0\0II*\0\xff\xff"),
        app1(b"Exif\0\0MM\0*\xff\xff\xff\xff"),
        app1(b"Exif\0\0II*\0\x08\0\0\0\xff\xff"),
        app1(exif(6)[4:].replace(b"MM", b"QQ")),
        app1(exif(6)[4:-12]),
        app1(b"http://"),
    ],
)
def test_senseless_exif_leaves_the_image_upright(segment):
    np.testing.assert_array_equal(decode(with_segment(JPEG, segment)), decode(JPEG))


def test_random_headers_never_raise():
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def read(files):
        def one(data):
            return images.orientation(images.header(data))

        return tf.map_fn(one, files, fn_output_signature=tf.int64)

    good = with_segment(JPEG, exif(6), first=True)
    files = [good]
    for trial in range(300):
        noisy = bytearray(good[: RNG.integers(0, len(good))] if trial % 2 else good)
        for at in RNG.integers(2, 48, 6):
            if at < len(noisy):
                noisy[at] = RNG.integers(0, 256)
        files.append(bytes(noisy))

    orientations = read(files).numpy()
    assert orientations[0] == 6
    assert ((orientations >= 1) & (orientations <= 8)).all()


WHOLE = encoded(NOISE, "JPEG")
ANIMATION = {"save_all": True, "append_images": [Image.fromarray(NOISE[::-1])]}
UNREADABLE = {
    "empty": (b"", "not a JPEG"),
    "text": (b"hello, this is text", "not a JPEG"),
    "tiff": (encoded(NOISE, "TIFF"), "not a JPEG, PNG, WebP, BMP or GIF image"),
    "cut jpeg": (WHOLE[: len(WHOLE) // 2], "Invalid JPEG"),
    "cut at the end": (WHOLE[:-2], "Invalid JPEG"),
    "cut in the header": (WHOLE[:12], "Invalid JPEG"),
    "cut png": (encoded(NOISE, "PNG")[:-30], "Invalid PNG"),
    "cut bmp": (encoded(NOISE, "BMP")[:-30], "size"),
    "bmp header": (b"BM", "a BMP image must be uncompressed"),
    "cut webp": (encoded(NOISE, "WEBP")[:-30], "WebP"),
    "cut gif": (encoded(INDEXED, "GIF")[:-200], "GIF"),
    "one bit bmp": (
        encoded(Image.fromarray(NOISE).convert("1"), "BMP"),
        "8, 24 or 32 bits a pixel",
    ),
    "animated webp": (encoded(NOISE, "WEBP", **ANIMATION), "animated WebP cannot be read"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_decoded_fails_with_a_reason(name):
    data, reason = UNREADABLE[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=reason):
        decode(data)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_resize_keeps_an_image_that_fits(dtype):
    resized = images.resize(NOISE.astype(dtype), (20, 30))
    assert resized.dtype == tf.uint8
    np.testing.assert_array_equal(resized, NOISE)


def test_resize_averages_when_it_shrinks_and_rounds():
    # Two by two blocks of one colour: antialiased, the middle of the image is the mean with its neighbours (a triangle
    # of width 4 over 1/8, 3/8, 3/8, 1/8), so a ramp stays a ramp: pixel i of the half is (2i + 0.5) * 10.
    ramp = np.repeat(
        np.repeat(np.arange(8, dtype=np.float32)[None, :, None] * 10, 8, axis=0), 3, axis=-1
    )
    half = images.resize(ramp, (4, 4)).numpy()
    np.testing.assert_array_equal(half[:, 1:3, 0], [[25, 45]] * 4)
    # Stripes to a quarter: the triangle has the weights (1 3 5 7 7 5 3 1) / 32 over 0 1 1 0 0 1 1 0 times 255, which is
    # 127.5, rounded to the even 128; without antialiasing only the two zeros in the middle would count.
    stripes = np.tile(np.array([255, 0, 0, 255], np.uint8)[None, :, None], (16, 4, 3))
    np.testing.assert_array_equal(images.resize(stripes, (4, 4))[:, 1:3], np.full((4, 2, 3), 128))


def test_resize_of_a_batch_is_that_of_its_images():
    batch = RNG.integers(0, 256, (3, 9, 11, 3), dtype=np.uint8)
    expected = np.stack([images.resize(image, (6, 5)) for image in batch])
    np.testing.assert_array_equal(images.resize(batch, (6, 5)), expected)


def test_load_reads_a_file(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(NOISE, "PNG"))
    np.testing.assert_array_equal(images.load(str(tmp_path / "a.png"), (20, 30)), NOISE)


def test_a_saved_model_decodes_a_batch_of_strings_to_the_same_pixels(tmp_path):
    def pixels(strings):
        spec = tf.TensorSpec((16, 12, 3), tf.uint8)
        return tf.map_fn(
            lambda data: images.resize(images.decode(data), (16, 12)),
            strings,
            fn_output_signature=spec,
        )

    module = tf.Module()
    module.pixels = tf.function(pixels, input_signature=[tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(module, str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    files = [*SAME_AS_PILLOW.values(), with_segment(JPEG, exif(8))]
    result = loaded.pixels(tf.constant(files))
    assert result.dtype == tf.uint8
    expected = [images.resize(images.decode(data), (16, 12)).numpy() for data in files]
    np.testing.assert_array_equal(result, np.stack(expected))
    with pytest.raises(tf.errors.InvalidArgumentError):
        loaded.pixels(tf.constant([files[0], b""]))
