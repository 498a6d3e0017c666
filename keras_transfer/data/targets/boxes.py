"""Boxes around objects, each with a class: any number of them an image, none included.

An image's label is a dict `{"boxes": [[x1, y1, x2, y2], ...], "labels": [name or id, ...]}`, which may also have
`"ignored": [bool, ...]` for crowds and difficult objects; None is a missing label. Edges are in pixels of the picture,
counted from its upper left corner: a box over the whole of it is `[0, 0, width, height]`.

Encoded they are float32 `(n, most boxes, 6)`: `x1, y1, x2, y2, class id, ignored` in pixels of the picture as batches
have it. Rows that are no box are `0, 0, 0, 0, -1, 0`.
"""

from collections.abc import Mapping, Sequence
from typing import Any  # a user's labels may hold anything

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks, lookup
from keras_transfer.data.targets import classes, missing, pictures

__all__ = [
    "MOVES", "NEEDS_ALL_CLASSES", "blank", "count", "describe", "describe_one", "draw", "encode", "fill", "holds",
    "join", "other_format", "pack", "padded", "reads", "scaled", "stratify", "tabulate", "unpack",
]  # fmt: skip

MOVES = True
NEEDS_ALL_CLASSES = False

COLUMNS = 6
KEYS = ("boxes", "labels", "ignored")
EMPTY = (0.0, 0.0, 0.0, 0.0, -1.0, 0.0)  # a row that is no box
# Pixels by which a box may leave its picture: annotations are rounded; they are cut off.
BEYOND = 1.0
NEAR = 0.06  # share of the height: names of boxes that start above stand inside them


def reads(labels: Any) -> bool:
    """Returns whether labels are dicts with boxes, one an image; some may be blank.

    Example:
        >>> reads([{"boxes": [], "labels": []}, None]), reads(["red", None])
        (True, False)
    """
    if isinstance(labels, np.ndarray) and (labels.dtype != object or labels.ndim != 1):
        return False
    if not isinstance(labels, list | tuple | np.ndarray):
        return False
    rows = [row for row in labels if not missing.is_blank(row)]
    return bool(rows) and all(isinstance(row, Mapping) and "boxes" in row for row in rows)


def fill(
    labels: Sequence, like: object = None, name: str = "labels"
) -> tuple[list, np.ndarray | None]:
    """Replaces blank labels by "no boxes", and returns which labels are there (None if all are).

    Example:
        >>> fill([None, {"boxes": [[0, 0, 1, 1]], "labels": ["cat"]}])[1].tolist()
        [False, True]
    """
    present = np.array([not missing.is_blank(row) for row in labels], bool)
    if not present.any() and like is None:
        raise missing.all_blank(name, len(present))
    none: dict = {"boxes": [], "labels": []}
    rows = [row if is_there else none for row, is_there in zip(labels, present, strict=True)]
    return rows, None if present.all() else present


def encode(
    labels: Sequence[Mapping],
    *,
    names: Sequence[str] | None = None,
    name: str = "labels",
    sizes: pictures.Pictures | None = None,
    faults: pictures.Faults | None = None,
) -> tuple[np.ndarray, list[str]]:
    """Encodes boxes, in pixels of the pictures as batches have them.

    A box that reaches at most one pixel beyond its picture is cut off at the edge. One without area is refused or,
    where faults are not, left out.

    Args:
        labels: A dict an image.
        names: Names in the order of their ids; names that occur are sorted without them, ids named "0", "1", ….
        name: How errors call the argument.
        sizes: Of the pictures; None for boxes that stay as they are, in pictures of any size.
        faults: What to do with wrong boxes; None refuses them.

    Returns:
        float32 `(n, most boxes, 6)`, and the names.

    Raises:
        InputError: If a label has another form, or a box cannot be.

    Example:
        >>> encode([{"boxes": [[2, 0, 4, 8]], "labels": ["cat"]}], sizes=pictures.Pictures((4, 4), np.array([[8, 8]])))
        (array([[[1., 0., 2., 4., 0., 0.]]], dtype=float32), ['cat'])
    """
    faults = pictures.Faults() if faults is None else faults
    if sizes is not None:
        sizes.check_length(len(labels), name)
    rows = [_row(label, place, faults, name) for place, label in enumerate(labels)]
    names = _names(rows, names, name)
    ids = {label: index for index, label in enumerate(names)}

    hint = ""
    if sizes is not None:
        _check_pixels(rows, sizes, name)
        places = np.repeat(np.arange(len(rows)), [len(row[0]) for row in rows])
        limits = np.array([sizes.of(int(place))[::-1] for place in places])
        hint = other_format(np.concatenate([row[0] for row in rows]), limits)
    encoded, empty = [], []
    for place, (corners, labelled, ignored) in enumerate(rows):
        size = None if sizes is None else sizes.of(place)
        reason = _wrong_box(corners, size) or _wrong_label(labelled, ids, names)
        if reason:
            faults.add(place, reason)
            encoded.append(np.empty((0, COLUMNS)))
            continue
        # As precise as they are kept: a box of 1e-9 pixels may be empty then.
        corners = _fitted(corners, size, sizes).astype(np.float32)
        has_area = (corners[:, 2:] > corners[:, :2]).all(axis=1)
        empty += [(place, int(number)) for number in np.flatnonzero(~has_area)]
        class_ids = np.array([_id(label, ids) for label in labelled], np.float64)
        columns = np.column_stack([corners, class_ids, ignored])
        encoded.append(columns[has_area])
    _settle_empty(empty, faults, name)
    fix = hint or "Boxes are [x1, y1, x2, y2] in pixels of the picture's file."
    faults.settle(f"`{name}` must hold boxes within their pictures", fix)
    return padded(encoded), names


def padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Puts the boxes of all images into one array; each gets as many rows as the longest has, one at least.

    Example:
        >>> padded([np.zeros((0, 6)), np.ones((1, 6))])[:, 0, 4].tolist()
        [-1.0, 1.0]
    """
    most = max([1, *map(len, rows)])
    result = np.full((len(rows), most, COLUMNS), EMPTY, np.float32)
    for place, boxes in enumerate(rows):
        result[place, : len(boxes)] = boxes
    return result


def scaled(boxes: np.ndarray, factors: Sequence[float]) -> np.ndarray:
    """Returns encoded boxes for pictures that were resized.

    Args:
        boxes: `(..., 6)`, or corners only, `(..., 4)`.
        factors: New height and width, as shares of the old ones.

    Example:
        >>> scaled(np.array([[2.0, 4.0, 6.0, 8.0]]), (0.5, 2.0)).tolist()
        [[4.0, 2.0, 12.0, 4.0]]
    """
    down, across = factors
    result = np.array(boxes)
    result[..., :4] *= np.array([across, down, across, down], result.dtype)
    return result


def blank(like: Any, count: int) -> np.ndarray:
    """Returns the targets of images without a label: no boxes."""
    return np.full((count, like.shape[1], COLUMNS), EMPTY, np.float32)


def join(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the boxes of several arrays, one after the other, padded to the longest."""
    most = max(column.shape[1] for column in columns)
    parts = []
    for column in columns:
        more = np.full((len(column), most - column.shape[1], COLUMNS), EMPTY, np.float32)
        parts.append(np.concatenate([column, more], axis=1))
    return np.concatenate(parts)


def holds(targets: Any, names: Sequence[str] | None) -> bool:
    """Whether an encoded target is boxes."""
    return len(targets.shape) == 3 and targets.dtype.kind == "f" and targets.shape[-1] == COLUMNS


def describe(targets: Any, names: Sequence[str] | None) -> str:
    """Names the classes."""
    return f"boxes of {lookup.some(names)}" if names else "boxes"


def describe_one(target: np.ndarray, names: Sequence[str] | None) -> str:
    """Returns how many objects of each class an image has."""
    ids, counts = np.unique(target[target[:, 4] >= 0, 4].astype(int), return_counts=True)
    texts = [f"{found} {_name(label, names)}" for label, found in zip(ids, counts, strict=True)]
    return ", ".join(texts) or "no objects"


