"""Images to predict: pictures, depth maps and other measurements with a place for every pixel.

Labels are arrays, `(n, height, width, channels)`, floats also without channels, or a list of one an image, or the paths
of files; None is a missing label. Values of 8 bits are pictures, uint8 and resized as pictures are; all others become
float32 and are resized by the nearest pixel, since a mean of two depths is the depth of nothing. Encoded they are
`(n, height, width, channels)`; a missing label is zeros.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any  # a user's labels may hold anything

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.data.sources import decoding
from keras_transfer.data.targets import arrays, columns, pictures
from keras_transfer.storage import images, planes

__all__ = [
    "MOVES", "blank", "describe", "describe_one", "draw", "encode", "fill", "holds", "join", "pack", "read_files",
    "reads", "stratify", "tabulate", "unpack",
]  # fmt: skip

MOVES = True

join = columns.join


def reads(labels: Any) -> bool:
    """Returns whether labels are arrays with channels, or floats with places, one an image.

    Example:
        >>> reads(np.zeros((2, 4, 4, 1))), reads(np.zeros((2, 4, 4))), reads(np.zeros((2, 4, 4), int))
        (True, True, False)
    """
    first = pictures.first_array(labels)
    if first is None:
        return False
    return first.ndim == 3 or (first.ndim == 2 and first.dtype.kind == "f")


def fill(labels: Any, like: object = None, name: str = "labels") -> tuple[Any, np.ndarray | None]:
    """Returns arrays or paths as they are, and which are there (None if all are)."""
    return pictures.fill(labels, like, name)


def encode(
    labels: Any,
    *,
    names: Sequence[str] | None = None,
    name: str = "labels",
    sizes: pictures.Pictures | None = None,
    faults: pictures.Faults | None = None,
    keep: bool = True,
) -> tuple[Any, None]:
    """Checks arrays, or reads files as `read_files` does; those of resized pictures are resized, too.

    Args:
        labels: From `fill`.
        names: None; images have no classes.
        name: How errors call the argument.
        sizes: Of the pictures; None for images that stay as they are.
        faults: What to do with wrong images; None refuses them.
        keep: Whether images of files are kept in memory.

    Returns:
        `(n, height, width, channels)`, uint8 or float32; a `FileColumn` for files.

    Example:
        >>> encode(np.full((1, 2, 2), 0.5))[0].shape
        (1, 2, 2, 1)
    """
    faults = pictures.Faults() if faults is None else faults
    if names is not None:
        fix = 'Class ids are told by `targets="mask"`.'
        raise checks.error(
            f"`{name}` are images, which have no classes", given=repr(names), fix=fix
        )
    if isinstance(labels, columns.FileColumn):
        return labels, None
    if pictures.are_paths(labels):
        return read_files(labels, sizes=sizes, faults=faults, keep=keep, name=name), None
    there = [label for label in labels if label is not None]
    first = _with_channels(np.asarray(there[0]))
    size = first.shape[:2]
    if sizes is not None:
        sizes.check_length(len(labels), name)
        size = sizes.size if sizes.are_resized else size
    is_picture = all(np.asarray(label).dtype == np.uint8 for label in there)
    dtype = np.uint8 if is_picture else np.float32

    result = np.zeros((len(labels), *size, first.shape[-1]), dtype)
    for row, label in enumerate(labels):
        if label is None:
            continue
        values = _with_channels(np.asarray(label))
        is_resized = sizes is not None and sizes.are_resized
        reason = _wrong_array(values, None if is_resized else size, first.shape[-1])
        if reason:
            faults.add(row, reason)
            continue
        result[row] = _resized(values, size)
    faults.settle(f"`{name}` must hold numbers for each pixel, of one size and number of channels")
    return result, None


def read_files(
    paths: Sequence[Any],
    *,
    sizes: pictures.Pictures | None,
    keep: bool = True,
    faults: pictures.Faults | None = None,
    name: str = "images",
) -> columns.FileColumn:
    """Reads files of pictures, or of other measurements.

    The first file says what all are: pictures of 8 bits, grey or RGB, which become uint8; or 16 bit PNG, TIFF and
    .npy, whose numbers become float32 as they are.

    Args:
        paths: Of the files; None where an image has none.
        sizes: Of the pictures; they say how large the images become.
        keep: Whether images are kept in memory.
        faults: What to do with wrong files; None refuses them.
        name: How errors call the argument.

    Returns:
        The images.

    Raises:
        InputError: If a file cannot be read.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "depth.npy"
        >>> np.save(file, np.full((4, 4), 1.5))
        >>> np.asarray(read_files([file], sizes=pictures.Pictures((2, 2)))).shape
        (1, 2, 2, 1)
    """
    faults = pictures.Faults() if faults is None else faults
    if sizes is None:
        raise checks.error(
            f"`{name}` must be arrays, or files of pictures of known size", given="files"
        )
    files = columns.files_of(paths, name)
    sizes.check_length(len(files), name)
    shown = _first_readable(files)
    if shown is not None and shown.dtype == np.uint8:
        channels = 1 if shown.ndim == 2 else 3
        column = _read_pictures(files, PictureReader((*sizes.size, channels)), faults, keep)
    else:
        channels = 1 if shown is None or shown.ndim == 2 else shown.shape[-1]
        reader = ValueReader((*sizes.size, channels))
        column = columns.read_all(
            files, reader, sizes=lambda row: None, faults=faults, keep=keep, what="image files"
        )
    faults.settle(f"every file of `{name}` must be readable, and as the first one")
    return column


@dataclasses.dataclass(frozen=True)
class PictureReader:
    """Makes pixels of a file, as they are made of the pictures that the model sees."""

    shape: tuple[int, int, int]

    dtype = np.dtype(np.uint8)

    def blank(self) -> np.ndarray:
        """Returns a black picture."""
        return np.zeros(self.shape, np.uint8)

    def count(self, target: np.ndarray) -> None:
        """Returns nothing: images have no classes."""

    def read(
        self, content: bytes, size: tuple[int, int] | None = None, *, whole: bool = True
    ) -> np.ndarray:
        """Returns the picture in a file's content."""
        decoded = decoding.decode_contents([content], self.shape[:2], channels=self.shape[-1])
        if decoded.failures:
            raise planes.UnreadableError(decoded.failures[0])
        return decoded.pixels[0]


