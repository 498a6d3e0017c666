"""Image files to pixels: each is read, hashed and decoded once; what fails is known by name."""

import functools
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.machine import progress, streams
from keras_transfer.storage import headers, images

__all__ = [
    "Decoded", "decode_contents", "decode_files", "listing", "load_images", "read_bytes", "unreadable", "why_not_read",
]  # fmt: skip

TOGETHER = 16  # files that one call decodes, at most: a call for each small one takes as long as the decoding
MOST_BYTES = 2**30  # of one file
ENOUGH = 2**22  # bytes of files that are decoded at once: large ones are not kept waiting in memory


@dataclass
class Decoded:
    """What became of a list of files.

    Attributes:
        pixels: uint8 `(n, height, width, channels)`, without rows when not kept; those of failed files are undefined.
        digests: Hash of the content by file, "" where it could not be read.
        sizes: int64 `(n, 2)`: height and width of each picture in its file, upright; 0 where they are not known.
        failures: Number of the file to the reason.
    """

    pixels: np.ndarray
    digests: list[str]
    sizes: np.ndarray
    failures: dict[int, str] = field(default_factory=dict)


def load_images(
    paths: Sequence[str | os.PathLike], image_size: int | tuple[int, int], *, channels: int = 3
) -> np.ndarray:
    """Loads image files as the training data does.

    Args:
        paths: JPEG, PNG, WebP, BMP or GIF files.
        image_size: Height and width, or one number for both.
        channels: 3 for RGB, 1 for grey, 4 for RGB and alpha.

    Returns:
        uint8 `(n, height, width, channels)`.

    Raises:
        InputError: If a file is missing or no image that can be read; it names each.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "a.png"
        >>> _ = file.write_bytes(tf.io.encode_png(np.zeros((9, 9, 3), np.uint8)).numpy())
        >>> load_images([file], 8).shape
        (1, 8, 8, 3)
    """
    size = checks.image_size(image_size)
    checks.choice(channels, images.CHANNELS, name="channels")
    files = [] if isinstance(paths, (str, os.PathLike)) else [Path(path) for path in paths]
    if not files:
        raise checks.error("`paths` must be a list of image files", given=repr(paths))
    decoded = decode_files(files, size, channels=channels, keep=True)
    if decoded.failures:
        reasons = {str(files[at]): why for at, why in decoded.failures.items()}
        raise unreadable(reasons, len(files), fix="Leave it out.")
    return decoded.pixels


