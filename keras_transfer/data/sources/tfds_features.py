"""What the features of a set of tensorflow-datasets become: a reader for each kind of target.

A reader says which features it needs (`wanted`), makes one tensor of them for each image with TensorFlow operations
(`load`), and turns the tensors of all images into labels as `encoding.read` takes them (`labels`), with class names
where the features have them (`names`). One more kind is a subclass of `Reader` and a row of `READERS`.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any  # features have no types

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks, lookup
from keras_transfer.storage import images

__all__ = [
    "READERS", "Picture", "Reader", "decoder_of", "feature_at", "find_picture", "find_targets", "holds_files",
    "join_path", "parts_of",
]  # fmt: skip

IGNORED = (
    "is_crowd",
    "iscrowd",
    "is_difficult",
    "difficult",
    "ignored",
)  # objects that do not count
ORDERS = {  # where x1, y1, x2, y2 stand in each format of boxes
    "REL_YXYX": (1, 0, 3, 2),
    "REL_XYXY": (0, 1, 2, 3),
    "YXYX": (1, 0, 3, 2),
    "XYXY": (0, 1, 2, 3),
}
OBJECT = "object"  # the class of boxes without labels


@dataclass(frozen=True)
class Picture:
    """One image while it is read: its own size, and the size that it gets; int32 tensors `(height, width)`."""

    own: tf.Tensor
    size: tuple[int, int]


class Reader:
    """What the readers of all kinds share.

    Args:
        path: Of the feature, such as `("objects",)`.
        feature: The feature.

    Attributes:
        kind: Of target, as `encoding.read` calls it.
        moves: Whether targets have places in the picture.
        planes: Bytes that a target takes for each pixel.
    """

    kind = ""
    moves = False
    planes = 0
    # What fills up the tensors of one batch where they have different lengths; None where they have none.
    padding: Any = None

    def __init__(self, path: Sequence[str], feature: Any) -> None:
        self.path, self.feature = tuple(path), feature

    @property
    def wanted(self) -> Any:
        """What to decode of the feature: True, or a dict of its parts."""
        return True

    @property
    def names(self) -> list[str] | None:
        """Names in the order of their ids, if the feature has them."""
        return _names_of(self.feature)

    def load(self, value: Any, picture: Picture) -> tf.Tensor:
        """Returns the target of one image as a tensor."""
        return value

    def labels(self, values: np.ndarray) -> Any:
        """Returns the labels of all images."""
        return values

    def refuse(self, expected: str) -> checks.InputError:
        """Builds the error for a feature that cannot be of the kind."""
        given = f"{join_path(self.path)!r}, which is a {type(self.feature).__name__}"
        return checks.error(f"a target of kind {self.kind!r} must be {expected}", given=given)


class Category(Reader):
    """A class label, a text or a whole number; -1 is a missing label."""

    kind = "category"

    def __init__(self, path: Sequence[str], feature: Any) -> None:
        super().__init__(path, feature)
        dtype = _dtype(feature)
        if _shape(feature) != () or dtype is None or dtype.kind not in "iuOSUb":
            raise self.refuse("a ClassLabel, a text or a whole number")

    def labels(self, values: np.ndarray) -> Any:
        """Returns ids, those below 0 masked, or texts."""
        if values.dtype.kind in "OS":
            return [value.decode() for value in values]
        ids = values.astype(np.int64)
        return np.ma.masked_less(ids, 0) if (ids < 0).any() else ids


class Number(Reader):
    """A number, or a row of numbers."""

    kind = "number"

    def __init__(self, path: Sequence[str], feature: Any) -> None:
        super().__init__(path, feature)
        shape, dtype = _shape(feature), _dtype(feature)
        is_row = shape is not None and len(shape) < 2 and None not in shape
        if not is_row or dtype is None or dtype.kind not in "iuf":
            raise self.refuse("a number, or a row of a known number of them")

    def labels(self, values: np.ndarray) -> Any:
        """Returns floats, which are numbers."""
        return values.astype(np.float32)


class Tags(Reader):
    """A sequence of class labels, or several answers yes or no by name."""

    kind = "tags"
    padding = -1

    def __init__(self, path: Sequence[str], feature: Any) -> None:
        super().__init__(path, feature)
        parts = parts_of(feature)
        self._parts = sorted(parts)  # a set read from disk has its parts in any order
        is_yes_or_no = {_dtype(part) for part in parts.values()} == {np.dtype(bool)}
        is_sequence = _is_a(_inner(feature), "ClassLabel") and _shape(feature) == (None,)
        if not is_yes_or_no and not is_sequence:
            raise self.refuse("a sequence of ClassLabels, or several answers yes or no")

    @property
    def names(self) -> list[str] | None:
        """The names of the tags."""
        return self._parts or _names_of(_inner(self.feature))

    def load(self, value: Any, picture: Picture) -> tf.Tensor:
        """Returns the ids of the tags that an image has."""
        if not self._parts:
            return tf.cast(value, tf.int64)
        return tf.where(tf.stack([value[part] for part in self._parts]))[:, 0]

    def labels(self, values: np.ndarray) -> Any:
        """Returns a list of names for each image."""
        names = self.names or []
        labels = []
        for row in values:
            labels.append([names[number] for number in row if number >= 0])
        return labels


class Boxes(Reader):
    """A sequence of objects with a box each, and with a class label if they have one; or a single box."""

    kind = "boxes"
    moves = True
    padding = -1.0

    def __init__(self, path: Sequence[str], feature: Any) -> None:
        super().__init__(path, feature)
        parts = parts_of(feature)
        boxes = [part for part, own in parts.items() if _is_a(own, "BBoxFeature")]
        if not boxes and not _is_a(_inner(feature), "BBoxFeature"):
            raise self.refuse("objects with a BBoxFeature")
        self._box = boxes[0] if boxes else None
        labels = [part for part, own in parts.items() if _is_a(own, "ClassLabel")]
        self._label = "label" if "label" in labels else next(iter(labels), None)
        self._ignored = next((part for part in IGNORED if part in parts), None)
        self._names = _names_of(parts[self._label]) if self._label else None

        box = _inner(feature) if self._box is None else parts[self._box]
        found = getattr(box, "bbox_format", None)
        form = getattr(found, "name", "REL_YXYX")
        if form not in ORDERS:
            raise self.refuse(f"boxes in one of the forms {lookup.some(list(ORDERS))}")
        self._order, self._is_relative = ORDERS[form], form.startswith("REL")

    @property
    def wanted(self) -> Any:
        """The parts of objects that are read."""
        if self._box is None:
            return True
        parts = (self._box, self._label, self._ignored)
        return {part: True for part in parts if part is not None}

    @property
    def names(self) -> list[str] | None:
        """The names of the objects' classes."""
        return self._names or [OBJECT]

    def load(self, value: Any, picture: Picture) -> tf.Tensor:
        """Returns rows of `x1, y1, x2, y2, class id, ignored`, in pixels of the picture as it was resized."""
        boxes = tf.reshape(value if self._box is None else value[self._box], (-1, 4))
        height, width = picture.size
        corners = tf.gather(boxes, self._order, axis=1)
        if self._is_relative:
            corners *= tf.constant([width, height, width, height], tf.float32)
        else:
            factors = tf.constant([height, width], tf.float32) / tf.cast(picture.own, tf.float32)
            corners *= tf.gather(factors, [1, 0, 1, 0])
        count = tf.shape(boxes)[0]
        ids = value[self._label] if self._label else tf.zeros(count, tf.int64)
        ignored = value[self._ignored] if self._ignored else tf.zeros(count, tf.bool)
        rest = tf.stack([tf.cast(ids, tf.float32), tf.cast(ignored, tf.float32)], axis=1)
        return tf.concat([corners, rest], axis=1)

    def labels(self, values: np.ndarray) -> Any:
        """Returns a dict for each image."""
        rows = []
        for boxes in values:
            there = boxes[boxes[:, 4] >= 0]
            rows.append(
                {
                    "boxes": there[:, :4].tolist(),
                    "labels": there[:, 4].astype(int).tolist(),
                    "ignored": (there[:, 5] > 0).tolist(),
                }
            )
        return rows


