"""`kt.features.extract`: one pass of a network over images, kept as arrays."""

import datetime
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any  # data is duck-typed: another room's, or the user's own

import keras
import numpy as np
import tensorflow as tf

from keras_transfer.core import checks, lookup
from keras_transfer.data import adapt, batches
from keras_transfer.data.sources import decoding
from keras_transfer.features import passes, store, writers
from keras_transfer.graphs import blocks, nodes, paths, pixel_range
from keras_transfer.layers import trunk_end
from keras_transfer.machine import engine, progress, streams

__all__ = ["POOLING", "extract", "find_taps"]

DTYPES = ("float32", "float16")
LARGE = 1e9  # bytes in memory that are worth a line
# pooling: what it makes of the places of a feature map, (batch, places, channels) in float32.
POOLING = {
    "avg": lambda x: keras.ops.mean(x, axis=1),
    "max": lambda x: keras.ops.max(x, axis=1),
    "concat": lambda x: keras.ops.concatenate(
        [keras.ops.mean(x, axis=1), keras.ops.max(x, axis=1)], axis=-1
    ),
}


@streams.telling()
def extract(
    model: keras.Model,
    data: Any,
    *,
    layers: str | Iterable[str] | None = None,
    pooling: str | None = None,
    split: str = "train",
    batch_size: int | None = None,
    to: str | os.PathLike | None = None,
    overwrite: bool = False,
    dtype: str = "float32",
    corrupt: str = "error",
    verbose: str | int = "auto",
) -> store.Features:
    """Runs a network over images in inference mode, and keeps what its layers give.

    However many layers are asked for, the images go through the network once. The model is not changed.

    Args:
        model: A backbone, or any functional or sequential Keras model of images; models may be nested.
        data: From `kt.data`, whose examples come in the order of `data.targets[split]` and count as no pass over
            the training data; or what Keras's `fit` takes: an array of images, `(images, targets)`, a
            `tf.data.Dataset`, a `PyDataset`, batches with a length; a list of image files and folders; or one folder,
            whose subfolders, if all images lie in one, are their classes.
        layers: Patterns of layers ("block5_conv3", "block_13_project*", "backbone/block5*"), and levels ("P4"); by
            default the backbone's representation, without a backbone the model's outputs.
        pooling: "avg" or "max" over the places of a feature map, "concat" for both; None keeps the map.
        split: Which split, for data from `kt.data`.
        batch_size: Images in a batch; by default that of the data, 32 for arrays and files.
        to: A folder to write to while reading: arrays of any size, memory-mapped. See `kt.features.load`. Features
            are complete there or not at all; an extraction that was interrupted is started anew.
        overwrite: Whether finished features in the folder may be replaced.
        dtype: "float32", or "float16" for half the size.
        corrupt: "error" stops at image files that cannot be read, "skip" leaves them out; both name them.
        verbose: 0 prints nothing, 1 a progress bar after two seconds, 2 one line instead of it; "auto" is 1 on a
            terminal and in a notebook, else 2.

    Returns:
        The arrays by layer path, with the targets and files in the same order.

    Raises:
        InputError: If a pattern matches nothing, the images are not what the model takes, or something has no room.
        OSError: If the disk is full in spite of the check, or fails.

    Example:
        >>> import keras_transfer as kt
        >>> images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
        >>> extract(kt.backbone("tiny"), images, layers=["block1*add", "P3"], pooling="avg", verbose=0)
        Features(block1_add=(5, 32) float32, block4_1_relu=(5, 256) float32)
    """
    if pooling is not None:
        lookup.find(pooling, POOLING, argument="pooling")
    checks.choice(dtype, DTYPES, name="dtype")
    level = progress.verbosity(checks.choice(verbose, ("auto", 0, 1, 2), name="verbose"))
    taps, levels = find_taps(model, layers)
    splits, source = _batches(data, taps, split, batch_size, corrupt)
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(checks.note(text) if level else text)

    weights = keras.tree.flatten(source.weights) if splits.source is not None else []
    if any(np.any(part == 0) for part in weights if part is not None):
        note(
            f"some labels are missing: their targets are 0, and so are their data.weights[{split!r}]"
        )
    writer = writers.Memory() if to is None else writers.Folder(to, overwrite=overwrite)
    with writer:
        gathered = _Gathered()
        for batch, values in _compute_features(model, taps, source, pooling, dtype, level, note):
            if not gathered.rows:
                specs = {path: (array.shape[1:], array.dtype) for path, array in values.items()}
                _note_size(specs, source.rows, writer.where, note)
                writer.open(specs, rows=source.rows)
            _check_rows(values, specs, len(batch.images))
            writer.add(values)
            gathered.add(batch)
        if not gathered.rows:
            given = decoding.listing(source.skipped) or "an empty dataset"
            raise checks.error("`data` must hold images that can be read", given=given)
        if source.skipped:
            bad = len(source.skipped)
            note(
                f"{bad} of {bad + gathered.rows} files cannot be read: {decoding.listing(source.skipped)}"
            )
        about = _about(model, pooling, dtype)
        if source.split is not None:
            about |= {"split": source.split, "digest": splits.digest}
        about["examples"] = gathered.rows
        files = gathered.files if source.files is None else source.files
        rest = {"files": files, "class_names": splits.class_names, "levels": levels}
        about |= {"skipped": source.skipped, "notes": notes}
        return writer.close(targets=gathered.targets(), **rest, about=about)


