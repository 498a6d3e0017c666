"""From whatever holds images to batches of them, in an order that is known."""

import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import (  # data and targets are duck-typed: another room's, or the user's own
    Any,
    NamedTuple,
)

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.graphs import pixel_range
from keras_transfer.machine import streams
from keras_transfer.storage import images

__all__ = ["Batch", "Source", "listing", "source"]

BATCH_SIZE = 32
PATH = tf.TensorSpec([], tf.string)


class Batch(NamedTuple):
    """Some examples."""

    images: Any
    targets: Any = None
    files: list[str] | None = None


@dataclass
class Source:
    """All examples, and what is known of them before they are read.

    Attributes:
        read: Starts at the first batch.
        spec: Of the images of a batch, of any size.
        rows: How many examples there are, at most; None where unknown.
        batches: How many batches there are, at most; None where unknown.
        class_names: Names by class id, or None.
        facts: What to remember of the data.
        skipped: Files that were left out, with the reason; complete when all was read.
    """

    read: Callable[[], Iterator[Batch]]
    spec: tf.TensorSpec
    rows: int | None = None
    batches: int | None = None
    class_names: Any = None
    facts: dict = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def source(data: Any, wanted: tuple, *, split: str, batch_size: int | None, corrupt: str) -> Source:
    """Returns the examples that `data` holds.

    Args:
        data: See `extract`.
        wanted: Shape of the model's input.
        split: See `extract`.
        batch_size: See `extract`.
        corrupt: See `extract`.

    Raises:
        InputError: If there are none that the model takes.

    Example:
        >>> found = source(np.zeros((5, 8, 8, 3)), (None, 8, 8, 3), split="train", batch_size=2, corrupt="error")
        >>> [len(batch.images) for batch in found.read()]
        [2, 2, 1]
    """
    if batch_size is not None:
        batch_size = checks.integer(batch_size, name="batch_size")
    if hasattr(data, "ordered") and hasattr(data, "targets"):
        found = _of_data(data, split, batch_size)
    elif isinstance(data, tf.data.Dataset):
        found = _of_dataset(data, batch_size)
    elif isinstance(data, (str, os.PathLike)):
        found = _of_files(*_listed(pathlib.Path(data)), wanted, batch_size or BATCH_SIZE, corrupt)
    elif (
        isinstance(data, list)
        and data
        and all(isinstance(path, (str, os.PathLike)) for path in data)
    ):
        every = [file for path in data for file in _listed(pathlib.Path(path))[0]]
        found = _of_files(every, None, wanted, batch_size or BATCH_SIZE, corrupt)
    else:
        found = _of_arrays(data, batch_size or BATCH_SIZE)
    if found.spec.shape.rank is not None:
        pixel_range.check_shape(wanted, found.spec.shape, name="`data`'s images")
    else:
        found.spec = tf.TensorSpec(wanted, found.spec.dtype)
    return found


