"""Sets of tensorflow-datasets."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any  # tensorflow-datasets has no types

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks, lookup
from keras_transfer.data import base, picking, splits
from keras_transfer.data.sources import arrays, tfds_builders, tfds_features
from keras_transfer.data.targets import encoding, pictures
from keras_transfer.machine import memory, progress, streams
from keras_transfer.storage import images

__all__ = ["from_tfds"]

BATCH = 64  # images read at a time


def from_tfds(
    name: Any,
    *,
    train: str = "train",
    validation: float | str | None = tfds_builders.VALIDATION,
    test: float | str | None = None,
    targets: str | Mapping[str, str] | None = None,
    image: str | None = None,
    class_names: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    image_size: int | tuple[int, int] = 224,
    channels: int = 3,
    batch_size: int = 32,
    seed: int = 0,
    data_dir: str | os.PathLike | None = None,
    download: bool = True,
) -> base.Data:
    """Reads a set of tensorflow-datasets into memory: photos with classes, numbers, tags, boxes, masks or images.

    Images are decoded as image files are, resized and kept as uint8. Splits of the set are used where it has them: its
    "validation" (else 20 % of the training images) and its "test"; a line tells what was taken.

    Args:
        name: Such as "oxford_flowers102", with a config and a version if you like ("coco/2017:1.1.0"); or a builder,
            such as `tfds.builder_from_directory(folder)`.
        train: A split of the set, or a part of one: "train[:80%]", "train+validation".
        validation: Share of the training images to hold out for validation, or a split of the set as for `train`.
        test: Share to hold out for testing, or a split; 0 leaves the set's own test images out.
        targets: What is learned: a feature and its kind ("category", "number", "tags", "boxes", "mask", "image"), such
            as `{"label": "category", "segmentation_mask": "mask"}` or `{"objects": "boxes"}`; a feature's name alone
            for one target without a name. By default what the set says, or its objects.
        image: The feature with the pictures; by default what the set says, or "image".
        class_names: Names in the order of their ids, or a dict of them by target, for features that have none.
        image_size: Height and width, or one number for both.
        channels: 3 for RGB, 1 for its luminance, 4 for RGB and alpha.
        batch_size: Images in a batch.
        seed: Equal seeds give equal splits and orders.
        data_dir: The folder with prepared sets, as of `tfds.load`; by default "~/tensorflow_datasets".
        download: Whether to download and prepare the set where it is not there.

    Returns:
        The batches, class names and all that was decided.

    Raises:
        InputError: If there is no such set or feature, it is not prepared and cannot be downloaded, or its images do
            not fit into a quarter of the free memory.

    Example:
        >>> import tensorflow_datasets as tfds
        >>> with tfds.testing.mock_data(num_examples=40):
        ...     data = from_tfds("mnist", image_size=8)
        keras_transfer: ...
        >>> data.class_names[:3], data.image_size
        (['0', '1', '2'], (8, 8))
    """
    size = checks.image_size(image_size)
    checks.choice(channels, images.CHANNELS, name="channels")
    batch_size = checks.integer(batch_size, name="batch_size")
    seed = checks.integer(seed, name="seed", minimum=0)
    held: dict[str, Any] = {"validation": validation, "test": test}
    splits.check_shares({split: share for split, share in held.items() if _is_share(share)})

    builder = tfds_builders.find(name, data_dir)
    plan = _Plan.of(builder.info, image, targets, size, channels)
    tfds_builders.prepare(builder, download)
    specs, shares, notes = tfds_builders.choose_parts(builder, train, held)
    tfds_builders.check_apart(builder, specs)
    _check_memory(builder, specs, plan)
    parts = {split: _read(builder, spec, plan) for split, spec in specs.items()}
    count = sum(len(pixels) for pixels, _ in parts.values())
    size_of_all = sum(pixels.nbytes for pixels, _ in parts.values())
    what = f"{count} images are resized to {size[0]}x{size[1]} pixels"
    notes.append(checks.note(f"{what} and kept in memory ({size_of_all / 1e6:.1f} MB)"))

    columns, names = _encode(parts, plan, class_names, specs, held, notes)
    return arrays.assemble(
        columns,
        names,
        shares,
        batch_size=batch_size,
        seed=seed,
        notes=notes,
        needs_all=False,
    )


@dataclass(frozen=True)
class _Plan:
    """What is read of each example.

    Attributes:
        picture: Path of the feature with the pictures.
        is_encoded: Whether pictures come as the bytes of image files.
        readers: Name of each target to what reads it; "" for one without a name.
        size: Height and width of the results.
        channels: Of the results.
    """

    picture: tuple[str, ...]
    is_encoded: bool
    readers: dict[str, tfds_features.Reader]
    size: tuple[int, int]
    channels: int

    @classmethod
    def of(
        cls, info: Any, image: str | None, targets: Any, size: tuple[int, int], channels: int
    ) -> "_Plan":
        """Checks the arguments against the features of a set."""
        features, supervised = tfds_features.parts_of(info.features), info.supervised_keys
        own_picture = image or tfds_features.find_picture(features, supervised)
        picture, feature = tfds_features.feature_at(features, own_picture, name="image")
        shape = getattr(feature, "shape", None)
        is_picture = isinstance(shape, tuple) and len(shape) == 3
        if not is_picture or np.dtype(feature.np_dtype) != np.uint8:
            given = f"{own_picture!r}, {type(feature).__name__}"
            raise checks.error("`image` must be a picture of 8 bits", given=given)

        if targets is None:
            path, kind = tfds_features.find_targets(features, supervised, own_picture)
            chosen = {"": (path, kind)}
        elif isinstance(targets, str):
            chosen = {"": (targets, _kind_by_default(features, targets))}
        elif isinstance(targets, Mapping) and targets:
            chosen = {str(key): (key, kind) for key, kind in targets.items()}
        else:
            fix = 'Write targets={"label": "category"}.'
            raise checks.error(
                "`targets` must be a dict of kinds, or a feature", given=repr(targets), fix=fix
            )
        readers = {}
        for key, (path, kind) in chosen.items():
            found = tfds_features.feature_at(features, path, name="targets")
            make = lookup.find(kind, tfds_features.READERS, argument=f"targets[{path!r}]")
            readers[key] = make(*found)
        is_encoded = tfds_features.holds_files(feature)
        return cls(picture, is_encoded, readers, size, channels)

    @property
    def moves(self) -> bool:
        """Whether a target has places in the pictures."""
        return any(reader.moves for reader in self.readers.values())

    @property
    def bytes_of_one(self) -> int:
        """How much memory an image and its targets take."""
        planes = sum(reader.planes for reader in self.readers.values())
        return self.size[0] * self.size[1] * (self.channels + planes)

    @property
    def wanted(self) -> dict[str, Any]:
        """The features that are read, in the form of `tfds.decode.PartialDecoding`."""
        result: dict[str, Any] = {}
        paths = [(self.picture, True)]
        paths += [(reader.path, reader.wanted) for reader in self.readers.values()]
        for path, wanted in paths:
            inside = result
            for part in path[:-1]:
                inside = inside.setdefault(part, {})
            inside[path[-1]] = wanted
        return result

    @property
    def undecoded(self) -> dict[str, Any]:
        """The decoders that leave pictures as they are stored."""
        tfds = tfds_builders.require()
        decoder: Any = tfds.decode.SkipDecoding()
        for part in reversed(self.picture):
            decoder = {part: decoder}
        return decoder if self.is_encoded else {}

    def load(self, example: Mapping) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the pixels and the targets of one example."""
        decode = tfds_features.decoder_of(self.channels, is_upright=not self.moves)
        stored = _value_at(example, self.picture)
        pixels = decode(stored if self.is_encoded else tf.io.encode_png(stored))
        picture = tfds_features.Picture(tf.shape(pixels)[:2], self.size)
        targets = {}
        for key, reader in self.readers.items():
            targets[key] = reader.load(_value_at(example, reader.path), picture)
        return images.resize(pixels, self.size), targets


