"""Makes splits of batches from whatever data a user gives to `fine_tune`, `evaluate` and every other function.

Data may be

- data from `kt.data`, or an object with data sets as `train`, `validation` and `test`;
- a `tf.data.Dataset`;
- an array of images, `(images, targets)` or `(images, targets, weights)`, each an array, a list or a dict of arrays;
- a `keras.utils.PyDataset`, or another object that gives batches and has a length;
- a pair (train, validation) of these;
- image files and folders, where no labels are needed.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any  # what users hold

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.data import base, batches, pipeline
from keras_transfer.data.sources import files
from keras_transfer.machine import streams

__all__ = ["Splits", "split"]

EXPECTED = (
    "must come from kt.data or be what Keras's fit takes: arrays, (images, targets), (images, targets, weights), "
    "a tf.data.Dataset, a PyDataset, batches with a length, or a pair (train, validation) of these"
)


Parts = dict[str | None, batches.Batches]


@dataclass(frozen=True)
class Splits:
    """Batches by split, with class names and a fingerprint.

    Attributes:
        parts: Split to its batches; one entry, None, for data that is not divided.
        class_names: Names by class id, a list or a dict of lists by target, or None where unknown.
        digest: Changes with content, labels and their order; None where unknown.
        order: Seed, batch size and sampling, which decide the training batch of each example; None where unknown.
        notes: What was decided for the user when the data was made.
        source: The `Data` that all parts come from, in its order; else None.
    """

    parts: Parts
    class_names: Any = None
    digest: str | None = None
    order: tuple = ()
    notes: tuple[str, ...] = ()
    source: base.Data | None = None

    def first(self, *splits: str) -> batches.Batches | None:
        """Returns the batches of the first split that exists, or all batches of undivided data.

        Example:
            >>> divided = split((np.zeros((2, 8, 8, 3)), [0, 1]))
            >>> divided.first("test", "validation").rows
            2
        """
        if None in self.parts:
            return self.parts[None]
        return next((self.parts[name] for name in splits if name in self.parts), None)


def split(
    data: Any,
    *,
    name: str = "data",
    batch_size: int | None = None,
    training: bool = False,
    image_shape: tuple | None = None,
    corrupt: str | None = None,
) -> Splits:
    """Returns the splits of data and their batches.

    Args:
        data: One of those listed at the top of this file.
        name: How errors call the user's argument.
        batch_size: Examples in a batch; by default those of the data, 32 for arrays and files.
        training: Whether to shuffle arrays and batches with an index in every pass, as `fit` does.
        image_shape: The shape of the model's input; image files are taken only where it is given.
        corrupt: "error" refuses files that cannot be read, "skip" leaves them out; None refuses them where the user has
            no such argument.

    Raises:
        InputError: If the data is none of these.

    Example:
        >>> images = np.zeros((5, 8, 8, 3), np.uint8)
        >>> divided = split(((images[:4], np.arange(4)), (images[4:], np.arange(1))))
        >>> {name: part.rows for name, part in divided.parts.items()}
        {'train': 4, 'validation': 1}
    """
    if batch_size is not None:
        batch_size = checks.integer(batch_size, name="batch_size")
    options: dict[str, Any] = {"name": name, "batch_size": batch_size}

    if _is_divided(data):
        return _of_data(data, batch_size)
    if isinstance(data, tf.data.Dataset):
        class_names = getattr(data, "class_names", None)
        whole = batches.from_dataset(_with_ids(data, class_names), batch_size=batch_size)
        return Splits({None: whole}, class_names)
    if _are_paths(data):
        return _of_files(data, image_shape, corrupt=corrupt, **options)
    if _is_pair(data):
        return _of_pair(data, training=training, **options)
    if _are_arrays(data):
        arrays = _as_arrays(data, name)
        if training and len(arrays) > 1:
            return _of_data(_as_data({"train": arrays}), batch_size)
        return Splits({None: batches.from_arrays(arrays, batch_size=batch_size or batches.SIZE)})
    if hasattr(data, "__iter__") or hasattr(data, "__getitem__"):
        return Splits({None: batches.from_iterable(data, shuffle=training, name=name)})
    raise checks.error(f"`{name}` {EXPECTED}", given=type(data).__name__)


def _is_divided(data: Any) -> bool:
    """Whether data has splits as attributes: it is a `Data`, or made like one."""
    has_training = isinstance(getattr(data, "train", None), tf.data.Dataset)
    return has_training or (hasattr(data, "test") and hasattr(data, "validation"))


def _with_ids(dataset: tf.data.Dataset, class_names: Any) -> tf.data.Dataset:
    """Returns the data set with class ids where Keras made a column of 0.0 and 1.0 of two classes.

    `keras.utils.image_dataset_from_directory(label_mode="binary")` does so.
    """
    spec = dataset.element_spec
    if not isinstance(class_names, list) or len(class_names) != 2 or not isinstance(spec, tuple):
        return dataset
    labels: Any = spec[1] if len(spec) > 1 else None
    is_column = isinstance(labels, tf.TensorSpec) and labels.shape.rank == 2
    if not is_column or labels.shape[1] != 1 or not labels.dtype.is_floating:
        return dataset

    def use_ids(images: tf.Tensor, column: tf.Tensor, *weights: tf.Tensor) -> tuple:
        return images, tf.cast(column[:, 0], tf.int64), *weights

    return dataset.map(streams.plain(use_ids))


def _are_paths(data: Any) -> bool:
    paths = data if isinstance(data, list) else [data]
    return bool(paths) and all(isinstance(path, (str, os.PathLike)) for path in paths)


def _is_pair(data: Any) -> bool:
    """Whether data is (train, validation), not (images, targets)."""
    if not isinstance(data, tuple) or len(data) != 2:
        return False

    def is_data(part: Any) -> bool:
        is_labelled = isinstance(part, tuple) and len(part) in (2, 3)
        return is_labelled or isinstance(part, tf.data.Dataset) or not _are_arrays(part)

    return is_data(data[0]) and (data[1] is None or is_data(data[1]))


def _are_arrays(data: Any) -> bool:
    """Whether data is an array, or a tuple, list or dict of arrays."""
    if isinstance(data, (tuple, list, Mapping)):
        return True
    return hasattr(data, "__array__") or hasattr(data, "shape")


def _as_arrays(data: Any, name: str) -> tuple:
    """Returns `(images[, targets[, weights]])` as arrays or dicts of them."""
    is_list_of_parts = isinstance(data, list) and len(data) in (2, 3) and np.ndim(data[0]) == 4
    parts = tuple(data) if isinstance(data, tuple) or is_list_of_parts else (data,)
    if isinstance(data, tuple) and len(data) not in (2, 3):
        expected = f"`{name}` must be images, (images, targets) or (images, targets, weights)"
        raise checks.error(expected, given=f"a tuple of {len(parts)} parts")
    while len(parts) > 1 and parts[-1] is None:
        parts = parts[:-1]
    arrays = tuple(_array(part, name) for part in parts)
    for values in tf.nest.flatten(arrays[0]):
        if values.dtype.kind not in "iufb":
            given = f"{type(data).__name__} of {values.dtype}"
            raise checks.error(f"`{name}` {EXPECTED}", given=given)
    for values in tf.nest.flatten(arrays[1:]):
        if values.dtype == object:
            fix = "Boxes, tags and blank labels are encoded by kt.data.from_arrays(images, labels)."
            given = f"{type(next(values.flat, None)).__name__} objects"
            raise checks.error(
                f"`{name}`'s targets must be arrays of numbers", given=given, fix=fix
            )
    lengths = [len(values) if values.ndim else 0 for values in tf.nest.flatten(arrays)]
    if len(set(lengths)) > 1:
        given = ", ".join(map(str, lengths))
        raise checks.error(f"`{name}`'s arrays must have equal lengths", given=given)
    return arrays


def _array(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _array(part, name) for key, part in value.items()}
    try:
        return np.asarray(value)
    except ValueError as ragged:
        expected, fix = f"`{name}`'s arrays must be regular", "Bring all images to one size."
        raise checks.error(expected, given=str(ragged), fix=fix) from ragged


def _of_data(data: Any, batch_size: int | None) -> Splits:
    """Returns the splits of what came from `kt.data`, or is made like it."""
    parts: Parts = {}
    for name in base.SPLITS:
        if getattr(data, name, None) is not None:
            parts[name] = _part_of(data, name, batch_size)
    rule = getattr(getattr(data, "epochs", None), "rule", ())
    return Splits(
        parts,
        class_names=getattr(data, "class_names", None),
        digest=getattr(data, "digest", None),
        order=(getattr(data, "seed", None), getattr(data, "batch_size", None), *rule),
        notes=tuple(getattr(data, "notes", ())),
        source=data if getattr(data, "is_own", False) else None,
    )


def _part_of(data: Any, name: str, batch_size: int | None) -> batches.Batches:
    """Returns one split; training examples come in the order of their targets, unless the user replaced `train`."""
    dataset = getattr(data, name)
    is_made = isinstance(data, base.Data) and data.is_made(name)
    is_shuffled = is_made and name == "train"
    in_order = data.ordered(name) if is_shuffled else dataset
    part = batches.from_dataset(in_order, batch_size=batch_size)
    part.split = name
    for attribute in ("targets", "weights", "files"):
        by_split = getattr(data, attribute, None) or {}
        setattr(part, attribute, by_split.get(name))
    if is_made:
        part.rows = len(data.examples[name])
        part.steps = -(-part.rows // (batch_size or data.batch_size))
    if name == "train":
        counter = getattr(data, "epochs", None)
        part.passes = () if counter is None else (counter,)
        part.shuffled = dataset if is_shuffled else None
        part.files = part.files if is_shuffled else None  # replaced batches may come in any order
    return part


def _of_pair(pair: tuple, *, training: bool, name: str, batch_size: int | None) -> Splits:
    """Returns the splits of a pair (train, validation)."""
    if training and all(isinstance(part, tuple) for part in pair):
        arrays = [_as_arrays(part, name) for part in pair]
        return _of_data(_as_data({"train": arrays[0], "validation": arrays[1]}), batch_size)
    train = split(pair[0], training=training, name=name, batch_size=batch_size)
    sides = {"train": train}
    if pair[1] is not None:
        sides["validation"] = split(pair[1], name=name, batch_size=batch_size)

    parts: Parts = {}
    for key, side in sides.items():
        part = side.first(key)
        if part is None:
            raise checks.error(f"`{name}` must have {key} images", given="none")
        part.split, parts[key] = key, part
    return replace(train, parts=parts, source=train.source if pair[1] is None else None)


def _as_data(arrays: Mapping[str, tuple]) -> base.Data:
    """Makes arrays a `Data` with seeded orders, so that outputs of frozen layers can be cached."""
    digest = hashlib.blake2b(digest_size=16)
    examples = {}
    for name, parts in arrays.items():
        for values in tf.nest.flatten(parts):
            digest.update(f"{name} {values.dtype} {values.shape}".encode())
            digest.update(np.ascontiguousarray(values).data)
        examples[name] = pipeline.Examples.of(*parts)
    images = arrays["train"][0]
    return base.from_examples(
        examples,
        class_names=None,
        image_size=images.shape[1:-1],
        batch_size=batches.SIZE,
        seed=0,
        digest=digest.hexdigest(),
        notes=[],
    )


def _of_files(
    data: Any,
    image_shape: tuple | None,
    *,
    corrupt: str | None,
    name: str,
    batch_size: int | None,
) -> Splits:
    """Returns the batches of image files, and of all image files of folders."""
    if image_shape is None:
        fix = "Use kt.data.from_folder, or kt.data.load_images."
        raise checks.error(f"`{name}` {EXPECTED}", given=type(data).__name__, fix=fix)
    if isinstance(data, list):
        paths = [file for path in data for file in files.list_images(path, name)[0]]
        labels = None
    else:
        paths, labels = files.list_images(data, name)
    class_names = None if labels is None else sorted(set(labels))
    size = batch_size or batches.SIZE
    whole = files.read_images(
        paths, labels, image_shape, batch_size=size, corrupt=corrupt, name=name
    )
    return Splits({None: whole}, class_names)
