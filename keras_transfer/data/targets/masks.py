"""Masks: a class for every pixel.

Labels are arrays of class ids, `(n, height, width)` or a list of one an image, or the paths of files; None is a missing
label. A mask has the size of its picture's file. Encoded they are uint8 `(n, height, width)` in the size of the batch's
pictures, by the nearest pixel; 255 is a pixel that does not count, and a missing label is nothing else.
"""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any  # a user's labels may hold anything

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_transfer.core import checks, lookup
from keras_transfer.data.targets import classes as class_labels
from keras_transfer.data.targets import columns, pictures
from keras_transfer.storage import planes

__all__ = [
    "IGNORED", "MOVES", "NEEDS_ALL_CLASSES", "blank", "count", "describe", "describe_one", "draw", "encode", "fill",
    "holds", "join", "pack", "pixels_of", "read_files", "reads", "stratify", "tabulate", "unpack",
]  # fmt: skip

MOVES = True
NEEDS_ALL_CLASSES = False

join = columns.join

IGNORED = 255
CHUNK = 64  # masks that are counted at a time

Classes = Sequence[str] | Mapping[str, Any] | None


def reads(labels: Any) -> bool:
    """Returns whether labels are integers `(n, height, width)`, or a list of one such array an image.

    Example:
        >>> reads(np.zeros((2, 4, 4), int)), reads([None, np.zeros((4, 4), int)]), reads([[0, 1], [1, 0]])
        (True, True, False)
    """
    first = pictures.first_array(labels)
    return first is not None and first.ndim == 2 and first.dtype.kind in "iub"


def fill(labels: Any, like: object = None, name: str = "labels") -> tuple[Any, np.ndarray | None]:
    """Returns masks or paths as they are, and which are there (None if all are); what is masked does not count."""
    return pictures.fill(labels, like, name, ignored=IGNORED)


def encode(
    labels: Any,
    *,
    names: Classes = None,
    name: str = "labels",
    sizes: pictures.Pictures | None = None,
    faults: pictures.Faults | None = None,
    keep: bool = True,
) -> tuple[Any, list[str]]:
    """Encodes arrays of class ids, or reads files as `read_files` does.

    Args:
        labels: From `fill`.
        names: Names in the order of their ids; ids are named "0", "1", … without them. For files also as for
            `read_files`.
        name: How errors call the argument.
        sizes: Of the pictures; None for masks that stay as they are.
        faults: What to do with wrong masks; None refuses them.
        keep: Whether masks of files are kept in memory.

    Returns:
        uint8 `(n, height, width)`, a `FileColumn` for files, and the names.

    Raises:
        InputError: If a mask has another size than its picture, or a value that is no class.

    Example:
        >>> encode(np.array([[[0, 1], [255, 1]]]), names=["cat", "dog"])[0].tolist()
        [[[0, 1], [255, 1]]]
    """
    faults = pictures.Faults() if faults is None else faults
    if isinstance(labels, columns.FileColumn):
        return labels, class_labels.check_names(list(names or _numbered(_counts(labels).shape[1])))
    if pictures.are_paths(labels):
        return read_files(labels, sizes=sizes, classes=names, faults=faults, keep=keep, name=name)
    if isinstance(names, Mapping):
        fix = "Give the names in the order of their ids."
        raise checks.error(f"the classes of `{name}` must be a list", given="a dict", fix=fix)
    names = None if names is None else class_labels.check_names(names)
    size = pictures.size_of(labels, sizes, name)
    result = np.full((len(labels), *size), IGNORED, np.uint8)
    limit = IGNORED if names is None else len(names)
    for row, values in enumerate(labels):
        if values is None:
            continue
        values = np.asarray(values)
        if values.ndim == 3 and values.shape[-1] == 1:
            values = values[..., 0]
        reason = _wrong_array(values, limit, None if sizes is None else sizes.of(row), size)
        if reason:
            faults.add(row, reason)
            continue
        result[row] = pictures.nearest(values, size)
    fix = "Class ids count from 0; give 255 to pixels that do not count."
    faults.settle(f"`{name}` must hold a class id for each pixel of the picture", fix)
    if names is None:
        histogram = _histogram(result)
        names = _found_names(histogram, name)
    return result, names