class Mask(Reader):
    """An image of class ids, resized by the nearest pixel."""

    kind = "mask"
    moves = True
    planes = 1

    def __init__(self, path: Sequence[str], feature: Any) -> None:
        super().__init__(path, feature)
        _check_plane(self, "iu", "an image of class ids, of one channel")
        if len(_shape(feature)) == 3 and _shape(feature)[-1] != 1:
            raise self.refuse("an image of class ids, of one channel")

    def load(self, value: Any, picture: Picture) -> tf.Tensor:
        """Returns class ids `(height, width)`."""
        return tf.cast(_nearest(value, picture.size)[..., 0], tf.int32)


class Image(Reader):
    """A picture, resized as pictures are; or other values such as depths, resized by the nearest pixel."""

    kind = "image"
    moves = True
    planes = 4

    def __init__(self, path: Sequence[str], feature: Any) -> None:
        super().__init__(path, feature)
        _check_plane(self, "iuf", "an image, or numbers for each of its pixels")

    def load(self, value: Any, picture: Picture) -> tf.Tensor:
        """Returns values `(height, width, channels)`: uint8 for pictures, else float32."""
        if value.dtype == tf.uint8:
            return images.resize(value, picture.size)
        return tf.cast(_nearest(value, picture.size), tf.float32)

    def labels(self, values: np.ndarray) -> Any:
        """Returns the images."""
        return values


