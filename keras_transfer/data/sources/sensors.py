"""Images of other sensors: 16 bit PNG and TIFF, .npy, and several files of one scene as the channels of one image.

Values become 0..255, as models take them: those of 8 bits stay, all others are scaled from their range, which the user
tells or which is measured in all files.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any  # ranges may be told in several ways

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks, lookup
from keras_transfer.data.sources import decoding
from keras_transfer.machine import memory, progress
from keras_transfer.storage import images, planes

__all__ = [
    "ENDINGS",
    "MEASURE",
    "check_range",
    "decode_stacks",
    "has_16_bits",
    "is_other",
    "load_stacks",
]

ENDINGS = (".tif", ".tiff", ".npy")  # of files that image files do not have
MEASURE = "measure"
EACH = 8  # images that a thread takes at a time

Range = tuple[float, float]


def load_stacks(
    stacks: Sequence[Any],
    image_size: int | tuple[int, int],
    *,
    value_range: Range | Sequence[Range | None],
) -> np.ndarray:
    """Loads files of other sensors as the training data does, for `kt.predict` and `kt.evaluate`.

    Args:
        stacks: The file of each image; or for each image the files whose channels are put together, in the order of
            the training data.
        image_size: Height and width, or one number for both.
        value_range: The lowest and the highest value, which become 0 and 255, as told or measured for the training
            data; or a list of these, one a file of a stack. Values of 8 bits stay.

    Returns:
        float32 `(n, height, width, channels)`, values 0..255.

    Raises:
        InputError: If a file cannot be read or is not as the first one.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "heat.npy"
        >>> np.save(file, np.full((4, 4), 300.0))
        >>> load_stacks([file], 4, value_range=(200, 400))[0, 0, 0].tolist()
        [127.5]
    """
    size = checks.image_size(image_size)
    rows = [[stack] if isinstance(stack, (str, os.PathLike)) else list(stack) for stack in stacks]
    if not rows or len({len(row) for row in rows}) > 1 or not rows[0]:
        lengths = sorted({len(row) for row in rows})
        given = f"{', '.join(map(str, lengths)) or 'none'}"
        raise checks.error("`stacks` must hold as many files for each image", given=given)
    names = [f"file {number}" for number in range(len(rows[0]))]
    if isinstance(value_range, list):
        if len(value_range) != len(names):
            given = f"{len(value_range)} for {len(names)} files"
            raise checks.error("`value_range` must have a range for each file", given=given)
        told: Any = {n: r for n, r in zip(names, value_range, strict=True) if r is not None}
    else:
        told = value_range
    check_range(told, names)
    paths = [list(map(Path, row)) for row in rows]
    decoded = decode_stacks(paths, size, names=names, value_range=told, cache="memory", notes=[])
    if decoded.failures:
        reasons = {str(paths[at][0]): why for at, why in decoded.failures.items()}
        raise _unreadable(reasons, len(rows), "Leave it out.")
    return decoded.pixels


def check_range(value_range: Any, names: Sequence[str]) -> dict[str, Range | None]:
    """Returns the range of each kind of files, None where it is to be measured.

    Args:
        value_range: `(lowest, highest)` for all, a dict of these by name, or "measure".
        names: Of the kinds of files.

    Example:
        >>> check_range({"depth": (0, 10)}, ["rgb", "depth"])
        {'rgb': None, 'depth': (0.0, 10.0)}
    """
    if value_range is None or value_range == MEASURE:
        return dict.fromkeys(names)
    told = value_range
    if not isinstance(told, Mapping):
        told = dict.fromkeys(names, value_range)
    for name in told:
        lookup.find(name, dict.fromkeys(names), argument="value_range")
    ranges: dict[str, Range | None] = dict.fromkeys(names)
    for name, limits in told.items():
        expected = "`value_range` must be (lowest, highest), a dict of these, or 'measure'"
        if not isinstance(limits, tuple | list) or len(limits) != 2:
            raise checks.error(expected, given=repr(limits), fix="16 bits are (0, 65535).")
        low, high = (checks.number(limit, name="value_range") for limit in limits)
        if not low < high:
            raise checks.error(expected, given=repr(limits), fix="16 bits are (0, 65535).")
        ranges[name] = (low, high)
    return ranges


def is_other(path: Path) -> bool:
    """Returns whether a file is none of an ordinary picture by its name, but one of another sensor."""
    return path.suffix.lower() in ENDINGS


def has_16_bits(path: Path) -> bool:
    """Returns whether a file is a PNG whose values have 16 bits, of which image files keep 8."""
    try:
        with path.open("rb") as file:
            start = file.read(25)
    except (OSError, ValueError):
        return False
    return start.startswith(b"\x89PNG") and start[24:] == b"\x10"


def decode_stacks(
    stacks: Sequence[Sequence[Path]],
    size: tuple[int, int],
    *,
    names: Sequence[str],
    value_range: Any,
    cache: str,
    notes: list[str],
) -> decoding.Decoded:
    """Reads the files of every image once, and puts their channels together.

    Args:
        stacks: The files of each image.
        size: Height and width of the results.
        names: What each file of a stack is, for notes.
        value_range: As for `check_range`.
        cache: "memory" takes whatever memory the images need, "auto" a quarter of what is free.
        notes: Gets what was decided.

    Returns:
        float32 pixels 0..255; the sizes are those of the first file of each image.
    """
    ranges = check_range(value_range, names)
    columns = zip(*stacks, strict=True)
    bands = [_Band(name, list(column)) for name, column in zip(names, columns, strict=True)]
    channels = sum(band.channels for band in bands)
    _check_memory(len(stacks) * size[0] * size[1] * channels * 4, cache)
    result = decoding.Decoded(
        np.zeros((len(stacks), *size, channels), np.float32),
        [""] * len(stacks),
        np.zeros((len(stacks), 2), np.int64),
    )

    def work(first: int) -> None:
        for at in range(first, min(first + EACH, len(stacks))):
            _decode_one(at, stacks[at], bands, size, result)

    with futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        passes = pool.map(work, range(0, len(stacks), EACH))
        label = f"Reading {len(stacks):,} images"
        for _ in progress.follow(passes, label, total=len(stacks), unit="image", each=EACH):
            pass  # `work` has put everything into `result`
    result.failures = dict(sorted(result.failures.items()))

    start = 0
    for band in bands:
        part = result.pixels[..., start : start + band.channels]
        if not band.is_byte:
            notes += band.scale(part, ranges[band.name])
        start += band.channels
    return result


class _Band:
    """The files of one kind, such as all infrared pictures.

    Attributes:
        name: What they are.
        channels: Of each, as of the first one that can be read.
        is_byte: Whether their values have 8 bits.
    """

    def __init__(self, name: str, paths: Sequence[Path]) -> None:
        self.name = name
        self.channels, self.is_byte = 1, True
        self._low, self._high = np.inf, -np.inf
        for path in paths:
            try:
                values = _values(decoding.read_bytes(path))
            except (OSError, ValueError):  # told where all files are read
                continue
            self.channels, self.is_byte = values.shape[-1], values.dtype == np.uint8
            return

    def read(self, content: bytes) -> np.ndarray:
        """Returns the values in a file, `(height, width, channels)`, if it is as the others."""
        values = _values(content)
        if values.dtype == np.uint8 and values.shape[-1] == 1 and self.is_byte:
            values = np.repeat(values, self.channels, axis=-1)  # a grey picture among coloured ones
        if (values.dtype == np.uint8) != self.is_byte:
            raise planes.UnreadableError(f"{values.dtype}, unlike the first file of {self.name!r}")
        if values.shape[-1] != self.channels:
            raise planes.UnreadableError(
                f"{values.shape[-1]} channels, and the first file of {self.name!r} has {self.channels}"
            )
        if not np.isfinite(values).all():
            raise planes.UnreadableError("values that are not finite")
        return values

    def measure(self, values: np.ndarray) -> None:
        """Widens the range that was measured."""
        self._low = min(self._low, float(values.min()))
        self._high = max(self._high, float(values.max()))

    def scale(self, pixels: np.ndarray, told: Range | None) -> list[str]:
        """Scales pixels to 0..255 in place, and notes from which range."""
        if not np.isfinite(self._low):
            return []
        measured = (self._low, self._high)
        low, high = told or measured
        if low == high:
            raise checks.error(
                f"the values of {self.name!r} must differ",
                given=f"{low:g} only",
                fix="Tell their range by `value_range`.",
            )
        pixels -= np.float32(low)
        pixels *= np.float32(255 / (high - low))
        np.clip(pixels, 0, 255, out=pixels)
        if told is None:
            text = f"values {low:g} to {high:g} of {self.name!r}, as measured, become 0 to 255"
            return [
                checks.note(f"{text}: value_range=({low:g}, {high:g}) keeps this for other files")
            ]
        if measured[0] < low or measured[1] > high:
            given = f"{measured[0]:g} to {measured[1]:g}"
            return [
                checks.note(f"values {given} of {self.name!r} are cut off at {low:g} and {high:g}")
            ]
        return []


def _values(content: bytes) -> np.ndarray:
    """Returns what a file stores, with channels; colours without their opacity."""
    stored = planes.decode(content)
    values = stored.values if stored.palette is None else stored.colours()
    if values.ndim == 2:
        return values[..., None]
    return values[..., :3] if values.dtype == np.uint8 and values.shape[-1] == 4 else values


def _decode_one(
    at: int,
    paths: Sequence[Path],
    bands: Sequence[_Band],
    size: tuple[int, int],
    result: decoding.Decoded,
) -> None:
    """Reads the files of one image into its row of the result, or says why that is not possible."""
    digest = hashlib.blake2b(digest_size=16)
    start, found = 0, []
    for path, band in zip(paths, bands, strict=True):
        try:
            content = decoding.read_bytes(path)
            values = band.read(content)
        except (OSError, ValueError) as problem:
            why = decoding.why_not_read(problem) if isinstance(problem, OSError) else str(problem)
            result.failures[at] = why if len(paths) == 1 else f"{band.name} '{path.name}': {why}"
            return
        digest.update(content)
        found.append(values)
    for values, band in zip(found, bands, strict=True):
        if band.is_byte:
            resized = images.resize(values, size).numpy()
        else:
            band.measure(values)
            whole = values.astype(np.float32)
            resized = tf.image.resize(whole, size, method="bilinear", antialias=True).numpy()
        result.pixels[at, ..., start : start + band.channels] = resized
        start += band.channels
    result.digests[at] = digest.hexdigest()
    result.sizes[at] = found[0].shape[:2]


def _check_memory(needed: int, cache: str) -> None:
    free = memory.free_memory()
    if cache == "memory" or (cache == "auto" and needed <= free / 4):
        return
    shares = f"{needed / 1e9:.3g} GB of {free / 1e9:.3g} GB that are free"
    given = "cache='off'" if cache == "off" else shares
    fix = "Set a smaller `image_size`, or `cache='memory'`."
    raise checks.error(
        "images of other sensors must be kept in memory, in a quarter of it",
        given=given,
        fix=fix,
    )


def _unreadable(reasons: dict[str, str], total: int, fix: str) -> checks.InputError:
    files = "1 image is" if len(reasons) == 1 else f"{len(reasons)} images are"
    return checks.error(
        f"every file must be readable, {planes.FORMATS}",
        given=f"{files} not, of {total}: {decoding.listing(reasons)}",
        fix=fix,
    )
