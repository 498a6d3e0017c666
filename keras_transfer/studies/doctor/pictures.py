"""What every picture looks like: sizes, light, colours, sharpness and a fingerprint, measured on one small copy.

A picture is decoded once, at a small size, and takes up about 350 bytes afterwards, however large it is.
"""

import hashlib
import io
import os
import pathlib
import threading
import warnings
from collections.abc import Container, Iterable, Sequence
from concurrent import futures
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from keras_transfer.machine import progress
from keras_transfer.storage import headers

__all__ = ["BROKEN", "Pictures", "joined", "look_at_batches", "look_at_files", "open_small", "pick"]

SIDE = 192  # pixels of the longer side of the copy that is measured
THUMB = 16  # side of the grey thumbnail by which copies are compared
KERNEL = 11  # pixels of the box that tells how much detail a picture has to lose
SMALLEST = 48  # shorter sides below this say nothing about sharpness
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")  # what training reads
TOGETHER = 32  # files that a worker takes at a time
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    Image.DecompressionBombError,
)  # what Pillow raises on damaged files


class Pictures:
    """Measurements of `n` pictures; those that cannot be read have zeros everywhere.

    Args:
        names: Of the pictures: their files, or "train[0]" and so on.

    Attributes:
        names: As given.
        failures: Number of a picture that cannot be read to the reason.
        heights: int32 `(n,)`, of the pictures as they are shown.
        widths: Likewise.
        darkest: uint8 `(n,)`, the luminance that 1 % of the pixels stay below.
        middle: Likewise for half of the pixels.
        brightest: Likewise for 99 % of the pixels.
        deviation: float32 `(n,)`, the standard deviation of the luminance.
        chroma: float32 `(n,)`, the mean difference between the largest and the smallest of red, green and blue.
        blur: float32 `(n,)`, the share of detail that a further blur leaves, about 0.3 for sharp photos; 0 for what is
            too small or too even to tell.
        digests: `(n,)` of 16 bytes, the hash of the content.
        hashes: uint64 `(n,)`: whether it gets brighter from each place to the next, 8 x 8 places.
        thumbs: uint8 `(n, 16, 16)`.

    Example:
        >>> pictures = Pictures(["a.jpg"])
        >>> pictures.add(0, b"content", Image.new("RGB", (20, 10), "white"), (10, 20))
        >>> int(pictures.heights[0]), int(pictures.brightest[0])
        (10, 255)
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.failures: dict[int, str] = {}
        count = len(self.names)
        self.heights, self.widths = (np.zeros(count, "int32") for _ in range(2))
        self.darkest, self.middle, self.brightest = (np.zeros(count, "uint8") for _ in range(3))
        self.deviation, self.chroma, self.blur = (np.zeros(count, "float32") for _ in range(3))
        self.digests = np.zeros(count, "S32")
        self.hashes = np.zeros(count, "uint64")
        self.thumbs = np.zeros((count, THUMB, THUMB), "uint8")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def readable(self) -> np.ndarray:
        """The numbers of the pictures that can be read."""
        return np.flatnonzero(self.heights)

    def add(self, at: int, content: bytes, picture: Image.Image, size: tuple[int, int]) -> None:
        """Measures a picture.

        Args:
            at: Its number.
            content: What makes two pictures the same.
            picture: A small copy.
            size: Height and width of the picture itself.
        """
        colours = picture.convert("RGB")
        grey = colours.convert("L")
        counts = np.cumsum(grey.histogram())
        ranks = np.searchsorted(counts, counts[-1] * np.array([0.01, 0.5, 0.99]))

        self.darkest[at], self.middle[at], self.brightest[at] = ranks
        values = np.asarray(grey, "float32")
        self.deviation[at] = values.std()
        self.blur[at] = _blur(values)
        few = np.asarray(colours.resize((THUMB, THUMB), Image.Resampling.BOX), "int16")
        self.chroma[at] = (few.max(axis=-1) - few.min(axis=-1)).mean()
        self.thumbs[at] = grey.resize((THUMB, THUMB), Image.Resampling.BOX)
        self.hashes[at] = _hash(np.asarray(grey.resize((9, 8), Image.Resampling.BOX)))
        self.digests[at] = hashlib.blake2b(content, digest_size=16).hexdigest()
        self.heights[at], self.widths[at] = size


def look_at_files(paths: Sequence[str | os.PathLike], *, verbose: str | int = "auto") -> Pictures:
    """Reads and measures image files, several at a time; those that cannot be read are in `failures`.

    Args:
        paths: The files.
        verbose: As for `kt.doctor`.

    Example:
        >>> look_at_files(["absent.jpg"]).failures
        {0: 'No such file or directory'}
    """
    pictures = Pictures([str(path) for path in paths])
    is_over = threading.Event()

    def work(first: int) -> None:
        for at in range(first, min(first + TOGETHER, len(pictures))):
            if is_over.is_set():
                return
            try:
                path = pathlib.Path(pictures.names[at])
                if path.exists() and not path.is_file():  # reading it may never end
                    raise ValueError("no ordinary file")
                content = path.read_bytes()
                picture, size = open_small(content)
                pictures.add(at, content, picture, size)
            except BROKEN as problem:
                pictures.heights[at] = pictures.widths[at] = 0
                pictures.failures[at] = _reason(problem, pictures.names[at])

    pool = futures.ThreadPoolExecutor(os.cpu_count() or 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged EXIF and large pictures: `headers` has the limit
        try:
            parts = pool.map(work, range(0, len(pictures), TOGETHER))
            label = f"Looking at {len(pictures):,} image files"
            options: dict[str, Any] = {"total": len(pictures), "unit": "file", "each": TOGETHER}
            for _ in progress.follow(parts, label, verbose=verbose, **options):
                pass  # `work` has put everything into `pictures`
        finally:
            is_over.set()  # after Ctrl-C no file is read that nobody wants
            pool.shutdown(cancel_futures=True)
    pictures.failures = dict(sorted(pictures.failures.items()))
    return pictures


def look_at_batches(
    batches: Iterable[np.ndarray],
    name: str,
    *,
    total: int | None = None,
    verbose: str | int = "auto",
) -> Pictures:
    """Measures images that are in memory, or come from a data set.

    Args:
        batches: Images `(b, height, width, channels)`; values up to 1 are taken for shares of 255.
        name: Of the split: the images are called "train[0]", "train[1]" and so on.
        total: How many batches there are, None if unknown.
        verbose: As for `kt.doctor`.

    Example:
        >>> look_at_batches([np.full((1, 8, 8, 3), 0.5)], "train").middle.tolist()
        [127]
    """
    parts, start = [], 0
    label = f"Looking at the images of {name}"
    for images in progress.follow(batches, label, total=total, verbose=verbose):
        part = Pictures([f"{name}[{start + at}]" for at in range(len(images))])
        for at, pixels in enumerate(_as_bytes(np.asarray(images))):
            picture = Image.fromarray(pixels)
            picture.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
            part.add(at, pixels.tobytes(), picture, pixels.shape[:2])
        parts.append(part)
        start += len(part)
    return joined(parts)


def joined(parts: Sequence[Pictures]) -> Pictures:
    """Joins the measurements of several sets of pictures.

    Example:
        >>> joined([Pictures(["a"]), Pictures(["b"])]).names
        ['a', 'b']
    """
    whole = Pictures([name for part in parts for name in part.names])
    for name, values in vars(whole).items():
        if isinstance(values, np.ndarray) and parts:
            setattr(whole, name, np.concatenate([getattr(part, name) for part in parts]))
    start = 0
    for part in parts:
        whole.failures.update({start + at: why for at, why in part.failures.items()})
        start += len(part)
    return whole


def pick(batches: Iterable, rows: np.ndarray, wanted: Container[int]) -> dict[int, Image.Image]:
    """Returns some of the images of a split, by their numbers.

    Args:
        batches: Of the split, in order, with `images`.
        rows: Numbers of its images.
        wanted: Numbers of those to return.
    """
    found, start = {}, 0
    for batch in batches:
        own = rows[start : start + len(batch.images)]
        chosen = [at for at, row in enumerate(own) if int(row) in wanted]
        if chosen:
            shown = _as_bytes(np.asarray(batch.images)[chosen])
            found.update(
                {
                    int(own[at]): Image.fromarray(pixels)
                    for at, pixels in zip(chosen, shown, strict=True)
                }
            )
        start += len(own)
    return found


def open_small(content: bytes, side: int = SIDE) -> tuple[Image.Image, tuple[int, int]]:
    """Decodes an image file at a small size, upright, transparency over white.

    Args:
        content: Of the file.
        side: Its longer side afterwards, at most.

    Returns:
        RGB or grey; height and width of the picture itself.

    Example:
        >>> buffer = io.BytesIO()
        >>> Image.new("RGB", (400, 300)).save(buffer, "png")
        >>> open_small(buffer.getvalue())[0].size, open_small(buffer.getvalue())[1]
        ((192, 144), (300, 400))
    """
    size = headers.size_of(content)
    reason = headers.check_pixels(size)
    if reason:
        raise ValueError(reason)
    with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
        if picture.format == "WEBP" and getattr(picture, "is_animated", False):
            raise ValueError("animated WebP cannot be read; save one frame")
        size = size or picture.size[::-1]
        picture.draft("RGB", (side, side))  # a JPEG is decoded at a half, a quarter or an eighth
        picture.load()
        turned = ImageOps.exif_transpose(picture) if picture.format == "JPEG" else picture

    if turned.mode.startswith("I"):  # 16 bits
        turned = Image.fromarray((np.asarray(turned) >> 8).astype("uint8"))
    if turned.mode in ("P", "PA", "LA", "RGBa", "La"):
        turned = turned.convert("RGBA")
    if turned.mode == "RGBA":
        turned = Image.alpha_composite(Image.new("RGBA", turned.size, "white"), turned)
    small = turned if turned.mode in ("L", "RGB") else turned.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.BOX)
    return small, size


def _reason(problem: Exception, name: str) -> str:
    if isinstance(problem, UnidentifiedImageError):
        empty = os.path.getsize(name) == 0
        return "the file is empty" if empty else "the bytes are no image that can be read"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return str(problem) or type(problem).__name__


def _as_bytes(images: np.ndarray) -> np.ndarray:
    """Returns images of any kind as uint8, grey or RGB."""
    if images.dtype != np.uint8:
        images = np.nan_to_num(images.astype("float32"))
        low, high = float(images.min()), float(images.max())
        if high <= 1.001 and low >= -1.001:
            images = images * 255 if low >= 0 else (images + 1) * 127.5
        images = np.clip(images, 0, 255).astype("uint8")
    if images.ndim == 3:
        return images
    return np.ascontiguousarray(images[..., :3] if images.shape[-1] >= 3 else images[..., 0])


def _hash(grey: np.ndarray) -> np.uint64:
    bits = np.packbits(grey[:, 1:] > grey[:, :-1])
    return bits.view(np.uint64)[0]


def _blur(grey: np.ndarray) -> float:
    """Measures how little a further blur changes, over both axes: Crete et al., "The blur effect" (2007)."""
    if min(grey.shape) < SMALLEST:
        return 0.0
    worst = 0.0
    for values in (grey, grey.T):
        sums = np.cumsum(values, axis=0, dtype="float32")
        smooth = (sums[KERNEL:] - sums[:-KERNEL]) / KERNEL
        middle = values[KERNEL // 2 + 1 : len(values) - KERNEL // 2]
        detail = np.abs(np.diff(middle, axis=0))
        lost = np.maximum(0, detail - np.abs(np.diff(smooth, axis=0)))
        total = float(detail.sum())
        if total < 0.25 * detail.size:
            return 0.0
        worst = max(worst, 1 - float(lost.sum()) / total)
    return worst
