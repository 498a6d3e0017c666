"""The cached outputs of frozen layers: computed in one pass over the images, or found on disk."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_transfer import features
from keras_transfer.core import checks
from keras_transfer.features import passes, writers
from keras_transfer.machine import engine, memory
from keras_transfer.training.cache import keys, tracing
from keras_transfer.training.cache.rows import TRAIN, VALIDATION, VIEWS, Rows
from keras_transfer.training.cache.settings import Cache

__all__ = ["Outputs"]

SHARE = 0.25  # of the free memory, that "auto" takes
Tensors = Mapping[str, keras.KerasTensor]  # by the name of the operation that gives them


@dataclasses.dataclass
class Outputs:
    """Arrays of cached outputs.

    Attributes:
        rows: What each row belongs to.
        cache: What the user asked for.
        note: Prints and records a line.
        verbose: Of the pass over the images.
        arrays: The outputs, by the kind of training rows and the name of the operation.
        facts: What was cached, for the record.
    """

    rows: Rows
    cache: Cache
    note: Callable[[str], object]
    verbose: str | int = 0
    arrays: dict[tuple[str, str], features.FileRows | tf.Tensor] = dataclasses.field(
        default_factory=dict
    )
    facts: list[dict] = dataclasses.field(default_factory=list)

    @property
    def is_rounded(self) -> bool:
        """Whether cached outputs differ from those that training on images would have seen."""
        return any(facts["rounded"] for facts in self.facts)

    def place(self, kind: str, tensors: Tensors) -> str:
        """Returns "memory" or "disk".

        Raises:
            InputError: If the disk may not hold so much.
        """
        size, where = self._size(kind, tensors), self.cache.where
        if where == "auto":
            where = "memory" if size <= SHARE * memory.free_memory() else "disk"
        if where == "disk" and self.cache.max_bytes is not None and size > self.cache.max_bytes:
            given = f"{self.cache.max_bytes / 1e6:,.0f} MB for {size / 1e6:,.0f} MB"
            raise checks.error("`max_bytes` must have room for frozen-layer outputs", given=given)
        return where

    def compute(self, kind: str, tensors: Tensors, trace: tracing.Trace, where: str) -> None:
        """Fills `arrays`.

        Args:
            kind: Which training rows.
            tensors: What to cache; `trace` gives it.
            trace: The frozen layers.
            where: "memory" or "disk".

        Raises:
            InputError, OSError: If there is no room.
            NotImplementedError: If it must be found again on disk, and has no key.
        """
        size = self._size(kind, tensors)
        shown = f"{size / 1e6:,.1f} MB" if size > 1e5 else f"{size / 1e3:,.1f} kB"
        dtype = self._dtype(tensors.values())

        def run(folder: object = None) -> features.Features:
            place = "in memory" if folder is None else f"in '{self._folder.path}'"
            self.note(
                f"The frozen layers run once, not in every epoch: their outputs for {self.rows.describe(kind)} "
                f"are kept {place} ({shown}). cache='off' turns this off."
            )
            with memory.bfloat16() if self._precision != "float32" else contextlib.nullcontext():
                return self._run(kind, tensors, trace, dtype=dtype, folder=folder)

        is_found = False
        if where == "disk":
            key = self._key(kind, tensors, trace)
            result, is_found = self._folder.get(key, run, size=size)
        else:
            result = run()
        if is_found:
            self.note(
                f"The frozen layers need not run: an earlier run kept their outputs in '{self._folder.path}' ({shown})."
            )

        for name in tensors:
            array = result.arrays.pop(name)
            if isinstance(array, np.memmap):  # held open, should another process make room there
                self.arrays[kind, name] = features.FileRows(array)
                continue
            with tf.device("CPU:0"):
                self.arrays[kind, name] = tf.constant(array)

        width = max(tf.as_dtype(tensor.dtype).size for tensor in tensors.values())
        is_rounded = self._precision != "float32" or width > np.dtype(dtype).itemsize
        self.facts.append(
            {
                "of": kind,
                "layers": list(tensors),
                "rows": self.rows.total(kind),
                "bytes": size,
                "where": where,
                "found": is_found,
                "views": self.rows.views if kind == VIEWS else None,
                "rounded": is_rounded,
            }
        )

    def _run(
        self, kind: str, tensors: Tensors, trace: tracing.Trace, *, dtype: str, folder: Any
    ) -> features.Features:
        """Runs the frozen layers over the images."""
        predict = trace.function(tensors)
        images, total = self.rows.images(kind), self.rows.total(kind)

        def work(batch: tf.Tensor) -> dict[str, np.ndarray]:
            values = predict(batch)
            return {name: passes.narrow(name, np.asarray(values[name]), dtype) for name in tensors}

        with writers.Memory() if folder is None else writers.Folder(folder) as writer:
            specs = {
                name: (tuple(each.shape[1:]), np.dtype(dtype)) for name, each in tensors.items()
            }
            writer.open(specs, rows=total)
            length = int(images.cardinality())
            done = passes.run(
                work,
                images,
                label="Running the frozen layers",
                total=length,
                verbose=self.verbose,
            )
            for _, values in done:
                writer.add(values)
            return writer.close(about={"examples": total, "dtype": dtype})

    @functools.cached_property
    def _folder(self) -> features.CacheFolder:
        return features.CacheFolder(self.cache.folder, max_bytes=self.cache.max_bytes)

    @functools.cached_property
    def _precision(self) -> str:
        if self.cache.precision != "float32" and engine.is_jax():
            self.note("The frozen layers compute in float32: bfloat16 beside it is TensorFlow's.")
            return "float32"
        if self.cache.precision != "float32" and not memory.has_bfloat16():
            self.note("The frozen layers compute in float32: this processor has no bfloat16.")
            return "float32"
        return self.cache.precision

    def _dtype(self, tensors: Iterable[keras.KerasTensor]) -> str:
        is_half = all(tensor.dtype == "float16" for tensor in tensors)
        return "float16" if is_half else self.cache.dtype

    def _size(self, kind: str, tensors: Tensors) -> int:
        """In bytes."""
        values = sum(int(np.prod(tensor.shape[1:])) for tensor in tensors.values())
        return self.rows.total(kind) * values * np.dtype(self._dtype(tensors.values())).itemsize

    def _key(self, kind: str, tensors: Tensors, trace: tracing.Trace) -> str:
        """Returns a hash of everything that the cached outputs depend on."""
        given, rows = self.rows.given, self.rows
        source = rows.source
        views = None
        if kind == VIEWS and given.changes is not None:
            views = [rows.views, rows.seed, given.changes.get_config()]
        facts = {
            "of": kind,
            # By which the arrays are found; automatic names may be others next time.
            "names": list(tensors),
            "data": [source.digest, list(source.image_size), source.channels, source.batch_size],
            "counts": [rows.count(TRAIN), rows.count(VALIDATION)],
            "dtype": self._dtype(tensors.values()),
            "precision": self._precision,
            "views": views,
        }
        splits = [TRAIN] if given.validation is None else [TRAIN, VALIDATION]
        places = [keys.hash_array(rows.places(split)) for split in splits]
        return keys.combine(trace.key(list(tensors.values())), *places, keys.hash_facts(facts))