def _batches(
    data: Any, taps: keras.Model, split: str, batch_size: int | None, corrupt: str
) -> tuple[adapt.Splits, batches.Batches]:
    """Returns the data, and the batches of the wanted split, with images that the model takes."""
    shape = tuple(taps.inputs[0].shape)
    splits = adapt.split(data, batch_size=batch_size, image_shape=shape, corrupt=corrupt)
    if None not in splits.parts:
        checks.choice(split, splits.parts, name="split")
    images: Any = splits.first(split)  # there, as the lines above found
    source = images.check("data", labelled=False)
    pixel_range.check_shape(
        shape, source.image_spec(shape, "data").shape, name="`data`'s images", batch="data"
    )
    return splits, source


def find_taps(
    model: keras.Model, wanted: str | Iterable[str] | None
) -> tuple[keras.Model, dict[str, str]]:
    """Returns a model with the wanted outputs by path, and the paths of the levels among them; see `extract`."""
    nodes.check_functional(model)
    if len(model.inputs) != 1:
        raise checks.error(
            "`model` must have one input, the images", given=f"{len(model.inputs)} inputs"
        )
    if wanted is None:
        marked = [
            path
            for path, layer in paths.leaves(model).items()
            if isinstance(layer, trunk_end.Representation)
        ]
        if marked:
            return nodes.tap(model, marked), {}
        # A sequential model does not name its output.
        names = (
            getattr(model, "output_names", None)
            or keras.Model(model.inputs, model.outputs).output_names
        )
        return keras.Model(model.inputs[0], dict(zip(names, model.outputs, strict=True))), {}
    patterns = [wanted] if isinstance(wanted, str) else list(wanted)
    if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
        raise checks.error(
            "`layers` must be patterns of layers, or levels such as 'P4'", given=repr(wanted)
        )
    places = _places(model, patterns)
    taps = nodes.tap(model, [places.get(pattern, pattern) for pattern in patterns])
    levels = {
        level: paths.match(taps.output, place, argument="layers")[0]
        for level, place in places.items()
    }
    return taps, levels


def _places(model: keras.Model, patterns: list[str]) -> dict[str, str]:
    """The operations at which the levels among the patterns end."""
    wanted = [pattern for pattern in patterns if re.fullmatch(r"P\d+", pattern)]
    if not wanted or {node.operation.name for node in nodes.nodes(model)} & set(
        wanted
    ):  # layers of that name
        return {}
    flat = nodes.flatten(model)
    trunk = [
        node for node in nodes.nodes(flat) if isinstance(node.operation, trunk_end.Representation)
    ]
    pattern = trunk[0].operation.source.get("blocks") if trunk else None
    found = blocks.levels(flat, pattern=pattern, until=trunk[0].inputs[0] if trunk else None)
    for level in wanted:
        if level not in found:
            given = f"{level!r} for a network with {', '.join(found) or 'none'}"
            raise checks.error("`layers` must name levels that the network has", given=given)
    return {level: found[level] for level in wanted}