def _is_share(value: object) -> bool:
    return value is not None and not isinstance(value, str)


def _kind_by_default(features: Mapping[str, Any], path: str) -> str:
    """Returns the first kind that a feature can be."""
    found = tfds_features.feature_at(features, path, name="targets")
    for kind, make in tfds_features.READERS.items():
        with contextlib.suppress(checks.InputError):
            make(*found)
            return kind
    fix = 'Write targets={"label": "category"}.'
    raise checks.error("`targets` must be a feature that can be learned", given=repr(path), fix=fix)


def _value_at(example: Any, path: Sequence[str]) -> Any:
    for part in path:
        example = example[part]
    return example


def _check_memory(builder: Any, specs: Mapping[str, str], plan: _Plan) -> None:
    """Raises an error if what is read would take up more than a quarter of the free memory."""
    if not len(builder.info.splits):
        return
    counts = {}
    for split, spec in specs.items():
        counts[split] = sum(
            last - first for _, first, last in tfds_builders.stretches(builder, spec)
        )
    needed, free = sum(counts.values()) * plan.bytes_of_one, memory.free_memory()
    if needed <= free / 4:
        return
    given = f"{sum(counts.values())} images of {needed / 1e9:.3g} GB, where {free / 1e9:.3g} GB are free"
    fix = (
        "Set a smaller `image_size` or take a part (train='train[:10%]', test=0); or stream it: kt.fine_tune takes the "
        "tf.data.Dataset of `builder.as_dataset(as_supervised=True)`, resized and batched."
    )
    raise checks.error(
        "`image_size` must be so that all images fit into a quarter of the memory",
        given=given,
        fix=fix,
    )