def read_files(
    paths: Sequence[Any],
    *,
    sizes: pictures.Pictures | None,
    classes: Classes = None,
    ignored: Any = IGNORED,
    keep: bool = True,
    faults: pictures.Faults | None = None,
    name: str = "masks",
) -> tuple[columns.FileColumn, list[str]]:
    """Reads mask files: palette indices, grey values or colours.

    Each is read and checked once; afterwards its class ids are in memory, or it is read in every pass.

    Args:
        paths: Of PNG, TIFF, BMP, GIF, WebP or .npy files; None where an image has no mask.
        sizes: Of the pictures; they say how large the masks become.
        classes: Names, whose place is the value in the file; or a dict from the name to the value, or to the colour
            `(red, green, blue)`. By default the values that occur, which must be 0, 1, 2 ….
        ignored: The value or colour of pixels that do not count, or None.
        keep: Whether class ids are kept in memory.
        faults: What to do with wrong files; None refuses them.
        name: How errors call the argument.

    Returns:
        The masks, and the names.

    Raises:
        InputError: If a file cannot be read, has another size than its picture, or a value that is no class.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "a.png"
        >>> Image.fromarray(np.array([[1, 3], [3, 255]], np.uint8)).save(file)
        >>> column, names = read_files([file], sizes=pictures.Pictures((2, 2)), classes={"pet": 1, "edge": 3})
        >>> np.asarray(column).tolist(), names
        ([[[0, 1], [1, 255]]], ['pet', 'edge'])
    """
    faults = pictures.Faults() if faults is None else faults
    if sizes is None:
        raise checks.error(
            f"`{name}` must be arrays, or files of pictures of known size", given="files"
        )
    files = columns.files_of(paths, name)
    sizes.check_length(len(files), name)
    names, reader = _reader(classes, ignored, sizes.size, name)
    column = columns.read_all(
        files,
        reader,
        sizes=lambda row: None if sizes.own is None else sizes.of(row),
        faults=faults,
        keep=keep,
        what="mask files",
    )
    fix = "Say which values mean what: a dict of names to values, or to colours (red, green, blue)."
    faults.settle(
        f"every file of `{name}` must be a mask of its picture's size with known classes", fix
    )
    if names is None:
        counts = _counts(column)
        names = _found_names(counts.sum(axis=0), name)
        column = dataclasses.replace(column, counts=counts[:, : len(names)])
    return column, names


@dataclasses.dataclass(frozen=True)
class MaskReader:
    """Makes class ids of a file.

    Attributes:
        size: Height and width of the masks.
        table: Class id by value in the file, 256 numbers; -1 where a value is no class. None for colours.
        colours: Sorted, each as one number, with their class ids; None for values.
        classes: How many classes there are.
    """

    size: tuple[int, int]
    table: tuple[int, ...] | None
    colours: tuple[tuple[int, int], ...] | None
    classes: int

    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one mask."""
        return self.size

    def blank(self) -> np.ndarray:
        """Returns a mask of pixels that do not count."""
        return np.full(self.size, IGNORED, np.uint8)

    def count(self, target: np.ndarray) -> np.ndarray:
        """Returns how many pixels each class has."""
        return np.bincount(target.ravel(), minlength=256)[: self.classes]

    def read(
        self, content: bytes, size: tuple[int, int] | None = None, *, whole: bool = True
    ) -> np.ndarray:
        """Returns the class ids in a file's content."""
        stored = planes.decode(content, size=size)
        if not whole:
            stored = stored._replace(values=pictures.nearest(stored.values, self.size))
        if self.table is None:
            ids = self._of_colours(stored)
        else:
            ids = self._of_values(stored.values)
        return pictures.nearest(ids, self.size)

    def _of_values(self, values: np.ndarray) -> np.ndarray:
        if values.ndim == 3:
            if (values[..., :3] != values[..., :1]).any():
                raise planes.UnreadableError("has colours, and the classes are values")
            values = values[..., 0]
        if (
            values.dtype.kind == "f"
            and np.isfinite(values).all()
            and (values == np.trunc(values)).all()
        ):
            values = values.astype(np.int64)
        if values.dtype.kind not in "iu":
            raise planes.UnreadableError(f"has values of type {values.dtype}")
        if values.dtype != np.uint8:
            outside = values[(values < 0) | (values > 255)]
            if outside.size:
                raise planes.UnreadableError(f"has the value {outside[0]}, which is no class")
            values = values.astype(np.uint8)
        table = np.array(self.table)
        found = np.flatnonzero(np.bincount(values.ravel(), minlength=256))
        unknown = found[table[found] < 0]
        if len(unknown):
            raise planes.UnreadableError(f"has the value {unknown[0]}, which is no class")
        return table.astype(np.uint8)[values]

    def _of_colours(self, stored: planes.Planes) -> np.ndarray:
        red, green, blue = np.moveaxis(stored.colours().astype(np.int64), -1, 0)
        packed = (red << 16) | (green << 8) | blue
        known = np.array(self.colours)
        place = np.minimum(np.searchsorted(known[:, 0], packed), len(known) - 1)
        is_known = known[place, 0] == packed
        if not is_known.all():
            number = int(packed[~is_known][0])
            colour = (number >> 16, number >> 8 & 255, number & 255)
            raise planes.UnreadableError(f"has the colour {colour}, which is no class")
        return known[place, 1].astype(np.uint8)


