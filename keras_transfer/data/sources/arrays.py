"""Images and labels that are in memory already."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple  # names are a list, or a dict of them

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks, labelled, one_hot
from keras_transfer.data import base, pipeline, pixels, splits
from keras_transfer.data.targets import columns as target_columns
from keras_transfer.data.targets import encoding, missing, numbers, pictures

__all__ = ["assemble", "from_arrays"]

Labels = Sequence | np.ndarray | Mapping[str, Sequence | np.ndarray]
Pair = tuple[np.ndarray, Labels]


def from_arrays(
    images: np.ndarray,
    labels: Labels,
    *,
    test: float | Pair | None = None,
    validation: float | Pair | None = 0.2,
    class_names: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    batch_size: int = 32,
    seed: int = 0,
    group: Sequence | np.ndarray | None = None,
    targets: str | Mapping[str, str] | None = None,
    corrupt: str = "error",
) -> base.Data:
    """Takes images and labels from arrays.

    Args:
        images: Grey `(n, height, width)` or `(n, height, width, 1)`, RGB with 3 channels, RGB and alpha with 4, or any
            other number of channels; values 0..255 of any number type.
        labels: Class ids from 0, class names, one-hot rows, or floats (numbers to predict): `(n,)` or numbers `(n, k)`;
            or a list of tags an image (`kt.data.split_tags` makes them of "a;b"); or boxes in pixels of the images, a
            dict `{"boxes": [[x1, y1, x2, y2], ...], "labels": [name or id, ...]}` for each of them; or masks, integers
            `(n, height, width)`, 255 where a pixel does not count; or images, `(n, height, width, channels)`; or a dict
            of these, by the name of the task. A label may be missing: NaN, None, an empty string, or masked in a masked
            array; class ids among which some are missing are a list or an array of objects, with None, or masked. Masks
            and images with missing ones are a list with None.
        test: Share of the images to hold out for testing, or `(images, labels)`.
        validation: Share of the images to hold out for validation, or `(images, labels)`.
        class_names: Names in the order of their ids, or a dict of them; by default strings are sorted.
        image_size: Height and width to resize to, or one number for both; by default images stay as they are. Boxes,
            masks and target images are resized, too.
        channels: How many channels the model takes (`kt.backbone(..., channels=)`). Grey, RGB and RGB with alpha are
            turned into each other. By default these three become RGB, alpha put over white, and any other number of
            channels stays.
        batch_size: Images in a batch.
        seed: Equal seeds give equal splits and orders.
        group: Of each image, such as its patient: images of one group stay in one split, and in one of `data.folds`. A
            blank one is a group of that image alone.
        targets: What the labels are where their form does not say it: "category", "number", "tags", "boxes", "mask" or
            "image", or a dict of these for some of the labels; "mask" and "image" also for paths of files.
        corrupt: "error" refuses boxes, masks and target images that cannot be right; "skip" leaves their images out,
            and boxes without area.

    Returns:
        The batches, class names and all that was decided. Where a label is missing, batches have a third part, the
        weights, in the form of the targets: 0 for a missing label, else 1.

    Raises:
        InputError: If images and labels do not fit each other or hold values that cannot be.

    Example:
        >>> images = np.random.default_rng(0).integers(0, 256, (10, 8, 8))
        >>> from_arrays(images, ["cat", "dog"] * 5)
        Data(train=8, validation=2, classes=2, image_size=8x8, batch_size=32)
        >>> from_arrays(images, {"kind": ["cat", "dog", None, "dog", "cat"] * 2, "age": np.arange(10.0) / 2})
        keras_transfer: 2 of 10 kind labels are missing: they count neither in losses nor in metrics
        Data(train=8, validation=2, kind=2 classes, missing=2, image_size=8x8, batch_size=32)
    """
    batch_size = checks.integer(batch_size, name="batch_size")
    seed = checks.integer(seed, name="seed", minimum=0)
    pairs: dict[str, Pair] = {}
    shares: dict[str, float] = {}
    for name, value in (("test", test), ("validation", validation)):
        if isinstance(value, (tuple, list)):
            pairs[name] = _check_pair(value, name)
        elif value is not None:
            shares[name] = value
    shares = splits.check_shares(shares)

    notes: list[str] = []
    channels = None if channels is None else checks.integer(channels, name="channels")
    taken = pixels.checked(images, size=image_size, channels=channels)
    count = taken.shape[-1]
    if channels is None and count != 3:
        notes.append(
            checks.note(
                f"the images have {count} channels: make the backbone with `channels={count}`"
            )
        )
    checks.choice(corrupt, ("error", "skip"), name="corrupt")
    read = functools.partial(_read, kinds=targets, is_refused=corrupt == "error", notes=notes)
    taken, answers, names, present, rows = read(images, taken, labels, class_names)
    _note_one_hot(labels, notes)
    _note_whole_numbers(answers, names, present, notes)
    columns = {"train": (taken, answers, present)}
    for name, (more_images, more_labels) in pairs.items():
        like = {"size": taken.shape[1:3], "channels": count, "resize": image_size is not None}
        more = pixels.checked(more_images, name=f"{name}[0]", **like)
        known = _known_names(names, class_names)
        called = (f"{name}[0]", f"{name}[1]")
        part = read(more_images, more, more_labels, known, like=answers, called=called)
        columns[name] = (part.pixels, part.targets, part.present)

    return assemble(
        columns,
        names,
        shares,
        batch_size=batch_size,
        seed=seed,
        notes=notes,
        groups=None if group is None else splits.groups_of(group, len(images))[rows],
    )


def assemble(
    columns: Mapping[str, tuple[np.ndarray, pipeline.Columns, missing.Present]],
    names: Any,
    shares: Mapping[str, float],
    *,
    batch_size: int,
    seed: int,
    notes: list[str],
    groups: np.ndarray | None = None,
    needs_all: bool = True,
) -> base.Data:
    """Makes data of pixels and encoded targets: assigns those of "train" to splits, and notes what is odd.

    Args:
        columns: Split to its pixels, its targets and which labels are there, as `encoding.read` returns them.
        names: The class names.
        shares: Held-out splits to their shares of "train".
        batch_size: As for `from_arrays`.
        seed: As for `from_arrays`.
        notes: What was decided before.
        groups: The number of the group of each training example; None where there are none.
        needs_all: Whether each class must have a training image; else a note says which have none.
    """
    weights = dict.fromkeys(columns)
    if not all(missing.complete(present) for _, _, present in columns.values()):
        weights = {
            name: missing.weights_of(answers, present)
            for name, (_, answers, present) in columns.items()
        }
        notes += missing.note_missing(list(weights.values()))
    digest, contents, examples = "", {}, {}
    for name, (more, answers, _) in columns.items():
        examples[name] = pipeline.Examples.of(more, answers, weights[name])
        digest += _digest(more, answers, weights[name], name)
        contents[name] = _contents(more)
    strata = splits.labels_of(columns["train"][1], names, weights["train"])
    parts = splits.assign(strata, shares, seed=seed, groups=groups)
    examples |= {split: examples["train"].pick(rows) for split, rows in parts.items()}
    contents |= {split: contents["train"][rows] for split, rows in parts.items()}
    notes += _notes_on_copies(contents, [split for split in columns if split != "train"])
    notes += splits.note_empty(parts, shares)
    fix = "Give images of it, another `seed`, or `validation` and `test` as arrays of their own."
    notes += encoding.check_present(
        examples["train"].targets,
        names,
        weights=examples["train"].weights,
        fix=fix,
        needs_all=needs_all,
    )
    return base.from_examples(
        examples,
        class_names=names,
        image_size=columns["train"][0].shape[1:3],
        batch_size=batch_size,
        seed=seed,
        digest=hashlib.blake2b(f"{names} {digest}".encode(), digest_size=16).hexdigest(),
        notes=notes,
        groups=None if groups is None else _groups_by_split(groups, parts, examples),
    )


def _groups_by_split(
    groups: np.ndarray,
    parts: Mapping[str, np.ndarray],
    examples: Mapping[str, pipeline.Examples],
) -> dict[str, np.ndarray]:
    """Returns the groups of each split; those of a split with arrays of its own are not known, each is by itself."""
    result = {}
    for split, own in examples.items():
        if split in parts:
            result[split] = groups[parts[split]]
        else:
            result[split] = splits.numbers_of([f"{split} {row}" for row in range(len(own))])
    return result


class _Part(NamedTuple):
    """Images of one array with what belongs to them; `rows` are their places in the array."""

    pixels: np.ndarray
    targets: pipeline.Columns
    names: Any
    present: missing.Present
    rows: np.ndarray


def _read(
    images: Any,
    taken: np.ndarray,
    labels: Labels,
    class_names: Any,
    *,
    kinds: Any,
    is_refused: bool,
    notes: list[str],
    like: pipeline.Columns = None,
    called: tuple[str, str] = ("images", "labels"),
) -> _Part:
    """Returns the labelled images, without those whose targets cannot be."""
    height, width = (images.shape if isinstance(images, np.ndarray) else np.shape(images))[1:3]
    own = np.tile([height, width], (len(taken), 1))
    sizes = pictures.Pictures(taken.shape[1:3], own)
    faults = pictures.Faults(is_refused, notes=notes)
    targets, names, present = encoding.read(
        labels,
        class_names=class_names,
        kinds=kinds,
        like=like,
        sizes=sizes,
        faults=faults,
        name=called[1],
    )
    _check_lengths(taken, targets, *called)
    rows = np.setdiff1d(np.arange(len(taken)), list(faults.reasons))
    if not faults.reasons:
        return _Part(taken, targets, names, present, rows)
    if not len(rows):
        raise checks.error(f"`{called[1]}` must hold a label that can be", given="none")
    notes.append(faults.note())

    def pick(column: Any) -> Any:
        return None if column is None else column[rows]

    targets, present = tf.nest.map_structure(pick, (targets, present))
    return _Part(taken[rows], targets, names, present, rows)


def _known_names(names: Any, class_names: Any) -> Any:
    """Returns the names for held-out labels: those found, and for files of masks what their values mean."""
    if not isinstance(names, Mapping):
        return class_names if isinstance(class_names, Mapping) else names
    said = class_names if isinstance(class_names, Mapping) else {}
    meanings = {key: value for key, value in said.items() if isinstance(value, Mapping)}
    return {**names, **meanings}


def _contents(pixels: np.ndarray) -> np.ndarray:
    """A hash of every image."""
    return np.array(
        [
            hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).digest()
            for image in pixels
        ]
    )


def _notes_on_copies(contents: dict[str, np.ndarray], own: Sequence[str]) -> list[str]:
    """Notes equal images in training and held-out splits; an array of its own with nothing else is an error."""
    notes = []
    for name in [name for name in contents if name != "train"]:
        copies = int(np.isin(contents[name], contents["train"]).sum())
        if name in own and copies == len(contents[name]):
            fix = "Known images would be measured: give others."
            raise checks.error(
                f"`{name}` must have images of its own", given="training images only", fix=fix
            )
        if copies:
            notes.append(
                checks.note(
                    f"{copies} of {len(contents[name])} {name} images are among the training images, too: "
                    "scores on them are too good"
                )
            )
    return notes


def _check_pair(value: Any, name: str) -> Pair:
    if len(value) != 2:
        raise checks.error(
            f"`{name}` must be a share or (images, labels)", given=f"{len(value)} things"
        )
    return tuple(value)


def _check_lengths(pixels: np.ndarray, targets: pipeline.Columns, images: str, labels: str) -> None:
    for key, values in labelled.by_task(targets).items():
        if len(values) != len(pixels):
            name = f"{labels}[{key!r}]" if key else labels
            given = f"{len(pixels)} images, {len(values)} labels"
            raise checks.error(f"`{images}` and `{name}` must have the same length", given=given)


def _note_one_hot(labels: Labels, notes: list[str]) -> None:
    """Says which labels were one-hot rows, for rows of 0 and 1 might be tags, too."""
    columns = labels if isinstance(labels, Mapping) else {"labels": labels}
    for name, values in columns.items():
        if one_hot.class_ids(values) is not None:
            text = f"`{name}` are one-hot rows: taken as classes; tags are lists of names"
            notes.append(checks.note(text))


def _note_whole_numbers(
    targets: pipeline.Columns, class_names: Any, present: missing.Present, notes: list[str]
) -> None:
    """Class ids that were stored as floats look like numbers to predict: says so."""
    for key, values in labelled.by_task(targets).items():
        name = key or "labels"
        if values.ndim > 1 or not numbers.holds(values, labelled.of_task(class_names, key)):
            continue
        ids = np.unique(values)  # a missing one repeats another
        if 1 < len(ids) <= 100 and np.array_equal(ids, np.arange(len(ids))):
            is_complete = labelled.of_task(present, key) is None
            blanks = "" if is_complete else " and None where one is missing"
            text = f"`{name}` holds floats, so the model predicts numbers; give integers"
            notes.append(checks.note(f"{text}{blanks} if 0..{len(ids) - 1} are classes"))


def _digest(
    pixels: np.ndarray, targets: pipeline.Columns, weights: pipeline.Columns, split: str
) -> str:
    columns = {f"{split} {key}": column for key, column in labelled.by_task(targets).items()}
    if weights is not None:
        columns |= {
            f"{split} {key} weights": column for key, column in labelled.by_task(weights).items()
        }
    result = hashlib.blake2b(digest_size=16)
    for name, values in {split: pixels, **columns}.items():
        result.update(f"{name} {values.dtype} {values.shape}".encode())
        result.update(target_columns.content(values))
    return result.hexdigest()