def _read(
    builder: Any, spec: str, plan: _Plan
) -> tuple[np.ndarray, dict[str, np.ndarray | list[np.ndarray]]]:
    """Returns the pixels of a part, and its targets as they were read."""
    tfds = tfds_builders.require()
    decoders = tfds.decode.PartialDecoding(plan.wanted, decoders=plan.undecoded)
    label = f"Reading {spec!r} of {builder.info.full_name}"
    pixels, targets = [], []
    with _told(builder, spec):
        dataset = builder.as_dataset(
            split=spec,
            decoders=decoders,
            shuffle_files=False,
            read_config=tfds.ReadConfig(try_autocache=False),
        )
        count = int(dataset.cardinality())
        dataset = dataset.map(streams.plain(plan.load), num_parallel_calls=tf.data.AUTOTUNE)
        paddings = {key: reader.padding for key, reader in plan.readers.items()}
        dataset = dataset.padded_batch(BATCH, padding_values=_paddings(dataset, paddings))
        followed = progress.follow(
            streams.untuned(dataset.prefetch(2)),
            label,
            total=count if count > 0 else None,
            unit="image",
            each=BATCH,
        )
        for batch, answers in followed:
            pixels.append(batch.numpy())
            targets.append({key: values.numpy() for key, values in answers.items()})
    if not pixels:
        raise checks.error(f"{spec!r} must hold images", given="none")
    joined: dict = {}
    for key in plan.readers:
        joined[key] = _concatenate([part[key] for part in targets])
    return np.concatenate(pixels), joined


def _paddings(dataset: tf.data.Dataset, paddings: Mapping[str, Any]) -> tuple:
    """Returns what fills up short tensors, in the types of the data set."""
    specs = dataset.element_spec[1]
    typed = {}
    for key, value in paddings.items():
        typed[key] = None if value is None else tf.constant(value, specs[key].dtype)
    return None, typed


def _concatenate(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Joins batches whose tensors were filled up to different lengths, with -1."""
    if parts[0].ndim < 2 or len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts)
    most = max(part.shape[1] for part in parts)
    filled = []
    for part in parts:
        width = [(0, 0), (0, most - part.shape[1])] + [(0, 0)] * (part.ndim - 2)
        filled.append(np.pad(part, width, constant_values=-1))
    return np.concatenate(filled)


@contextlib.contextmanager
def _told(builder: Any, spec: str) -> Iterator[None]:
    """Turns errors of files and images that cannot be read into one line."""
    try:
        yield
    except (tf.errors.OpError, *tfds_builders.FAILURES) as problem:
        if isinstance(problem, checks.InputError):
            raise
        is_tensorflow = isinstance(problem, tf.errors.OpError)
        reason = images.reason(problem) if is_tensorflow else checks.first_line(problem)
        folder = os.fspath(builder.data_dir)
        raise checks.error(
            f"every image of {builder.info.full_name} must be readable",
            given=f"{spec!r} in '{folder}' ({reason})",
            fix="Delete the folder and prepare the set again.",
        ) from problem


def _encode(
    parts: Mapping[str, tuple[np.ndarray, dict]],
    plan: _Plan,
    class_names: Any,
    specs: dict[str, str],
    held: Mapping[str, Any],
    notes: list[str],
) -> tuple[dict[str, tuple], Any]:
    """Encodes the targets of all splits; leaves out a split that was not asked for and has no labels."""
    own_names = {key: reader.names for key, reader in plan.readers.items()}
    names: Any = {key: value for key, value in own_names.items() if value is not None}
    if isinstance(class_names, Mapping):
        names |= class_names
    elif class_names is not None:
        names = {key: list(class_names) for key in plan.readers}
    is_one = "" in plan.readers
    names = names.get("") if is_one else names or None

    columns: dict[str, tuple] = {}
    like = None
    for split, (pixels, raw) in parts.items():
        labels: Any = {key: plan.readers[key].labels(values) for key, values in raw.items()}
        if split != "train" and not isinstance(held[split], str) and _are_blank(labels):
            notes.append(checks.note(f"{specs[split]!r} has no labels: there is no {split} split"))
            continue
        faults = pictures.Faults(is_refused=False, notes=notes)
        sizes = pictures.Pictures(plan.size)
        labels = labels[""] if is_one else labels
        kinds = {key: reader.kind for key, reader in plan.readers.items()}
        answers, found, present = encoding.read(
            labels,
            class_names=names,
            kinds=kinds[""] if is_one else kinds,
            like=like,
            sizes=sizes,
            faults=faults,
            name="targets",
        )
        rows = np.setdiff1d(np.arange(len(pixels)), list(faults.reasons))
        if faults.reasons:
            notes.append(faults.note())
            pixels, answers, present = (
                picking.pick(part, rows) for part in (pixels, answers, present)
            )
        columns[split] = (pixels, answers, present)
        if split == "train":
            like, names = answers, found
    return columns, names


def _are_blank(labels: Mapping[str, Any]) -> bool:
    """Returns whether no image has a label of any target."""
    return all(_is_blank(column) for column in labels.values())


def _is_blank(column: Any) -> bool:
    if isinstance(column, np.ma.MaskedArray):
        return bool(np.ma.getmaskarray(column).all())
    if isinstance(column, list) and isinstance(column[0], dict):
        return not any(row["boxes"] for row in column)
    return False
