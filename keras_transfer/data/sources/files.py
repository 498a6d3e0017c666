"""Image files without a data set around them: listed, and decoded batch by batch when they are read."""

import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks
from keras_transfer.data import batches
from keras_transfer.data.sources import decoding
from keras_transfer.machine import streams
from keras_transfer.storage import images, listing

__all__ = ["list_images", "read_images"]

PATH = tf.TensorSpec([], tf.string)


def list_images(
    path: str | os.PathLike, name: str = "data"
) -> tuple[list[pathlib.Path], list[str] | None]:
    """Lists a file, or the image files of a folder at any depth, sorted.

    Args:
        path: The file or folder.
        name: How errors call the user's argument.

    Returns:
        The files, and the class of each: its subfolder, where all files lie in one; else None.
    """
    root = pathlib.Path(path).expanduser()
    if root.is_file():
        return [root], None
    if not root.is_dir():
        raise checks.error(f"`{name}` must be a folder or a file that exists", given=f"'{root}'")
    paths = sorted(file for file in listing.walk(root) if listing.is_image(file))
    if not paths:
        fix = f"Images end in {', '.join(listing.EXTENSIONS)}."
        raise checks.error(
            f"`{name}` must be a folder with images", given=f"none in '{root}'", fix=fix
        )
    inside = [file.relative_to(root).parts for file in paths]
    if any(len(parts) == 1 for parts in inside):
        return paths, None
    return paths, [parts[0] for parts in inside]


def read_images(
    paths: Sequence[pathlib.Path],
    labels: Sequence[str] | None,
    image_shape: tuple,
    *,
    batch_size: int,
    corrupt: str | None,
    name: str = "data",
) -> batches.Batches:
    """Makes batches of image files, decoded several at a time as the training data is.

    Args:
        paths: The files.
        labels: The class of each, or None; class ids are the targets.
        image_shape: The shape of the model's input.
        batch_size: Images in a batch.
        corrupt: Whether files that cannot be read are an "error", or left out ("skip"); None is an error where the user
            has no such argument.
        name: How errors call the user's argument.
    """
    checks.choice(corrupt, ("error", "skip", None), name="corrupt")
    fix = "Repair or remove it"
    fix += "." if corrupt is None else ', or leave such files out with corrupt="skip".'
    if len(image_shape) != 4 or None in image_shape[1:3]:
        raise checks.error(
            f"`{name}` must not be files for a model of any image size",
            given=image_shape,
            fix="Decode the files first: kt.data.load_images(paths, image_size).",
        )
    size, channels = image_shape[1:3], image_shape[3]
    checks.choice(channels, images.CHANNELS, name="channels")
    files = [str(path) for path in paths]
    targets = None
    if labels is not None:
        targets = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    decoded = _decode(files, size, channels, batch_size, keep_going=corrupt == "skip")

    def read() -> Iterator[batches.Batch]:
        found.skipped.clear()
        done, iterator = 0, iter(decoded)
        while True:
            try:
                rows, pixels = next(iterator)
            except StopIteration:
                found.skipped.update(_reasons(files[done:], size))
                return
            except tf.errors.OpError as problem:  # in the batch that starts at `done`
                names = files[done : done + batch_size]
                raise _unreadable(names, size, problem, fix) from problem
            rows = rows.numpy()
            missing = np.setdiff1d(np.arange(done, rows[-1]), rows)
            found.skipped.update(_reasons([files[row] for row in missing], size))
            done = rows[-1] + 1
            answers = None if targets is None else targets[rows]
            yield batches.Batch(pixels, answers, files=[files[row] for row in rows])

    spec: tuple = (tf.TensorSpec((None, *size, channels), tf.uint8),)
    if targets is not None:
        spec += (tf.TensorSpec((None,), tf.int64),)
    steps = -(-len(files) // batch_size)
    found = batches.Batches(read, spec, steps, len(files))
    return found


def _decode(
    names: list[str], size: tuple[int, int], channels: int, batch_size: int, *, keep_going: bool
) -> tf.data.Dataset:
    """Batches of (row, image); with `keep_going` rows of bad files are missing, else they fail."""
    with tf.device("CPU:0"):
        paths = tf.constant([os.fsencode(name) for name in names])

    @streams.plain
    def load(row: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return row, images.load(tf.gather(paths, row), size, channels=channels)

    dataset = tf.data.Dataset.range(len(names)).map(load, num_parallel_calls=tf.data.AUTOTUNE)
    if keep_going:
        dataset = dataset.ignore_errors()
    return streams.untuned(dataset.batch(batch_size).prefetch(2))


def _reasons(names: list[str], size: tuple[int, int]) -> dict[str, str]:
    """Why files cannot be read, by name; files that can be are left out."""
    reasons = {}

    @tf.function(input_signature=[PATH], autograph=False)
    def load(path: tf.Tensor) -> tf.Tensor:
        # A graph with a device reports errors in the form that `images.reason` knows.
        with tf.device("CPU:0"):
            return images.load(path, size)

    for name in names:
        try:
            load(tf.constant(os.fsencode(name)))
        except tf.errors.InvalidArgumentError as problem:
            is_empty = not os.path.getsize(name)
            reasons[name] = "the file is empty" if is_empty else images.reason(problem)
        except tf.errors.OpError as problem:  # missing, or not permitted
            reasons[name] = problem.message.split(";")[-1].strip()
    return reasons


def _unreadable(
    names: list[str], size: tuple[int, int], problem: tf.errors.OpError, fix: str
) -> Exception:
    reasons = _reasons(names, size)
    if not reasons:
        return problem
    return decoding.unreadable(reasons, len(names), fix=fix)