def count(targets: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Returns how many images have an object of each class."""
    ids = targets[:, :, 4]
    return np.array([(ids == number).any(axis=1).sum() for number in range(len(names))])


def tabulate(targets: Sequence[np.ndarray], names: Sequence[str] | None) -> list[list[str]]:
    """Returns the number of objects of each class by split, and of images without any."""
    if names is None:
        most = max(int(column[..., 4].max(initial=-1)) for column in targets)
        names = [str(number) for number in range(most + 1)]
    rows = []
    for number, name in enumerate(names):
        rows.append([name, *(str(int((column[..., 4] == number).sum())) for column in targets)])
    ignored = [int(column[..., 5].sum()) for column in targets]
    if any(ignored):
        rows.append(["(ignored)", *map(str, ignored)])
    without = [int((column[..., 4] < 0).all(axis=1).sum()) for column in targets]
    rows.append(["(images without)", *map(str, without)])
    return rows


def stratify(targets: np.ndarray) -> np.ndarray:
    """Returns a column for each class: 0 where an image has such an object, else -1, which is not shared out."""
    ids = targets[:, :, 4]
    columns = [(ids == number).any(axis=1) for number in range(int(ids.max(initial=-1)) + 1)]
    has = np.reshape(columns, (-1, len(targets))).T
    return np.where(has, 0, -1)


def draw(place: Any, target: np.ndarray, names: Sequence[str] | None) -> None:
    """Draws the boxes of an image with their names; ignored ones are dashed."""
    from matplotlib import patches  # takes a second

    for x1, y1, x2, y2, label, ignored in target[target[:, 4] >= 0]:
        colour = f"C{int(label) % 10}"
        style = "--" if ignored else "-"
        # A pixel's middle is at whole numbers for Matplotlib, its edge for boxes.
        corner, width, height = (x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1
        is_at_the_top = y1 < NEAR * place.get_ylim()[0]
        place.add_patch(
            patches.Rectangle(corner, width, height, fill=False, color=colour, linestyle=style)
        )
        place.text(
            *corner,
            _name(int(label), names),
            fontsize=6,
            color="white",
            clip_on=True,
            verticalalignment="top" if is_at_the_top else "bottom",
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8},
        )


def pack(target: np.ndarray) -> bytes:
    """Returns the boxes of one image as bytes, for a record; `unpack` makes them boxes again.

    Example:
        >>> boxes = padded([np.ones((2, 6))])[0]
        >>> np.array_equal(unpack(tf.constant(pack(boxes)), (3, 6), tf.float32)[:2], boxes)
        True
    """
    return np.ascontiguousarray(target[target[:, 4] >= 0], "<f4").tobytes()


def unpack(packed: tf.Tensor, shape: Sequence[int], dtype: tf.DType) -> tf.Tensor:
    """Returns the boxes of one image from a record, padded to `shape`, `(most boxes, 6)`."""
    boxes = tf.reshape(tf.io.decode_raw(packed, tf.float32), (-1, COLUMNS))
    padding = tf.tile(tf.constant([EMPTY]), (shape[0] - tf.shape(boxes)[0], 1))
    return tf.ensure_shape(tf.concat([boxes, padding], axis=0), shape)


Row = tuple[np.ndarray, list, np.ndarray]  # corners (k, 4), labels, ignored (k,)


def _row(label: Mapping, place: int, faults: pictures.Faults, name: str) -> Row:
    """Returns the parts of an image's label; a wrong form is an error, since all labels are made alike."""
    where = f"{name} of {faults.place(place)}"
    if not isinstance(label, Mapping) or not {"boxes", "labels"} <= set(label) <= set(KEYS):
        expected = f"`{where}` must be None or a dict with 'boxes', 'labels' and maybe 'ignored'"
        is_dict = isinstance(label, Mapping)
        raise checks.error(expected, given=sorted(label) if is_dict else type(label).__name__)
    try:
        corners = np.asarray(label["boxes"], np.float64)
    except (TypeError, ValueError) as problem:
        corners = np.empty((0, 0, 0))
        given = checks.first_line(problem)
    else:
        given = f"shape {corners.shape}"
    if corners.size == 0 and corners.ndim < 3:
        corners = np.empty((0, 4))
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise checks.error(f"the boxes in `{where}` must be rows of 4 numbers", given=given)

    labels = list(label["labels"])
    ignored = np.asarray(label.get("ignored", np.zeros(len(corners))), np.float64).reshape(-1)
    if not len(corners) == len(labels) == len(ignored) or not np.isin(ignored, (0, 1)).all():
        lengths = f"{len(corners)} boxes, {len(labels)} labels, {len(ignored)} of 'ignored'"
        raise checks.error(f"`{where}` must have one label for each box", given=lengths)
    return corners, labels, ignored


def _names(rows: Sequence[Row], names: Sequence[str] | None, name: str) -> list[str]:
    """Returns the names of the classes: those given, or those that occur."""
    if names is not None:
        return classes.check_names(names, least=1)
    labels = [label for _, row, _ in rows for label in row]
    if not labels:
        fix = "Give `class_names`."
        raise checks.error(f"`{name}` must hold a box", given="images without objects", fix=fix)
    if all(isinstance(label, str) and label for label in labels):
        return sorted({str(label) for label in labels})
    if not all(_is_id(label) for label in labels):
        shown = next(label for label in labels if not isinstance(label, str) or not label)
        fix = "Give names, or ids from 0."
        raise checks.error(
            f"the labels in `{name}` must be of one kind", given=repr(shown), fix=fix
        )
    most = int(max(labels))
    unused = sorted(set(range(min(most, 10**6) + 1)) - {int(label) for label in labels})
    if unused:
        given = f"ids up to {most} without {unused[0]}"
        fix = "Give `class_names`."
        raise checks.error(f"`{name}` must use every class id from 0", given=given, fix=fix)
    return [str(number) for number in range(most + 1)]


def _is_id(label: object) -> bool:
    is_whole = isinstance(label, int | np.integer) and not isinstance(label, bool)
    return is_whole and label >= 0  # type: ignore[operator]  # a number by now


def _id(label: object, ids: Mapping[str, int]) -> int:
    return ids[label] if isinstance(label, str) else int(label)  # type: ignore[call-overload]  # checked before


def _wrong_label(labels: list, ids: Mapping[str, int], names: Sequence[str]) -> str:
    """Says which label is no class, or nothing."""
    for number, label in enumerate(labels):
        if isinstance(label, str):
            is_known = label in ids
        else:
            is_known = _is_id(label) and label < len(names)
        if not is_known:
            return f"box {number} has the label {label!r}, which is no class ({lookup.hint(str(label), names)[:-1]})"
    return ""


def _wrong_box(corners: np.ndarray, size: tuple[int, int] | None) -> str:
    """Says which box cannot be, and why, or nothing."""
    is_finite = np.isfinite(corners).all(axis=1)
    with np.errstate(invalid="ignore"):
        is_ordered = (corners[:, 2:] >= corners[:, :2]).all(axis=1)
    reasons = [(~is_finite, "is not finite"), (~is_ordered, "is reversed")]
    if size is not None:
        height, width = size
        limits = np.array([width, height, width, height]) + BEYOND
        is_inside = ((corners >= -BEYOND) & (corners <= limits)).all(axis=1)
        reasons.append((~is_inside, f"lies outside its picture of {width} x {height} pixels"))
    for is_wrong, text in reasons:
        if is_wrong.any():
            number = int(is_wrong.argmax())
            return f"box {number} {_shown(corners[number])} {text}"
    return ""


def _shown(corners: np.ndarray) -> str:
    return f"[{', '.join(f'{number:g}' for number in corners)}]"


def _fitted(
    corners: np.ndarray, size: tuple[int, int] | None, sizes: pictures.Pictures | None
) -> np.ndarray:
    """Returns corners cut off at the edges and scaled to the picture of the batch."""
    if size is None or sizes is None:
        return corners
    height, width = size
    cut = np.clip(corners, 0, [width, height, width, height])
    return scaled(cut, (sizes.size[0] / height, sizes.size[1] / width))


def _check_pixels(rows: Sequence[Row], sizes: pictures.Pictures, name: str) -> None:
    """Raises an error where all boxes lie within one pixel of large pictures: these are shares."""
    corners = np.concatenate([row[0] for row in rows])
    is_large = min(sizes.size if sizes.own is None else sizes.own.min(axis=0)) > 2
    if not len(corners) or not is_large or not ((corners >= 0) & (corners <= 1)).all():
        return
    fix = "They look like shares of the picture: multiply x by its width and y by its height."
    raise checks.error(f"`{name}` must hold boxes in pixels", given=_shown(corners[0]), fix=fix)


def other_format(corners: np.ndarray, limits: Any) -> str:
    """Says by an example which other format would fit all pictures, where xyxy in pixels does not; else "".

    Args:
        corners: Of all boxes, (n, 4).
        limits: Width and height of their pictures, (n, 2) or (2,).

    Example:
        >>> other_format(np.array([[30.0, 20.0, 8.0, 8.0]]), (40, 40))
        '[30, 20, 8, 8] looks like x, y, width, height: give [x, y, x + width, y + height].'
    """
    if not len(corners) or not np.isfinite(corners).all():
        return ""

    def fits(first: np.ndarray, last: np.ndarray) -> bool:
        is_inside = (first >= -BEYOND) & (last <= np.asarray(limits) + BEYOND)
        return bool((is_inside & (last >= first)).all())

    first, last = corners[:, :2], corners[:, 2:]
    shown = _shown(corners[0])
    if fits(first, last):
        return ""
    if fits(first, first + last):
        return f"{shown} looks like x, y, width, height: give [x, y, x + width, y + height]."
    if fits(first - last / 2, first + last / 2):
        return f"{shown} looks like the middle, width, height: give [x - width / 2, y - height / 2, ...]."
    if fits(first[:, ::-1], last[:, ::-1]):
        return f"{shown} looks like y1, x1, y2, x2: give [x1, y1, x2, y2]."
    return ""


def _settle_empty(empty: list[tuple[int, int]], faults: pictures.Faults, name: str) -> None:
    """Refuses boxes without area, or notes that they are left out."""
    if not empty:
        return
    texts = [f"{faults.place(place)} (box {number})" for place, number in empty]
    shown = ", ".join(texts[: pictures.SHOWN])
    if len(texts) > pictures.SHOWN:
        shown += f" and {len(texts) - pictures.SHOWN} more"
    if faults.is_refused:
        fix = 'Remove them, or leave them out with `corrupt="skip"`.'
        raise checks.error(
            f"every box in `{name}` must have an area", given=f"none of {shown}", fix=fix
        )
    boxes = "1 box" if len(texts) == 1 else f"{len(texts)} boxes"
    faults.notes.append(checks.note(f"left out {boxes} without area: {shown}"))


def _name(label: int, names: Sequence[str] | None) -> str:
    return str(label) if names is None else names[label]
