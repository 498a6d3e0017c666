"""Image arrays of one kind: values 0..255 and as many channels as the model takes."""

from collections.abc import Iterator

import numpy as np

from keras_transfer.core import checks
from keras_transfer.storage import images

__all__ = ["checked"]

CHUNK = 256  # images converted at a time
FILES = images.CHANNELS  # one kind of which can be made of another, as it is done with image files


def checked(
    array: np.ndarray,
    *,
    channels: int | None = None,
    size: int | tuple[int, int] | None = None,
    resize: bool = True,
    name: str = "images",
) -> np.ndarray:
    """Checks images and brings them to one kind.

    Args:
        array: `(n, height, width)` or `(n, height, width, channels)`; 1 channel is grey, 3 are RGB, 4 RGB and alpha.
        channels: Channels of the result. None makes grey and RGB with alpha RGB, and keeps any other number.
        size: Height and width, or one number for both; by default they stay.
        resize: Whether images of another size are resized; otherwise they are refused.
        name: How errors call the argument.

    Returns:
        `(n, height, width, channels)`: uint8 where all values are whole or images were resized, else float32.

    Example:
        >>> checked(np.zeros((2, 8, 8), np.uint8), size=4).shape
        (2, 4, 4, 3)
    """
    size = None if size is None else checks.image_size(size)
    array = _numbers(array, name, channels)
    _check_values(array, name)
    if channels is None:
        channels = 3 if array.shape[-1] in FILES else array.shape[-1]
    _check_channels(array, channels, name)
    if size is not None and array.shape[1:3] != size and not resize:
        fix = "Give `image_size` to resize all of them."
        raise checks.error(
            f"`{name}` must be {size[0]}x{size[1]} as the others",
            given=f"shape {array.shape}",
            fix=fix,
        )
    whole = array.dtype.kind != "f" or all(
        np.array_equal(part, np.trunc(part)) for _, part in _chunks(array)
    )
    shape = (len(array), *(size or array.shape[1:3]), channels)
    result = np.empty(shape, np.uint8 if whole or shape[1:3] != array.shape[1:3] else np.float32)
    for start, part in _chunks(array):
        converted = _converted(part.astype(np.uint8 if whole else np.float32), channels)
        fits = converted.shape[1:3] == shape[1:3]
        result[start : start + CHUNK] = converted if fits else images.resize(converted, shape[1:3])
    return result


def _numbers(array: np.ndarray, name: str, channels: int | None) -> np.ndarray:
    expected = (
        f"`{name}` must be an array of shape (n, height, width) or (n, height, width, channels)"
    )
    try:
        array = np.asarray(array)
    except ValueError as problem:  # images of different sizes
        raise checks.error(
            expected, given=str(problem), fix="Bring all images to one size."
        ) from problem
    if array.dtype.kind not in "iuf":
        fix = "Bring all images to one size; values are numbers 0..255."
        raise checks.error(expected, given=f"dtype {array.dtype}", fix=fix)
    if array.ndim == 3:
        array = array[..., None]
    # Nobody has images 3 pixels high with 224 channels.
    is_turned = (
        array.ndim == 4 and array.shape[1] in FILES and array.shape[-1] not in (*FILES, channels)
    )
    if array.ndim != 4 or is_turned or 0 in array.shape:
        fix = "Channels come last: 1 (grey), 3 (RGB), 4 (RGB and alpha) or others."
        raise checks.error(expected, given=f"shape {array.shape}", fix=fix)
    return array


def _check_channels(array: np.ndarray, channels: int, name: str) -> None:
    has = array.shape[-1]
    if has != channels and not (has in FILES and channels in FILES):
        fix = "Only grey, RGB and RGB with alpha can be turned into each other."
        raise checks.error(
            f"`{name}` must have {channels} channels", given=f"shape {array.shape}", fix=fix
        )


def _chunks(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yields some images at a time, with the index of the first."""
    for start in range(0, len(array), CHUNK):
        yield start, array[start : start + CHUNK]


def _check_values(array: np.ndarray, name: str) -> None:
    if array.dtype == np.uint8:
        return
    is_float = array.dtype.kind == "f"
    for start, part in _chunks(array):
        if is_float and not np.isfinite(part).all():
            at = np.argwhere(~np.isfinite(part))[0]
            given = f"{part[tuple(at)]} in image {start + at[0]}"
            raise checks.error(
                f"`{name}` must be finite", given=given, fix="Leave out or repair that image."
            )
        for value in (part.min(), part.max()):
            if not 0 <= value <= 255:
                at = start + np.argwhere(part == value)[0][0]
                fix = "Undo the normalisation: models take pixels and do it themselves."
                raise checks.error(
                    f"`{name}` must have values 0..255", given=f"{value:g} in image {at}", fix=fix
                )
    if is_float and array.max() <= 1:
        given = f"values from {array.min():g} to {array.max():g}"
        raise checks.error(
            f"`{name}` must have values 0..255", given=given, fix=f"Use `255 * {name}`."
        )


def _converted(part: np.ndarray, channels: int) -> np.ndarray:
    """Grey to RGB and back, transparency over white, missing alpha opaque: all as for image files."""
    has = part.shape[-1]
    if has == channels:
        return part
    if has == 1:
        part = np.repeat(part, 3, axis=-1)
    if channels == 4:
        return np.concatenate([part, np.full_like(part[..., :1], 255)], axis=-1)
    coloured = _over_white(part) if has == 4 else part
    return _grey(coloured) if channels == 1 else coloured


def _over_white(part: np.ndarray) -> np.ndarray:
    opacity = part[..., 3:].astype(np.float32) / 255
    mixed = part[..., :3] * opacity + 255 * (1 - opacity)
    return np.floor(mixed + 0.5).astype(np.uint8) if part.dtype == np.uint8 else mixed


def _grey(part: np.ndarray) -> np.ndarray:
    if part.dtype != np.uint8:
        return part @ (np.array(images.LUMINANCE, part.dtype)[:, None] / 2**16)
    parts = part.astype(np.int32) @ np.array(images.LUMINANCE, np.int32)[:, None]
    return ((parts + 2**15) // 2**16).astype(np.uint8)