def _of_data(data: Any, split: str, batch_size: int | None) -> Source:
    found = _of_dataset(
        data.ordered(split), batch_size
    )  # in the order of targets and files; counts no pass
    files = None if data.files is None else data.files[split]
    targets = data.targets[split]
    plain = found.read

    def read() -> Iterator[Batch]:
        done = 0
        for batch in plain():
            end = done + len(batch.images)
            yield batch if files is None else batch._replace(files=files[done:end])
            done = end

    found.read = read
    found.rows = len(next(iter(targets.values())) if isinstance(targets, Mapping) else targets)
    found.batches = -(-found.rows // (batch_size or data.batch_size))
    found.class_names = data.class_names
    found.facts = {"split": split, "digest": data.digest}
    return found


def _of_dataset(dataset: tf.data.Dataset, batch_size: int | None) -> Source:
    spec = dataset.element_spec
    parts = spec if isinstance(spec, tuple) else (spec,)
    if not parts or len(parts) > 3 or not isinstance(parts[0], tf.TensorSpec):
        raise checks.error("`data` must give images, or (images, targets)", given=spec)
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise checks.error("`data` must end", given="an endless dataset", fix="Use `data.take(n)`.")
    if batch_size is not None and parts[0].shape.rank == 4:
        dataset = dataset.rebatch(batch_size)
    shape = parts[0].shape
    batched = (
        shape if shape.rank is None or shape.rank < 4 else (None, *shape[1:])
    )  # the last batch may be smaller
    count = int(dataset.cardinality())

    def read() -> Iterator[Batch]:
        for element in dataset:
            element = element if isinstance(element, tuple) else (element,)
            yield Batch(element[0], element[1] if len(element) > 1 else None)

    return Source(
        read, tf.TensorSpec(batched, parts[0].dtype), batches=count if count >= 0 else None
    )


def _of_arrays(data: Any, batch_size: int) -> Source:
    """Slices of arrays; a TensorFlow dataset would copy all of them first."""
    pair = data if isinstance(data, tuple) else (data, None)
    expected = "`data` must come from kt.data, or be a Dataset, images, (images, targets), image files or a folder"
    if len(pair) != 2:
        raise checks.error(expected, given=f"a tuple of {len(pair)}")
    pixels = pair[0] if isinstance(pair[0], np.ndarray) else np.asarray(pair[0])
    if pixels.dtype.kind not in "iufb":
        raise checks.error(expected, given=f"{type(pair[0]).__name__} of type {pixels.dtype}")
    if pixels.ndim != 4:
        fix = "Add the axis that is missing, or use kt.data.from_arrays."
        raise checks.error(
            "`data`'s images must be (n, height, width, channels)", given=pixels.shape, fix=fix
        )
    if not len(pixels):
        raise checks.error("`data` must hold images", given="none")
    targets = {name: np.asarray(each) for name, each in _columns(pair[1]).items()}
    for values in targets.values():
        if values.ndim < 1 or len(values) != len(pixels):
            given = f"{len(pixels)} images, targets of shape {values.shape}"
            raise checks.error("`data`'s images and targets must have the same length", given=given)

    def read() -> Iterator[Batch]:
        for start in range(0, len(pixels), batch_size):
            part = slice(start, start + batch_size)
            answers = {name: values[part] for name, values in targets.items()}
            yield Batch(pixels[part], answers if isinstance(pair[1], Mapping) else answers.get(""))

    spec = tf.TensorSpec((None, *pixels.shape[1:]), pixels.dtype)
    return Source(read, spec, len(pixels), -(-len(pixels) // batch_size))


def _columns(targets: Any) -> dict[str, Any]:
    return (
        {} if targets is None else dict(targets) if isinstance(targets, Mapping) else {"": targets}
    )


def _listed(path: pathlib.Path) -> tuple[list[pathlib.Path], list[str] | None]:
    """A file; or the image files of a folder at any depth, sorted, and the class of each if all are in subfolders."""
    path = path.expanduser()
    if path.is_file():
        return [path], None
    if not path.is_dir():
        raise checks.error("`data` must be a folder or a file that exists", given=f"'{path}'")
    files = [file for file in sorted(path.rglob("*")) if _is_image(file, path)]
    if not files:
        fix = f"Images end in {', '.join(images.EXTENSIONS)}."
        raise checks.error(
            "`data` must be a folder with images", given=f"none in '{path}'", fix=fix
        )
    inside = [file.relative_to(path).parts for file in files]
    return files, [parts[0] for parts in inside] if all(
        len(parts) > 1 for parts in inside
    ) else None


def _is_image(file: pathlib.Path, root: pathlib.Path) -> bool:
    is_hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
    return file.suffix.lower() in images.EXTENSIONS and not is_hidden and file.is_file()


def _of_files(
    paths: list[pathlib.Path],
    labels: list[str] | None,
    wanted: tuple,
    batch_size: int,
    corrupt: str,
) -> Source:
    """Decodes files as the training data does, several at a time."""
    checks.choice(corrupt, ("error", "skip"), name="corrupt")
    if len(wanted) != 4 or None in wanted[1:3]:
        fix = "Decode the files first: kt.data.load_images(paths, image_size)."
        raise checks.error(
            "`data` must not be files for a model of any image size", given=wanted, fix=fix
        )
    checks.choice(wanted[3], images.CHANNELS, name="channels")
    size, channels = wanted[1:3], wanted[3]
    names = [str(path) for path in paths]
    class_names = None if labels is None else sorted(set(labels))
    targets = (
        None
        if labels is None
        else np.array([class_names.index(label) for label in labels], np.int64)
    )
    dataset = _decoded(names, size, channels, batch_size, keep_going=corrupt == "skip")
    skipped: dict[str, str] = {}

    def read() -> Iterator[Batch]:
        skipped.clear()
        done, iterator = 0, iter(dataset)
        while True:
            try:
                rows, pixels = next(iterator)
            except StopIteration:
                skipped.update(_reasons(names[done:], size))
                return
            except tf.errors.OpError as problem:  # the batch that starts at `done`
                raise _unreadable(names[done : done + batch_size], size, problem) from problem
            rows = rows.numpy()
            missing = np.setdiff1d(np.arange(done, rows[-1]), rows)
            skipped.update(_reasons([names[row] for row in missing], size))
            done = rows[-1] + 1
            yield Batch(
                pixels, None if targets is None else targets[rows], [names[row] for row in rows]
            )

    spec = tf.TensorSpec((None, *size, channels), tf.uint8)
    count = -(-len(names) // batch_size)
    return Source(read, spec, len(names), count, class_names, {}, skipped)


def _decoded(
    names: list[str], size: tuple[int, int], channels: int, batch_size: int, *, keep_going: bool
) -> tf.data.Dataset:
    """Batches of (row, image); with `keep_going` rows of bad files are missing, else they fail."""
    with tf.device("CPU:0"):
        paths = tf.constant([os.fsencode(name) for name in names])
    dataset = tf.data.Dataset.range(len(names)).map(
        streams.plain(
            lambda row: (row, images.load(tf.gather(paths, row), size, channels=channels))
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    dataset = dataset.ignore_errors() if keep_going else dataset
    return streams.untuned(dataset.batch(batch_size).prefetch(2))


def _reasons(names: list[str], size: tuple[int, int]) -> dict[str, str]:
    """Why files cannot be read, by name; files that can be are left out."""
    found = {}

    @tf.function(input_signature=[PATH], autograph=False)
    def load(path: tf.Tensor) -> tf.Tensor:
        with tf.device(
            "CPU:0"
        ):  # a graph with a device reports errors in the form that `images.reason` knows
            return images.load(path, size)

    for name in names:
        try:
            load(tf.constant(os.fsencode(name)))
        except tf.errors.InvalidArgumentError as problem:
            found[name] = images.reason(problem) if os.path.getsize(name) else "the file is empty"
        except tf.errors.OpError as problem:  # missing, or not permitted
            found[name] = problem.message.split(";")[-1].strip()
    return found


def listing(reasons: dict[str, str], most: int = 5) -> str:
    """Files with their reasons in one line, the first few when they are many."""
    shown = ", ".join(f"{name} ({why})" for name, why in list(reasons.items())[:most])
    return f"{shown} and {len(reasons) - most} more" if len(reasons) > most else shown


def _unreadable(names: list[str], size: tuple[int, int], problem: tf.errors.OpError) -> Exception:
    found = _reasons(names, size)
    if not found:
        return problem
    return checks.error(
        f"every file must be a readable image, {images.FORMATS}",
        given=listing(found),
        fix='Repair or remove it, or leave such files out with corrupt="skip".',
    )