def _compute_features(
    model: keras.Model,
    taps: keras.Model,
    source: batches.Batches,
    pooling: str | None,
    dtype: str,
    level: int,
    note: Any,
) -> Iterator[tuple[batches.Batch, dict[str, np.ndarray]]]:
    """Yields each batch and the outputs of the layers for it, by path."""

    def pool(values: dict[str, Any]) -> dict[str, Any]:
        return {path: _pool(values[path], pooling) for path in order}

    # A batch of any size, so that a smaller last one is not traced again.
    spec = source.image_spec(taps.inputs[0].shape, "data")
    predict = engine.make_forward(taps, spec, then=pool)

    def compute(batch: batches.Batch) -> dict[str, np.ndarray]:
        values = predict(batch.images)
        return {path: passes.narrow(path, np.asarray(values[path]), dtype) for path in order}

    order = [str(path) for path in taps.output]
    filled = (batch for batch in source.read() if len(batch.images))
    first = next(filled, None)
    if first is None:
        return
    warning = pixel_range.check(
        model, np.asarray(first.images), name="`data`'s images", more=_further(source)
    )
    if warning:
        note(warning)
    items = itertools.chain([first], filled)
    label = f"Computing features with {model.name}"
    yield from passes.run(compute, items, label=label, total=source.steps, verbose=level)


def _further(source: batches.Batches) -> Iterator[np.ndarray]:
    """The images of the batches after the first, read anew."""
    for number, batch in enumerate(source.read()):
        if number >= pixel_range.LOOK:
            return
        if number:
            yield np.asarray(batch.images)


def _pool(value: Any, pooling: str | None) -> Any:
    """Features in float32, pooled over their places if they have any: a map's, or a sequence's."""
    value = keras.ops.cast(value, "float32")
    if pooling is None or len(value.shape) < 3:
        return value
    return POOLING[pooling](
        keras.ops.reshape(value, (keras.ops.shape(value)[0], -1, value.shape[-1]))
    )


def _check_rows(values: Mapping[str, np.ndarray], specs: writers.Specs, count: int) -> None:
    for path, array in values.items():
        if not array.ndim or len(array) != count:
            given = f"{path!r} with shape {array.shape} for {count} images"
            raise checks.error("`layers` must give a row for each image", given=given)
        if array.shape[1:] != specs[path][0]:
            given = f"{path!r} with shape {array.shape} after {specs[path][0]}"
            raise checks.error(
                "all images must have one size", given=given, fix="Resize them, or use `pooling`."
            )


def _note_size(specs: writers.Specs, rows: int | None, where: Any, note: Any) -> None:
    """Says what will be written, before it is; in memory only what is large."""
    each = sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in specs.values())
    size = (
        f"{each / 1e3:,.1f} kB for each image" if rows is None else f"{each * rows / 1e6:,.1f} MB"
    )
    if isinstance(where, os.PathLike):
        note(f"features of {'all' if rows is None else rows} images: {size} in '{where}'")
    elif each * (rows or 0) > LARGE:
        note(f"features of {rows} images: {size} in memory; `to` writes them to a folder instead")


class _Gathered:
    """The targets and files of all batches."""

    def __init__(self) -> None:
        self.rows = 0
        self.files: list[str] | None = None
        self.parts: list[Any] = []

    def add(self, batch: batches.Batch) -> None:
        self.rows += len(batch.images)
        if batch.files is not None:
            self.files = self.files or []
            self.files += batch.files
        if batch.targets is not None:
            self.parts.append(keras.tree.map_structure(np.asarray, batch.targets))

    def targets(self) -> Any:
        return keras.tree.map_structure(_concatenate, *self.parts) if self.parts else None


def _concatenate(*parts: np.ndarray) -> np.ndarray:
    values = np.concatenate(parts)
    return (
        np.char.decode(values.astype("S"), "utf-8") if values.dtype == object else values
    )  # text, from TensorFlow


def _about(model: keras.Model, pooling: str | None, dtype: str) -> dict:
    trunk_ends = [
        layer
        for layer in paths.leaves(model).values()
        if isinstance(layer, trunk_end.Representation)
    ]
    return {
        "model": model.name,
        "source": dict(trunk_ends[0].source) if trunk_ends else None,
        "image_size": list(model.inputs[0].shape[1:3]),
        "pooling": pooling,
        "dtype": dtype,
        "versions": {
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
        },
        "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }
