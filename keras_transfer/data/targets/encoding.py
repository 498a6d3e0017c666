"""The targets of all tasks together: one target, or a dict of them by the name of the task."""

import hashlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any  # a user's labels may hold anything

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks, labelled, lookup
from keras_transfer.data.targets import KINDS, columns, missing, pictures

__all__ = [
    "absent", "bytes_of", "check_kinds", "check_present", "concatenate", "digest_of", "join", "kind_of",
    "kind_of_spec", "level", "read",
]  # fmt: skip


def kind_of(targets: Any, names: Sequence[str] | None = None) -> ModuleType:
    """Returns the kind of an encoded target, one of `KINDS`.

    Example:
        >>> kind_of(np.zeros((2, 4, 4), np.uint8)).__name__.split(".")[-1]
        'masks'
    """
    return next(kind for kind in KINDS.values() if kind.holds(targets, names))


def kind_of_spec(spec: tf.TensorSpec, names: Sequence[str] | None = None) -> ModuleType:
    """Returns the kind of a target, one of `KINDS`, from the `tf.TensorSpec` of its batches.

    Example:
        >>> kind_of_spec(tf.TensorSpec((None, 7, 6), tf.float32)).__name__.split(".")[-1]
        'boxes'
    """
    shape = [0 if length is None else length for length in spec.shape]
    return kind_of(np.empty([0, *shape[1:]], spec.dtype.as_numpy_dtype), names)


def read(
    labels: Any,
    *,
    class_names: Any = None,
    kinds: Any = None,
    like: Any = None,
    sizes: pictures.Pictures | None = None,
    keep: bool = True,
    faults: pictures.Faults | None = None,
    name: str = "labels",
) -> tuple[Any, Any, missing.Present]:
    """Turns labels, or a dict of them, into targets that a network can learn, with a place-holder where one is blank.

    Args:
        labels: Integers are class ids from 0, strings are class names, one-hot rows are classes, floats are numbers
            to predict, lists of names are tags, dicts with "boxes" are boxes, integers with places are masks, other
            arrays with places are images; or a dict of these by the name of the task. Some may be blank.
        class_names: Names in the order of their ids, or a dict of them for some of the entries.
        kinds: The kind, one of `KINDS`, or a dict of them for some of the entries: decides where the form does not, as
            for paths of files.
        like: Encoded training targets that these must fit: the same entries, numbers where those are numbers. None for
            the training labels themselves, which must not all be blank.
        sizes: Of the pictures, for targets with places in them; None where these stay as they are.
        keep: Whether masks and images of files are kept in memory; else they are read in every pass.
        faults: What to do with single targets that cannot be; None refuses them. Rows that they name have a
            place-holder in the result, and are to be left out.
        name: How errors call the argument.

    Returns:
        The targets, the class names (None when nothing is classes), and for each label whether it is there (None where
        all are); dicts where `labels` is one.

    Raises:
        InputError: If a label is no class, not finite or of a type that is none of these.

    Example:
        >>> targets, names, present = read(["dog", None, "cat"])
        >>> targets.tolist(), names, present.tolist()
        ([1, 0, 0], ['cat', 'dog'], [True, False, True])
    """
    check_kinds(kinds, labels, name)
    if isinstance(labels, Mapping):
        _check_entries(labels, class_names, like, name)
        options = {"sizes": sizes, "keep": keep, "faults": faults}
        return _read_tasks(labels, class_names, kinds, like, name, options)
    if isinstance(class_names, Mapping) and kinds != "mask":
        raise checks.error(f"`{name}` must be a dict, as the others", given=type(labels).__name__)
    if isinstance(like, Mapping):
        raise checks.error(f"`{name}` must be a dict, as the others", given=type(labels).__name__)

    kind = _kind_of_labels(labels) if kinds is None else KINDS[kinds]
    filled, present = kind.fill(labels, like, name)
    if kinds is None and not kind.MOVES:
        kind = _kind_of_labels(
            filled
        )  # of a list of floats and None, only what is filled are numbers
        if like is not None and class_names is None and kind is KINDS["category"]:
            kind = kind_of(like, class_names)  # whole numbers where the training labels are floats
    if like is not None and present is not None and not present.any():
        return kind_of(like, class_names).blank(like, len(labels)), class_names, present
    options = {"sizes": sizes, "faults": faults} if kind.MOVES else {}
    if kind in (KINDS["mask"], KINDS["image"]):
        options["keep"] = keep
    targets, names = kind.encode(filled, names=class_names, name=name, **options)
    _check_like(kind, targets, like, names, name)
    if present is not None and isinstance(targets, np.ndarray):
        targets[~present] = kind.blank(targets, int((~present).sum()))
    return targets, names, present