# kind: how it is read.
READERS: dict[str, type[Reader]] = {
    reader.kind: reader for reader in (Category, Boxes, Tags, Mask, Image, Number)
}


def parts_of(feature: Any) -> dict[str, Any]:
    """Returns the features by name that a set, a dict of features or a sequence of them holds; none for others."""
    inside = _inner(feature)
    return dict(inside.items()) if hasattr(inside, "items") else {}


def feature_at(features: Any, path: str, *, name: str) -> tuple[tuple[str, ...], Any]:
    """Finds a feature by its path, such as "label" or "objects/bbox".

    Args:
        features: Those of the set.
        path: Names with slashes between them; a name itself may have some, such as "image/filename".
        name: How errors call the argument.

    Returns:
        The names that lead to the feature, and the feature.
    """
    if not isinstance(path, str) or not path:
        raise checks.error(f"`{name}` must name a feature", given=repr(path))
    found = _find(features, path)
    if found is None:
        fix = f"The features are {lookup.some(list(parts_of(features)), most=12)}."
        raise checks.error(f"`{name}` must name a feature of the set", given=repr(path), fix=fix)
    return found


def find_picture(features: Mapping[str, Any], supervised: Any) -> str:
    """Returns the name of the feature that holds the pictures: the one the set is learned from, or the only one.

    Args:
        features: Those of the set.
        supervised: What the set says is learned from what, or None.
    """
    if isinstance(supervised, tuple) and isinstance(supervised[0], str):
        return supervised[0]
    pictures = [key for key in features if _is_picture(features[key])]
    if "image" in pictures or len(pictures) == 1:
        return "image" if "image" in pictures else pictures[0]
    given = f"{lookup.some(pictures)} in a set" if pictures else "a set"
    fix = f"Give image=, one of its features: {lookup.some(list(features), most=12)}."
    raise checks.error("`image` must say which feature is the picture", given=given, fix=fix)