def blank(like: Any, count: int) -> Any:
    """Returns the targets of images without a label: pixels that do not count."""
    if isinstance(like, columns.FileColumn):
        return columns.FileColumn.blanks(like, count)
    return np.full((count, *like.shape[1:]), IGNORED, like.dtype)


def holds(targets: Any, names: Sequence[str] | None) -> bool:
    """Whether an encoded target is masks."""
    return len(targets.shape) == 3 and targets.dtype.kind in "iu"


def describe(targets: Any, names: Sequence[str] | None) -> str:
    """Names the classes."""
    size = f"{targets.shape[1]}x{targets.shape[2]} pixels"
    return f"masks of {size}, of {lookup.some(names)}" if names else f"masks of {size}"


def describe_one(target: np.ndarray, names: Sequence[str] | None) -> str:
    """Returns the shares of the largest classes."""
    counts = np.bincount(np.asarray(target).ravel(), minlength=IGNORED + 1)[:IGNORED]
    total = max(int(counts.sum()), 1)
    largest = [number for number in np.argsort(-counts, kind="stable")[:3] if counts[number]]
    texts = []
    for number in largest:
        name = str(number) if names is None else names[number]
        texts.append(f"{name} {counts[number] / total:.0%}")
    return ", ".join(texts) or "nothing that counts"


def pixels_of(targets: Any, classes: int) -> np.ndarray:
    """Returns how many pixels of each class each mask has, `(n, classes)`.

    Example:
        >>> pixels_of(np.array([[[0, 1], [1, 255]]], np.uint8), 2).tolist()
        [[1, 2]]
    """
    if isinstance(targets, columns.FileColumn):
        return _counts(targets)[targets.rows]
    counts = np.zeros((len(targets), classes), np.int64)
    for row, target in enumerate(targets):
        ids = np.asarray(target).ravel()
        counts[row] = np.bincount(ids[ids < classes], minlength=classes)
    return counts


def count(targets: Any, names: Sequence[str]) -> np.ndarray:
    """Returns how many images have a pixel of each class."""
    return (pixels_of(targets, len(names)) > 0).sum(axis=0)


def tabulate(targets: Sequence[Any], names: Sequence[str] | None) -> list[list[str]]:
    """Returns the share of the pixels of each class, by split; pixels that do not count come last."""
    if names is None:
        most = 1 + max(int(np.asarray(column).max(initial=0)) for column in targets)
        names = _numbered(min(most, IGNORED))
    shares = []
    for column in targets:
        totals = pixels_of(column, len(names)).sum(axis=0)
        every = max(int(np.prod(column.shape)), 1)
        shares.append([*(totals / every), 1 - totals.sum() / every])
    rows = []
    for name, *values in zip([*names, "(ignored)"], *shares, strict=True):
        rows.append([name, *(f"{value:.1%}" for value in values)])
    return rows if any(column[-1] > 0 for column in shares) else rows[:-1]


def stratify(targets: Any) -> np.ndarray:
    """Returns a column for each class: 0 where an image has a pixel of it, else -1, which is not shared out."""
    has = pixels_of(targets, IGNORED) > 0
    classes = int(np.flatnonzero(has.any(axis=0)).max(initial=-1)) + 1
    return np.where(has[:, :classes], 0, -1)


def draw(place: Any, target: np.ndarray, names: Sequence[str] | None) -> None:
    """Draws the classes of an image over it in colours."""
    ids = np.asarray(target)
    colours = _colours()[ids].astype(np.float32) / 255
    opacity = np.where(ids == IGNORED, 0.0, 0.5)[..., None]
    place.imshow(np.concatenate([colours, opacity], axis=-1))