def decode_files(
    paths: Sequence[Path], size: tuple[int, int], *, channels: int = 3, keep: bool
) -> Decoded:
    """Reads and decodes every file once, some in a call and several calls at a time.

    Args:
        paths: The files.
        size: Height and width of the results.
        channels: Of the results, as for `load_images`.
        keep: Whether to return the pixels; otherwise files are checked only.
    """
    result = _nothing_yet(len(paths), size if keep else None, channels)
    workers = os.cpu_count() or 1
    each = min(TOGETHER, max(1, len(paths) // (2 * workers)))
    is_over = threading.Event()

    def read(first: int) -> Iterator[tuple[int, bytes]]:
        for at in range(first, min(first + each, len(paths))):
            if is_over.is_set():
                return
            try:
                content = read_bytes(paths[at])
            except (OSError, ValueError) as problem:
                result.failures[at] = why_not_read(problem)
                continue
            result.digests[at] = hashlib.blake2b(content, digest_size=16).hexdigest()
            yield at, content

    def work(first: int) -> None:
        _decode_all(read(first), size if keep else None, channels, result)

    pool = futures.ThreadPoolExecutor(workers)
    try:
        results = pool.map(work, range(0, len(paths), each))
        label = f"Reading {len(paths):,} image files"
        for _ in progress.follow(results, label, total=len(paths), unit="file", each=each):
            pass  # `work` has put everything into `result`
    finally:
        is_over.set()  # after Ctrl-C no file is read that nobody wants
        pool.shutdown(cancel_futures=True)
    result.failures = dict(sorted(result.failures.items()))
    return result


def decode_contents(
    contents: Sequence[bytes], size: tuple[int, int], *, channels: int = 3
) -> Decoded:
    """Decodes files whose content is in memory, in the calling thread; digests are left out.

    Example:
        >>> file = tf.io.encode_png(np.zeros((9, 9, 3), np.uint8)).numpy()
        >>> decoded = decode_contents([file, b""], (8, 8))
        >>> decoded.pixels.shape, decoded.failures
        ((2, 8, 8, 3), {1: 'the file is empty'})
    """
    result = _nothing_yet(len(contents), size, channels)
    _decode_all(enumerate(contents), size, channels, result)
    return result


def _nothing_yet(count: int, size: tuple[int, int] | None, channels: int) -> Decoded:
    """Returns what becomes the result for so many files; without a size no pixels are kept."""
    shape = (0, 1, 1, channels) if size is None else (count, *size, channels)
    return Decoded(np.empty(shape, np.uint8), [""] * count, np.zeros((count, 2), np.int64))


def read_bytes(path: str | os.PathLike) -> bytes:
    """Returns what is in a file, unless that would take up too much memory or never end.

    Example:
        >>> read_bytes("/")
        Traceback (most recent call last):
        ValueError: no file
    """
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):
        raise ValueError("no file" if stat.S_ISDIR(state.st_mode) else "no ordinary file")
    if state.st_size > MOST_BYTES:
        raise ValueError(f"{state.st_size / 1e9:.1f} GB are too many for an image")
    with open(path, "rb", buffering=0) as file:
        return file.read()


def why_not_read(problem: OSError | ValueError) -> str:
    """Returns in a few words why a file could not be read; `ValueError` where its name cannot be one of a file."""
    return getattr(problem, "strerror", None) or str(problem)


def _decode_all(
    contents: Iterable[tuple[int, bytes]],
    size: tuple[int, int] | None,
    channels: int,
    result: Decoded,
) -> None:
    """Decodes files, by their numbers, some in a call; ordinary JPEG by themselves, which is faster."""
    kinds: dict[bool, dict[int, bytes]] = {True: {}, False: {}}
    decoders = {is_upright: _decoder(is_upright, size, channels) for is_upright in kinds}
    for at, content in contents:
        picture_size = headers.size_of(content)
        why = headers.check_pixels(picture_size)
        if why:
            result.failures[at] = why
            continue
        result.sizes[at] = picture_size or 0
        is_upright = images.is_upright(content)
        kinds[is_upright][at] = content
        if sum(map(len, kinds[is_upright].values())) > ENOUGH:
            _decode(decoders[is_upright], kinds[is_upright], result)
            kinds[is_upright] = {}
    for is_upright, rest in kinds.items():
        _decode(decoders[is_upright], rest, result)


def _decode(
    decoder: Callable[[tf.Tensor], tf.Tensor], contents: dict[int, bytes], result: Decoded
) -> None:
    """Decodes some files, by their numbers; where that fails, each by itself, which tells the bad ones."""
    if not contents:
        return
    try:
        found = decoder(tf.constant(list(contents.values())))
    except (tf.errors.InvalidArgumentError, tf.errors.ResourceExhaustedError) as problem:
        if len(contents) == 1:
            ((at, content),) = contents.items()
            result.failures[at] = images.reason(problem) if content else "the file is empty"
            return
        for at, content in contents.items():
            _decode(decoder, {at: content}, result)
        return
    if len(result.pixels):
        result.pixels[list(contents)] = found.numpy()


def unreadable(reasons: dict[str, str], total: int, *, fix: str) -> checks.InputError:
    """The error that names the files which cannot be read, the first few when they are many."""
    files = "1 file is" if len(reasons) == 1 else f"{len(reasons)} files are"
    return checks.error(
        f"every file must be a readable image, {images.FORMATS}",
        given=f"{files} not, of {total}: {listing(reasons)}",
        fix=fix,
    )


def listing(reasons: dict[str, str], most: int = 5) -> str:
    """Files with their reasons in one line, the first few when they are many."""
    shown = ", ".join(f"{name} ({why})" for name, why in list(reasons.items())[:most])
    return f"{shown} and {len(reasons) - most} more" if len(reasons) > most else shown


@functools.lru_cache(maxsize=16)
def _decoder(
    is_upright: bool, size: tuple[int, int] | None, channels: int
) -> Callable[[tf.Tensor], tf.Tensor]:
    """One traced function for files of all kinds, and one for upright JPEG; without a size they decode only."""
    decode = images.decode_upright if is_upright else images.decode

    @streams.plain
    def one(data: tf.Tensor) -> tf.Tensor:
        image = decode(data, channels=channels)
        return tf.size(image) if size is None else images.resize(image, size)

    @tf.function(autograph=False)
    def decoded(data: tf.Tensor) -> tf.Tensor:
        with tf.device("CPU:0"):
            kind = tf.int32 if size is None else tf.uint8
            return tf.map_fn(one, data, fn_output_signature=kind, parallel_iterations=1)

    return decoded.get_concrete_function(tf.TensorSpec([None], tf.string))