def find_targets(features: Mapping[str, Any], supervised: Any, picture: str) -> tuple[str, str]:
    """Returns the feature that is learned by default, and its kind.

    Args:
        features: Those of the set.
        supervised: What the set says is learned from what, or None.
        picture: The feature of the pictures.
    """
    is_pair = isinstance(supervised, tuple) and len(supervised) == 2
    names, kinds = [key for key in features if key != picture], ["boxes"]
    if is_pair and isinstance(supervised[1], str):
        names, kinds = [supervised[1]], list(READERS)
    for name in names:
        for kind in kinds:
            if _fits(kind, name, features[name]):
                return name, kind
    choices = lookup.some([key for key in features if key != picture], most=12)
    fix = f'Say what is learned, as in targets={{"label": "category"}}; there are {choices}.'
    raise checks.error("`targets` must be given for this set", given="None", fix=fix)


def join_path(path: Sequence[str]) -> str:
    """Returns a feature's path as the user writes it.

    Example:
        >>> join_path(("objects", "bbox"))
        'objects/bbox'
    """
    return "/".join(path)


def _fits(kind: str, name: str, feature: Any) -> bool:
    try:
        READERS[kind]((name,), feature)
    except checks.InputError:
        return False
    return True


def _find(feature: Any, path: str) -> tuple[tuple[str, ...], Any] | None:
    parts = parts_of(feature)
    if path in parts:
        return (path,), parts[path]
    for name, part in parts.items():
        if path.startswith(f"{name}/"):
            rest = _find(part, path[len(name) + 1 :])
            if rest is not None:
                return (name, *rest[0]), rest[1]
    return None


def holds_files(feature: Any) -> bool:
    """Returns whether a feature is stored as the bytes of image files."""
    return _is_a(feature, "Image")


def _inner(feature: Any) -> Any:
    """Returns what a sequence holds, or the feature itself."""
    return feature.feature if _is_a(feature, "Sequence") else feature


def _is_a(feature: Any, name: str) -> bool:
    """Returns whether a feature is of a class of tensorflow-datasets, or of one derived from it."""
    return any(base.__name__ == name for base in type(feature).__mro__)


def _names_of(feature: Any) -> list[str] | None:
    if not (_is_a(feature, "ClassLabel") or _is_a(feature, "LabeledImage")):
        return None
    return list(feature.names) if feature.num_classes else None


def _dtype(feature: Any) -> np.dtype | None:
    dtype = getattr(feature, "np_dtype", None)
    return None if dtype is None or isinstance(dtype, Mapping) else np.dtype(dtype)


def _shape(feature: Any) -> tuple:
    shape = getattr(feature, "shape", None)
    return shape if isinstance(shape, tuple) else (None, None, None, None)


def _is_picture(feature: Any) -> bool:
    return _is_a(feature, "Image") and _names_of(feature) is None and _dtype(feature) == np.uint8


def _check_plane(reader: Reader, kinds: str, expected: str) -> None:
    shape, dtype = _shape(reader.feature), _dtype(reader.feature)
    if len(shape) not in (2, 3) or dtype is None or dtype.kind not in kinds:
        raise reader.refuse(expected)


def _nearest(value: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes one mask as `targets.pictures.nearest` does."""
    if value.shape.rank == 2:
        value = value[..., None]
    shape = tf.shape(value)
    for axis, wanted in enumerate(size):
        places = (2 * tf.range(wanted) + 1) * shape[axis] // (2 * wanted)
        value = tf.gather(value, places, axis=axis)
    return value


def decoder_of(channels: int, *, is_upright: bool) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function that decodes bytes as image files are decoded.

    Args:
        channels: Of the result.
        is_upright: Whether JPEG files are turned as they say; targets with places in them belong to what is stored.
    """
    decode = functools.partial(images.decode, channels=channels)
    if is_upright:
        return decode

    def decode_as_stored(data: tf.Tensor) -> tf.Tensor:
        is_jpeg = tf.strings.substr(data, 0, len(images.JPEG)) == images.JPEG
        stored = functools.partial(images.decode_upright, data, channels=channels)
        return tf.cond(is_jpeg, stored, functools.partial(decode, data))

    return decode_as_stored