def pack(target: Any) -> bytes:
    """Returns the mask of one image as a PNG file, for a record; `unpack` makes it a mask again.

    Example:
        >>> mask = np.array([[0, 255]], np.uint8)
        >>> unpack(tf.constant(pack(mask)), (1, 2), tf.uint8).numpy().tolist()
        [[0, 255]]
    """
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(target, np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def unpack(packed: tf.Tensor, shape: Sequence[int], dtype: tf.DType) -> tf.Tensor:
    """Returns the mask of one image from a record."""
    return tf.cast(tf.ensure_shape(tf.io.decode_png(packed, channels=1)[..., 0], shape), dtype)


def _reader(
    classes: Classes, ignored: Any, size: tuple[int, int], name: str
) -> tuple[list[str] | None, MaskReader]:
    """Returns the names, None where values that occur decide, and what reads the files."""
    if classes is None:
        table = list(range(256))
        if ignored is not None:
            table[_value(ignored, "ignored")] = IGNORED
        return None, MaskReader(size, tuple(table), None, IGNORED)

    values: list[Any] = list(range(len(classes)))
    if isinstance(classes, Mapping):
        values = list(classes.values())
    names = class_labels.check_names(list(classes))
    if len(names) > IGNORED:
        raise checks.error(f"`{name}` must have at most {IGNORED} classes", given=len(names))
    if all(isinstance(value, list | tuple) for value in values):
        known = {_colour(value, "classes"): number for number, value in enumerate(values)}
        if len(known) < len(names):
            given = repr(dict(classes))  # type: ignore[arg-type]  # colours are by name
            raise checks.error("the colours of `classes` must differ", given=given)
        if isinstance(ignored, list | tuple):
            known.setdefault(_colour(ignored, "ignored"), IGNORED)
        return names, MaskReader(size, None, tuple(sorted(known.items())), len(names))
    table = [-1] * 256
    for number, value in enumerate(values):
        value = _value(value, "classes")
        if table[value] >= 0:
            raise checks.error("the values of `classes` must differ", given=f"{value} twice")
        table[value] = number
    if ignored is not None:
        ignored = _value(ignored, "ignored")
        table[ignored] = IGNORED if table[ignored] < 0 else table[ignored]
    return names, MaskReader(size, tuple(table), None, len(names))


def _value(value: Any, name: str) -> int:
    return checks.integer(value, name=name, minimum=0, below=256)


def _colour(value: Sequence[int], name: str) -> int:
    if len(value) != 3:
        raise checks.error(f"a colour of `{name}` must be (red, green, blue)", given=repr(value))
    red, green, blue = (_value(part, name) for part in value)
    return red << 16 | green << 8 | blue


def _wrong_array(
    values: np.ndarray, limit: int, own: tuple[int, int] | None, size: tuple[int, int]
) -> str:
    """Says what is wrong with the mask of one image, or nothing."""
    if values.ndim != 2 or values.dtype.kind not in "iub":
        return f"{values.dtype} of shape {values.shape}"
    if values.shape != (own or size):
        height, width = own or size
        return (
            f"{values.shape[1]} x {values.shape[0]} pixels, and its picture has {width} x {height}"
        )
    is_wrong = (values < 0) | ((values >= limit) & (values != IGNORED))
    if is_wrong.any():
        down, across = np.argwhere(is_wrong)[0]
        return f"{values[down, across]} at row {down}, column {across} is no class"
    return ""


def _histogram(targets: np.ndarray) -> np.ndarray:
    """Returns how often each value occurs."""
    result = np.zeros(256, np.int64)
    for start in range(0, len(targets), CHUNK):
        result += np.bincount(targets[start : start + CHUNK].ravel(), minlength=256)
    return result


def _found_names(histogram: np.ndarray, name: str) -> list[str]:
    """Returns the ids that occur as names, or raises an error where values look like no ids."""
    found = np.flatnonzero(histogram[:IGNORED])
    fix = 'Say which values mean what: {"background": 0, "object": 255}, for example.'
    if len(found) < 2:
        shown = ", ".join(map(str, np.flatnonzero(histogram))) or "255"
        raise checks.error(
            f"`{name}` must hold at least two classes besides 255", given=f"only {shown}", fix=fix
        )
    if found[-1] >= len(found):
        given = f"values {', '.join(map(str, found[:8]))}"
        raise checks.error(
            f"the classes in `{name}` must count from 0, without a gap, or have names",
            given=given,
            fix=fix,
        )
    return _numbered(len(found))


def _counts(column: columns.FileColumn) -> np.ndarray:
    if column.counts is None:
        raise checks.error("the files must be masks", given="images")
    return column.counts


def _numbered(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def _colours() -> np.ndarray:
    """Returns 256 colours that differ, as the PASCAL VOC data set has them."""
    colours = np.zeros((256, 3), np.uint8)
    for number in range(256):
        rest = number
        for bit in range(7, -1, -1):
            for channel in range(3):
                colours[number, channel] |= (rest >> channel & 1) << bit
            rest >>= 3
    return colours