@dataclasses.dataclass(frozen=True)
class ValueReader:
    """Takes the numbers of a file as they are."""

    shape: tuple[int, int, int]

    dtype = np.dtype(np.float32)

    def blank(self) -> np.ndarray:
        """Returns zeros."""
        return np.zeros(self.shape, np.float32)

    def count(self, target: np.ndarray) -> None:
        """Returns nothing: images have no classes."""

    def read(
        self, content: bytes, size: tuple[int, int] | None = None, *, whole: bool = True
    ) -> np.ndarray:
        """Returns the numbers in a file's content."""
        values = _with_channels(planes.decode(content, size=size).values)
        taken = pictures.nearest(values, self.shape[:2])
        reason = _wrong_array(values if whole else taken, None, self.shape[-1])
        if reason:
            raise planes.UnreadableError(reason)
        return taken.astype(np.float32)


def blank(like: Any, count: int) -> Any:
    """Returns the targets of images without a label: zeros."""
    if isinstance(like, columns.FileColumn):
        return columns.FileColumn.blanks(like, count)
    return arrays.blank(like, count)


def holds(targets: Any, names: Sequence[str] | None) -> bool:
    """Whether an encoded target is images."""
    return len(targets.shape) == 4


def describe(targets: Any, names: Sequence[str] | None) -> str:
    """Says how large the images are, and of how many channels."""
    height, width, channels = targets.shape[1:]
    return f"images of {height}x{width} pixels and {channels} channel{'s' if channels > 1 else ''}"


def describe_one(target: Any, names: Sequence[str] | None) -> str:
    """Returns the range of the values of an image."""
    values = np.asarray(target)
    return f"values {values.min():.4g} to {values.max():.4g}"


def tabulate(targets: Sequence[Any], names: Sequence[str] | None) -> list[list[str]]:
    """Returns the smallest, mean and largest value of each split; of many images, of the first."""
    samples = [np.asarray(column[: min(len(column), 256)]) for column in targets]
    rows = []
    for verb in (np.min, np.mean, np.max):
        cells = [f"{verb(values):.4g}" if values.size else "-" for values in samples]
        rows.append([verb.__name__, *cells])
    return rows


