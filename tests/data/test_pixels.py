import io

import numpy as np
import pytest
from PIL import Image

from keras_transfer.core import checks
from keras_transfer.data import pixels
from keras_transfer.storage import images

RNG = np.random.default_rng(0)
RGBA = RNG.integers(0, 256, (3, 7, 6, 4), dtype=np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_whole_values_become_uint8(dtype):
    result = pixels.checked(RGBA[..., :3].astype(dtype))
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, RGBA[..., :3])


def test_fractions_are_kept():
    fractions = RGBA[..., :3] * 0.5 + 0.25
    result = pixels.checked(fractions)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, fractions.astype(np.float32))


def test_grey_becomes_rgb():
    for grey in (RGBA[..., 0], RGBA[..., :1]):
        np.testing.assert_array_equal(pixels.checked(grey), np.repeat(RGBA[..., :1], 3, axis=-1))


def test_alpha_is_composited_as_in_image_files():
    result = pixels.checked(RGBA)
    for image, expected in zip(RGBA, result, strict=True):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        np.testing.assert_array_equal(images.decode(file.getvalue()), expected)
    np.testing.assert_allclose(
        pixels.checked(RGBA + np.float32(0.25) * (RGBA < 255)), result, atol=1
    )


def test_conversions_are_those_of_image_files():
    for has, wanted in ((1, 1), (3, 1), (4, 1), (1, 3), (4, 3), (1, 4), (3, 4), (4, 4)):
        given = RGBA[..., :has]
        found = pixels.checked(given, channels=wanted)
        assert found.dtype == np.uint8
        for image, result in zip(given, found, strict=True):
            file = io.BytesIO()
            Image.fromarray(image[..., 0] if has == 1 else image).save(file, "PNG")
            np.testing.assert_array_equal(
                images.decode(file.getvalue(), channels=wanted), result, f"{has}->{wanted}"
            )
        fractions = pixels.checked(given + np.float32(0.25) * (given < 255), channels=wanted)
        np.testing.assert_allclose(fractions, found, atol=1.1)


@pytest.mark.parametrize("count", [2, 5, 8])
def test_other_numbers_of_channels_stay(count):
    many = RNG.integers(0, 256, (3, 7, 6, count), dtype=np.uint8)
    np.testing.assert_array_equal(pixels.checked(many), many)
    np.testing.assert_array_equal(pixels.checked(many, channels=count), many)
    assert pixels.checked(many, size=4).shape == (3, 4, 4, count)
    with pytest.raises(
        checks.InputError, match=r"`images` must have 3 channels. Given: shape \(3, 7, 6, "
    ):
        pixels.checked(many, channels=3)
    low = many[:, :3]  # 3 pixels high: that is meant only where it is said
    np.testing.assert_array_equal(pixels.checked(low, channels=count), low)
    with pytest.raises(checks.InputError, match="Channels come last"):
        pixels.checked(low)


def test_resizing_is_that_of_image_files(monkeypatch):
    monkeypatch.setattr(pixels, "CHUNK", 2)
    expected = np.stack([images.resize(image, (4, 5)) for image in RGBA[..., :3]])
    np.testing.assert_array_equal(pixels.checked(RGBA[..., :3], size=(4, 5)), expected)
    np.testing.assert_array_equal(pixels.checked(RGBA[..., :3], size=(7, 6)), RGBA[..., :3])


def broken(value, dtype=np.float64):
    array = RGBA[..., :3].astype(dtype)
    array[2, 1, 1, 0] = value
    return array


BAD = {
    "nan": (broken(np.nan), "`images` must be finite. Given: nan in image 2"),
    "infinite": (broken(np.inf), "must be finite. Given: inf in image 2"),
    "negative": (broken(-1, np.int16), r"values 0\.\.255. Given: -1 in image 2"),
    "too large": (broken(300, np.int16), "Given: 300 in image 2"),
    "scaled": (RGBA[..., :3] / 255, r"Given: values from 0 to 0[.]996078. Use `255 \* images`"),
    "normalised": (RGBA[..., :3] / 127.5 - 1, "Undo the normalisation"),
    "objects": (np.array([None, None], object), "dtype object"),
    "several sizes": ([np.zeros((2, 2, 3)), np.zeros((3, 2, 3))], "Bring all images to one size"),
    "booleans": (RGBA[..., :3] > 3, "dtype bool"),
    "channels first": (np.zeros((2, 3, 8, 8)), r"Given: shape \(2, 3, 8, 8\). Channels come last"),
    "one image": (np.zeros((8, 8)), r"shape \(8, 8\)"),
    "no images": (np.zeros((0, 8, 8, 3)), r"shape \(0, 8, 8, 3\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_images_are_refused(case):
    array, message = BAD[case]
    with pytest.raises(checks.InputError, match=message):
        pixels.checked(array)


def test_another_size_is_refused_unless_it_may_be_resized():
    with pytest.raises(checks.InputError, match=r"`validation\[0\]` must be 4x4 as the others"):
        pixels.checked(RGBA, size=(4, 4), resize=False, name="validation[0]")