def _read_tasks(
    labels: Mapping, class_names: Any, kinds: Any, like: Any, name: str, options: dict
) -> tuple[dict, dict | None, dict | None]:
    targets, names, present = {}, {}, {}
    for key, column in labels.items():
        targets[key], own_names, present[key] = read(
            column,
            class_names=labelled.of_task(class_names, key),
            kinds=None if kinds is None else kinds.get(key),
            like=labelled.of_task(like, key),
            name=f"{name}[{key!r}]",
            **options,
        )
        if own_names is not None:
            names[key] = own_names
    return targets, names or None, None if missing.complete(present) else present


def _kind_of_labels(labels: Any) -> ModuleType:
    if isinstance(labels, columns.FileColumn):
        return kind_of(labels)
    return next(kind for kind in KINDS.values() if kind.reads(labels))


def check_kinds(kinds: Any, labels: Any, name: str = "labels") -> None:
    """Raises an error unless `kinds` is None, a kind, or a dict of them for some of the labels.

    Example:
        >>> check_kinds({"edge": "mask"}, {"edge": [], "age": []})
    """
    if kinds is None:
        return
    if isinstance(labels, Mapping) != isinstance(kinds, Mapping):
        wanted = "a dict of kinds" if isinstance(labels, Mapping) else "a kind"
        raise checks.error(f"`targets` must be {wanted}, as `{name}` is", given=repr(kinds))
    named = kinds if isinstance(kinds, Mapping) else {"": kinds}
    for key, kind in named.items():
        if isinstance(kinds, Mapping):
            lookup.find(key, labels, argument="targets")
        if not isinstance(kind, str):
            raise checks.error("`targets` must say kinds as words", given=repr(kind))
        lookup.find(kind, KINDS, argument="targets")


def _check_like(
    kind: ModuleType, targets: Any, like: Any, names: Sequence[str] | None, name: str
) -> None:
    """Raises an error where held-out targets with places are of another kind or form than the training targets."""
    if like is None:
        return
    other = kind_of(like, names)
    if not kind.MOVES and not other.MOVES:
        return  # their tasks compare them
    same = kind is other
    if same and kind is not KINDS["boxes"]:
        same = targets.shape[1:] == like.shape[1:] and targets.dtype == like.dtype
    if not same:
        expected = f"`{name}` must be {other.describe(like, names)}, as the training labels"
        raise checks.error(expected, given=kind.describe(targets, names))


def bytes_of(kinds: Any, size: tuple[int, int]) -> int:
    """Returns how much memory the masks and images of one example take that are read from files.

    Args:
        kinds: A kind, or a dict of kinds.
        size: Height and width.

    Example:
        >>> bytes_of({"kind": "category", "edge": "mask"}, (10, 10))
        100
    """
    planes = {"mask": 1, "image": 4}  # images may be floats, or have three channels
    words = labelled.by_task(kinds).values()
    return size[0] * size[1] * sum(planes.get(word, 0) for word in words)


def join(parts: Sequence[Any]) -> Any:
    """Returns the targets of several parts, one after the other: arrays, columns of files, or dicts of these.

    Example:
        >>> join([np.array([1, 2]), np.array([3])]).tolist()
        [1, 2, 3]
    """
    if isinstance(parts[0], Mapping):
        joined = {}
        for key in parts[0]:
            joined[key] = join([part[key] for part in parts])
        return joined
    return kind_of(parts[0]).join(parts)


def concatenate(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Returns arrays of batches, one after the other; boxes that were padded batch by batch, to the longest.

    Example:
        >>> concatenate([np.zeros((1, 2, 6), "float32"), np.zeros((2, 1, 6), "float32")]).shape
        (3, 2, 6)
    """
    boxes = KINDS["boxes"]
    differ = len({np.shape(part)[1:] for part in parts}) > 1
    if differ and all(boxes.holds(part, None) for part in parts):
        return boxes.join(parts)
    return np.concatenate(parts)


def level(splits: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the targets of all splits with boxes padded to the longest of all, so that all batches have one shape."""
    first = next(iter(splits.values()))
    if isinstance(first, Mapping):
        leveled: dict[str, Any] = {split: {} for split in splits}
        for key in first:
            columns = level({split: part[key] for split, part in splits.items()})
            for split, column in columns.items():
                leveled[split][key] = column
        return leveled
    boxes = KINDS["boxes"]
    if len(splits) < 2 or kind_of(first) is not boxes:
        return dict(splits)
    widest = max(splits.values(), key=lambda targets: targets.shape[1])[:0]
    return {split: boxes.join([targets, widest]) for split, targets in splits.items()}


def digest_of(targets: Any, weights: Any = None, name: str = "") -> str:
    """Returns a hash of targets and weights, or of dicts of them.

    Example:
        >>> digest_of(np.array([1, 2])) == digest_of(np.array([2, 1]))
        False
    """
    result = hashlib.blake2b(digest_size=16)
    answers = {f"{name} {key}": column for key, column in labelled.by_task(targets).items()}
    if weights is not None:
        for key, column in labelled.by_task(weights).items():
            answers[f"{name} {key} weights"] = column
    for key, values in answers.items():
        result.update(f"{key} {values.dtype} {values.shape}".encode())
        result.update(columns.content(values))
    return result.hexdigest()


def _check_entries(labels: Mapping, class_names: Any, like: Any, name: str) -> None:
    """Raises an error unless a dict of labels has the entries that it should have."""
    expected = "one entry for each task"
    is_complete = bool(labels) and all(isinstance(key, str) for key in labels)
    if like is not None:
        expected = "the entries of the training labels"
        is_complete &= isinstance(like, Mapping) and set(like) == set(labels)
    if not is_complete:
        given = lookup.some(list(labels)) or "an empty dict"
        raise checks.error(f"`{name}` must have {expected}", given=given)
    if class_names is None:
        return
    if not isinstance(class_names, Mapping) or not set(class_names) <= set(labels):
        fix = f"The labels are {lookup.some(list(labels))}."
        expected = "`class_names` must be a dict with the keys of the labels"
        raise checks.error(expected, given=repr(class_names), fix=fix)


def check_present(
    targets: Any,
    class_names: Any,
    *,
    weights: Any = None,
    fix: str,
    name: str = "label",
    needs_all: bool = True,
) -> list[str]:
    """Raises an error if a class has no training image, or no training image has a label; returns notes.

    Of boxes and masks, classes may be absent: that is noted only.

    Args:
        targets: Those of the training images, or a dict of them.
        class_names: The names, or a dict of them for those entries that are classes.
        weights: 0 where a label is missing, in the form of the targets; None where none is.
        fix: How to go on.
        name: Of the target, for notes.
        needs_all: Whether an absent class is an error for the kinds that need all; else it is noted.
    """
    if isinstance(targets, Mapping):
        notes = []
        for key, column in targets.items():
            own = labelled.of_task(weights, key)
            names = labelled.of_task(class_names, key)
            notes += check_present(
                column, names, weights=own, fix=fix, name=key, needs_all=needs_all
            )
        return notes
    if weights is not None and not np.any(weights):
        raise checks.error(
            "every target must have a label of a training image", given="blanks only", fix=fix
        )
    lacking = [] if class_names is None else absent(targets, class_names, weights=weights)
    if lacking and not (needs_all and kind_of(targets, class_names).NEEDS_ALL_CLASSES):
        return [checks.note(f"no training image has a {name} of {lookup.some(lacking)}")]
    if lacking:
        raise checks.error(
            "every class must have a training image",
            given=f"none of {lookup.some(lacking)}",
            fix=fix,
        )
    return []


def absent(
    targets: np.ndarray, class_names: Sequence[str], *, weights: np.ndarray | None = None
) -> list[str]:
    """Returns the names of the classes or tags that no image has; images of weight 0 do not count."""
    counts = kind_of(targets, class_names).count(labelled.known(targets, weights), class_names)
    return [name for name, found in zip(class_names, counts, strict=True) if not found]