def stratify(targets: Any) -> None:
    """Returns nothing: images have no groups."""


def draw(place: Any, target: Any, names: Sequence[str] | None) -> None:
    """Draws the image into the lower right quarter of its picture."""
    values = np.asarray(target)
    shown = values if values.dtype == np.uint8 and values.shape[-1] == 3 else values[..., 0]
    inset = place.inset_axes((0.5, 0.0, 0.5, 0.5))
    inset.set_axis_off()
    inset.imshow(shown, cmap="gray")


def pack(target: Any) -> bytes:
    """Returns the image of one example as bytes, for a record; `unpack` makes it an image again.

    Example:
        >>> image = np.full((1, 2, 3), 7, np.uint8)
        >>> bool(tf.reduce_all(unpack(tf.constant(pack(image)), (1, 2, 3), tf.uint8) == image))
        True
    """
    values = np.asarray(target)
    if values.dtype == np.uint8 and values.shape[-1] in images.CHANNELS:
        return tf.io.encode_png(values).numpy()
    return arrays.pack(values)


def unpack(packed: tf.Tensor, shape: Sequence[int], dtype: tf.DType) -> tf.Tensor:
    """Returns the image of one example from a record."""
    if dtype == tf.uint8 and shape[-1] in images.CHANNELS:
        return tf.ensure_shape(tf.io.decode_png(packed, channels=shape[-1]), shape)
    return arrays.unpack(packed, shape, dtype)


def _with_channels(values: np.ndarray) -> np.ndarray:
    return values[..., None] if values.ndim == 2 else values


def _wrong_array(values: np.ndarray, size: tuple[int, int] | None, channels: int) -> str:
    """Says what is wrong with the image of one example, or nothing."""
    if values.ndim != 3 or values.dtype.kind not in "iufb" or 0 in values.shape:
        return f"{values.dtype} of shape {values.shape}"
    if values.shape[-1] != channels:
        return f"{values.shape[-1]} channels, and the first has {channels}"
    if size is not None and values.shape[:2] != tuple(size):
        return (
            f"{values.shape[1]} x {values.shape[0]} pixels, and the first has {size[1]} x {size[0]}"
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        down, across, _ = np.argwhere(~np.isfinite(values))[0]
        return f"not finite at row {down}, column {across}"
    return ""


def _resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if values.shape[:2] == tuple(size):
        return values
    if values.dtype == np.uint8:
        return images.resize(values, size).numpy()
    return pictures.nearest(values, size)


def _first_readable(files: np.ndarray) -> np.ndarray | None:
    """Returns the values of the first file that can be read, as they are stored."""
    for path in files:
        if not path:
            continue
        try:
            with open(path, "rb") as file:
                stored = planes.decode(file.read())
        except (OSError, planes.UnreadableError):
            continue
        return stored.values if stored.palette is None else stored.colours()
    return None


def _read_pictures(
    files: np.ndarray, reader: PictureReader, faults: pictures.Faults, keep: bool
) -> columns.FileColumn:
    """Reads pictures with the functions that read the pictures which the model sees."""
    rows = np.array([row for row, path in enumerate(files) if path], int)
    paths = [pathlib.Path(os.fsdecode(files[row])) for row in rows]
    height, width, channels = reader.shape
    decoded = decoding.decode_files(paths, (height, width), channels=channels, keep=keep)
    for place, reason in decoded.failures.items():
        faults.add(rows[place], f"'{paths[place]}' ({reason})")
    digests = np.zeros((len(files), columns.DIGEST), np.uint8)
    for row, digest in zip(rows, decoded.digests, strict=True):
        if digest:
            digests[row] = np.frombuffer(bytes.fromhex(digest), np.uint8)
    kept = None
    if keep:
        pixels = np.zeros((len(files), *reader.shape), np.uint8)
        pixels[rows] = decoded.pixels
        with tf.device("CPU:0"):
            kept = tf.constant(pixels)
    return columns.FileColumn(files, (reader,), np.arange(len(files)), digests, kept)
