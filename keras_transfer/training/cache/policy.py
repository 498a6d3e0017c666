"""Keeping what frozen layers give: `fit` then trains the layers above on what crossed into them, image by image.

Layers are shared, so there is nothing to bring back: what the upper part learns, the model has learned.
"""

import contextlib
import dataclasses
import functools
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_transfer import features
from keras_transfer.core import checks
from keras_transfer.data import pipeline
from keras_transfer.data.changes import augment
from keras_transfer.graphs import compiling, nodes
from keras_transfer.machine import memory, streams
from keras_transfer.training import augmenting, freezing, inputs
from keras_transfer.training.cache import keys, prefixes
from keras_transfer.training.methods import head_fitting
from keras_transfer.training.stages import Stage

__all__ = ["Cache", "Keeper", "Lent"]

WHERE = ("auto", "memory", "disk", "off")
SHARE = 0.25  # of the free memory, that "auto" takes
PLAIN, VIEWS = "images", "views"  # of the training part
TRAIN, VALIDATION = "train", "validation"
# What a part of a model would not do as the model does.
OWN = ("fit", "evaluate", "train_step", "test_step", "compute_loss", "compute_metrics", "call")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cache:
    """Where `kt.fine_tune` keeps what frozen layers give.

    Args:
        where: "auto" is memory while it takes at most a quarter of what is free, then disk, if that has room;
            "memory"; "disk", where later runs and other heads find it; "off".
        dtype: "float32" keeps every bit; "float16" halves the size and rounds to three digits.
        precision: "float32" computes what is kept as training does; "mixed_bfloat16" with two to three digits, which
            processors that can do it are quicker at for large convolutions (not for depthwise ones: time it). In the
            end, how much the accuracy differs is measured and told.
        folder: For "disk", see `kt.features.CacheFolder`.
        max_bytes: For "disk": what was last used longest ago is removed beyond that.

    Example:
        >>> Cache.of("disk")
        Cache(where='disk', dtype='float32', precision='float32', folder=None, max_bytes=20000000000)
    """

    where: str = "auto"
    dtype: str = "float32"
    precision: str = "float32"
    folder: str | os.PathLike | None = None
    max_bytes: int | None = 20_000_000_000

    def __post_init__(self) -> None:
        checks.choice(self.where, WHERE, name="cache")
        checks.choice(self.dtype, ("float32", "float16"), name="dtype")
        checks.choice(self.precision, ("float32", "mixed_bfloat16"), name="precision")
        features.CacheFolder(self.folder, max_bytes=self.max_bytes)

    @classmethod
    def of(cls, value: object) -> "Cache":
        """The one meant by its place, or itself."""
        if isinstance(value, cls):
            return value
        return cls(where=checks.choice(value, WHERE, name="cache"))


class Lent(NamedTuple):
    """What `fit` gets in a stage."""

    model: keras.Model
    train: tf.data.Dataset
    validation: tf.data.Dataset | None


@dataclasses.dataclass
class Keeper:
    """Knows for every stage which part of the model stays as it is, and keeps what that part gives.

    One pass over the images serves all stages for which it holds: tensors of several depths are kept together.

    Attributes:
        model: The user's model.
        given: The data.
        plan: The stages.
        cache: What the user asked for.
        views: Random views of each training image to keep, where images are changed at random.
        seed: Of these views.
        note: Prints and records a line.
        verbose: Of the pass over the images.
    """

    model: keras.Model
    given: inputs.Inputs
    plan: Sequence[Stage]
    cache: Cache
    views: int = 1
    seed: int | None = None
    note: object = checks.note
    verbose: str | int = 0

    def __post_init__(self) -> None:
        self.passes = augment.Passes()
        self.facts: list[dict] = []
        self._arrays: dict[tuple[str, str], features.FileRows | tf.Tensor] = {}
        self._uppers: dict[int, keras.Model] = {}
        self._refused: set[int] = set()
        self._order = nodes.nodes(self.model)
        self._made = {
            id(tensor): node.operation.name for node in self._order for tensor in node.outputs
        }
        self._tensors = {node.operation.name: node.outputs[0] for node in self._order}
        with freezing.as_before(self.model):
            self._prefixes = []
            for stage in self.plan:
                stage.apply(self.model)
                found = prefixes.find(self.model)
                if stage.batch_norm == "recalibrate":  # whose statistics change, trained or not
                    norms = keras.layers.BatchNormalization
                    found = found._replace(
                        changed=found.changed
                        | {
                            at
                            for at, node in enumerate(self._order)
                            if isinstance(node.operation, norms)
                        }
                    )
                self._prefixes.append(found)

    def lend(self, number: int, model: keras.Model) -> Lent:
        """Returns what to fit in a stage: the upper part on kept rows, or `model` on the images.

        Args:
            number: Of the stage, from 0.
            model: The compiled model of the stage.
        """
        whole = Lent(model, self.given.train, self.given.validation)
        if not self._is_kept(number, tell=True) or not self._ensure(number):
            return whole
        tensors = self._prefixes[number].crossing
        if number not in self._uppers:
            with compiling.scope(model):
                self._uppers[number] = nodes.above(model, tensors)
        upper = self._uppers[number]
        compiling.compile_like(upper, model, optimizer=model.optimizer)  # one set of slots for both
        validation = None if self.given.validation is None else self._rows(VALIDATION, tensors)
        return Lent(upper, self._rows(TRAIN, tensors), validation)

    def heads(self, number: int) -> dict[str, dict[str, np.ndarray]] | None:
        """Returns by split what enters the heads that are to be solved for, None where it is not kept."""
        if not self._is_kept(number) or not self._ensure(number):
            return None
        rows = {name: np.asarray(self._arrays[PLAIN, below]) for name, below in self._heads.items()}
        count = self._count(TRAIN)
        found = {TRAIN: {name: values[:count] for name, values in rows.items()}}
        if self.given.validation is not None:
            found[VALIDATION] = {name: values[count:] for name, values in rows.items()}
        return found

    def finished(self, number: int) -> None:
        """Forgets what a stage that is over has changed, and what no later stage wants."""
        later = range(number + 1, len(self.plan))
        wanted = {
            (self._kind(at), name) for at in later if self._is_kept(at) for name in self._needs(at)
        }
        changed = self._prefixes[number].changed
        for kind, name in list(self._arrays):
            if (kind, name) not in wanted or self._below(name) & changed:
                del self._arrays[kind, name]
        self._uppers.pop(number, None)

    @property
    def _fitted(self) -> str:
        """Which training rows `fit` sees."""
        return VIEWS if self.given.changes is not None and self.given.changes.pictures else PLAIN

    def _kind(self, number: int) -> str:
        """Which training rows a stage wants."""
        return PLAIN if self.plan[number].applied_method.replaces_fit else self._fitted

    def _is_kept(self, number: int, *, tell: bool = False) -> bool:
        """Whether a stage is to train on kept rows; says why not where that may surprise."""
        if self.cache.where == "off" or number in self._refused:
            return False
        stage, prefix = self.plan[number], self._prefixes[number]
        if stage.applied_method.replaces_fit:
            return self.given.source is not None and not self._is_ambiguous(number)
        if not (prefix.crossing or prefix.reason) or not self._gains(stage):
            return False
        reason = self._reason(stage, prefix)
        if reason and tell:
            self._refuse(number, reason)
        return not reason

    def _gains(self, stage: Stage) -> bool:
        """Whether a pass over the images is saved."""
        if self.cache.where == "disk":
            return True
        if self._fitted == VIEWS and self.views > 1:
            return (
                sum(
                    self._epochs(each) for each in self.plan if not each.applied_method.replaces_fit
                )
                > self.views
            )
        return self._epochs(stage) > 1

    def _is_ambiguous(self, number: int) -> bool:
        """Whether the layers below the heads cannot be named."""
        calls = [node.operation.name for node in self._order]
        return any(calls.count(name) > 1 for name in self._needs(number))

    @functools.cached_property
    def _heads(self) -> dict[str, str]:
        """The operations below the heads that can be solved for, by task."""
        return {name: head.below for name, head in head_fitting.heads(self.model)[0].items()}

    def _reason(self, stage: Stage, prefix: prefixes.Prefix) -> str:
        changes = self.given.changes
        if prefix.reason:
            return prefix.reason
        if name := compiling.own_method(self.model, OWN):
            return f"{type(self.model).__name__} has its own `{name}`"
        if self.given.source is None:
            return "the order of a plain data set is not known (data from kt.data can be kept)"
        if stage.applied_method.needs_images:
            return "a stage with `lora` or `regulariser` trains on images"
        if changes is not None and changes.mixes:
            return "MixUp and CutMix blend images with others"
        if self._fitted == VIEWS and self.views == 1:
            return "training images are others in every epoch (views=4 keeps four random views of each)"
        return ""

    def _refuse(self, number: int, reason: str) -> None:
        self._refused.add(number)
        self.note(f"frozen layers are computed in every epoch of stage {number + 1}: {reason}")

    def _epochs(self, stage: Stage) -> int:
        steps = self.given.known_steps or 1
        return stage.epochs or -(-stage.steps // steps)

    def _needs(self, number: int) -> list[str]:
        """Names of the operations whose outputs a stage wants."""
        if self.plan[number].applied_method.replaces_fit:
            return list(self._heads.values())
        return [self._made[id(tensor)] for tensor in self._prefixes[number].crossing]

    def _below(self, name: str) -> set[int]:
        """The positions of the operations that an operation's output depends on."""
        return nodes.ancestors(self._order, [self._tensors[name]])

    def _ensure(self, number: int) -> bool:
        """Computes what is missing for a stage; returns whether it could be kept."""
        kind = self._kind(number)
        own = [
            name for name in dict.fromkeys(self._needs(number)) if (kind, name) not in self._arrays
        ]
        if not own:
            return True
        more = [name for name in self._later(number) if (kind, name) not in self._arrays]
        try:
            where, wanted = self._where(kind, own), own
            with contextlib.suppress(
                checks.InputError
            ):  # what later stages want is not to send this one elsewhere
                both = list(dict.fromkeys([*own, *more]))
                if self._where(kind, both) == where:
                    wanted = both
            try:
                self._compute(kind, wanted, where)
            except (checks.InputError, OSError):
                if wanted == own:
                    raise
                self._compute(kind, own, where)
        except (
            checks.InputError,
            OSError,
            NotImplementedError,
        ) as refused:  # the last: code that cannot be read
            self._refuse(
                number, f"what they give could not be kept ({' '.join(str(refused).split())})"
            )
            return False
        return True

    def _later(self, number: int) -> list[str]:
        """What later stages want of the same images and no stage before them changes."""
        found, changed = [], set(self._prefixes[number].changed)
        for later in range(number + 1, len(self.plan)):
            if self._is_kept(later) and self._kind(later) == self._kind(number):
                found += [name for name in self._needs(later) if not self._below(name) & changed]
            changed |= self._prefixes[later].changed
        return found

    def _compute(self, kind: str, names: Sequence[str], where: str) -> None:
        """Runs the lower part over the images, or finds on disk what an earlier run kept."""
        size = self._size(kind, names)
        counts = [
            f"{self._trained(kind):,} {'views of training images' if kind == VIEWS else 'training images'}"
        ]
        counts += [f"{self._count(VALIDATION):,} of validation"] * (
            self.given.validation is not None
        )
        shown = f"{' and '.join(counts)}, {size / 1e6:,.1f} MB,"

        def make(folder: object = None) -> features.Features:
            place = "in memory" if folder is None else f"on disk in '{folder}'"
            self.note(
                f"what frozen layers give for {shown} is computed once and kept {place} (cache='off' does not)"
            )
            with memory.bfloat16() if self._precision != "float32" else contextlib.nullcontext():
                return features.extract(
                    self.model,
                    self._images(kind),
                    layers=list(names),
                    dtype=self._dtype(names),
                    to=folder,
                    verbose=1 if self.verbose in (1, "auto") and sys.stdout.isatty() else 0,
                )

        is_found = False
        if where == "disk":
            found, is_found = self._folder.get(self._key(kind, names), make, size=size)
        else:
            found = make()
        if is_found:
            self.note(f"what frozen layers give for {shown} was found in '{self._folder.path}'")
        for name in names:
            array = found.arrays.pop(name)
            if where == "disk":  # held open, should another process make room there
                self._arrays[kind, name] = features.FileRows(array)
                continue
            with tf.device("CPU:0"):
                self._arrays[kind, name] = tf.constant(array)
        facts = {
            "of": kind,
            "layers": list(names),
            "rows": self._all(kind),
            "bytes": size,
            "where": where,
        }
        kept = np.dtype(self._dtype(names)).itemsize
        rounded = self._precision != "float32" or any(
            tf.as_dtype(self._tensors[n].dtype).size > kept for n in names
        )
        facts |= {
            "found": is_found,
            "views": self.views if kind == VIEWS else None,
            "rounded": rounded,
        }
        self.facts.append(facts)

    @functools.cached_property
    def _folder(self) -> features.CacheFolder:
        return features.CacheFolder(self.cache.folder, max_bytes=self.cache.max_bytes)

    @functools.cached_property
    def _precision(self) -> str:
        """What the lower part is computed in."""
        if self.cache.precision != "float32" and not memory.has_bfloat16():
            self.note(
                "what frozen layers give is computed in float32: this processor has no bfloat16"
            )
            return "float32"
        return self.cache.precision

    @property
    def is_rounded(self) -> bool:
        """Whether what was kept differs from what training on images would have seen."""
        return any(facts["rounded"] for facts in self.facts)

    def _dtype(self, names: Sequence[str]) -> str:
        return (
            "float16"
            if all(self._tensors[name].dtype == "float16" for name in names)
            else self.cache.dtype
        )

    def _count(self, split: str) -> int:
        """How many images a split has."""
        return (
            0
            if split == VALIDATION and self.given.validation is None
            else len(self._source_rows(split))
        )

    def _trained(self, kind: str) -> int:
        return self._count(TRAIN) * (self.views if kind == VIEWS else 1)

    def _all(self, kind: str) -> int:
        """How many rows are kept: those of training, then those of validation."""
        return self._trained(kind) + self._count(VALIDATION)

    def _size(self, kind: str, names: Sequence[str]) -> int:
        """In bytes."""
        values = sum(int(np.prod(self._tensors[name].shape[1:])) for name in names)
        return self._all(kind) * values * np.dtype(self._dtype(names)).itemsize

    def _where(self, kind: str, names: Sequence[str]) -> str:
        """Where so much is kept."""
        size = self._size(kind, names)
        where = self.cache.where
        if where == "auto":
            where = "memory" if size <= SHARE * memory.free_memory() else "disk"
        if where == "disk" and self.cache.max_bytes is not None and size > self.cache.max_bytes:
            given = f"{self.cache.max_bytes / 1e6:,.0f} MB for {size / 1e6:,.0f} MB"
            raise checks.error(
                "`max_bytes` must have room for what frozen layers give", given=given
            )
        return where

    def _source_rows(self, split: str) -> np.ndarray:
        return self.given.source.examples[split].rows

    def _images(self, kind: str) -> tf.data.Dataset:
        """All that is to be kept: training images, or views of them one after the other, then validation images."""
        images = self._views() if kind == VIEWS else self.given.source.ordered(TRAIN)
        parts = (
            [images]
            if self.given.validation is None
            else [images, self.given.source.ordered(VALIDATION)]
        )
        return functools.reduce(
            lambda one, other: one.concatenate(other), (part.map(_alone) for part in parts)
        )

    def _views(self) -> tf.data.Dataset:
        """All views of the training images, one after the other."""
        images = self.given.source.ordered(TRAIN)
        changes = dataclasses.replace(self.given.changes, label_smoothing=0.0)
        views = [
            changes.apply(images, seed=self.seed or 0, passes=_Always(at))
            for at in range(self.views)
        ]
        return functools.reduce(lambda one, other: one.concatenate(other), views)

    def _rows(self, split: str, tensors: Sequence[keras.KerasTensor]) -> tf.data.Dataset:
        """Batches of kept rows and targets, in the order in which the images would come."""
        kind = self._fitted
        read = [features.reader(self._arrays[kind, self._made[id(tensor)]]) for tensor in tensors]
        count, names = self._count(TRAIN), self.given.targets
        first = 0 if split == TRAIN else self._trained(kind)
        smoothed = augmenting.smoothing(self.model, self.given) if split == TRAIN else None

        @streams.plain
        def picked(places: tf.Tensor, *answers: object) -> tuple:
            values = (
                tf.cast(each(places + first), own.dtype)
                for each, own in zip(read, tensors, strict=True)
            )
            values = tuple(values)
            targets, *weights = (
                inputs.narrowed(answers, names) if isinstance(answers[0], Mapping) else answers
            )
            targets = targets if smoothed is None else smoothed(targets)
            return (values if len(values) > 1 else values[0]), targets, *weights

        if kind != VIEWS or split != TRAIN:
            return streams.untuned(
                self.given.source.places(split, then=picked).prefetch(pipeline.READERS)
            )
        batches = self.given.source.places(split)
        rows = tf.data.Dataset.zip((augment.numbered(self.passes), batches)).map(
            streams.plain(
                lambda number, batch: picked(batch[0] + count * (number % self.views), *batch[1:])
            ),
            num_parallel_calls=pipeline.READERS,
        )
        rows = rows.apply(tf.data.experimental.assert_cardinality(batches.cardinality()))
        return streams.untuned(rows.prefetch(pipeline.READERS))

    def _key(self, kind: str, names: Sequence[str]) -> str:
        """A hash of everything that the kept rows depend on."""
        source, changes = self.given.source, self.given.changes
        about = {
            "of": kind,
            "names": list(
                names
            ),  # by which the rows are found; automatic ones may be others next time
            "data": [source.digest, list(source.image_size), source.channels, source.batch_size],
            "counts": [self._count(TRAIN), self._count(VALIDATION)],
            "dtype": self._dtype(names),
            **({} if self._precision == "float32" else {"precision": self._precision}),
            "views": [self.views, self.seed, changes.get_config()] if kind == VIEWS else None,
        }
        try:
            network = keys.network(self._order, [self._tensors[name] for name in names])
        except Exception as unknown:  # whatever the code of somebody's layer does
            raise NotImplementedError(f"what the layers do cannot be told: {unknown}") from unknown
        splits = [TRAIN] if self.given.validation is None else [TRAIN, VALIDATION]
        rows = [keys.array(self._source_rows(split)) for split in splits]
        return keys.joined(network, *rows, keys.plain(about))


@streams.plain
def _alone(images: tf.Tensor, *targets: object) -> tf.Tensor:
    """A batch without its targets."""
    return images


class _Always(augment.Passes):
    """Every pass is the same one."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.next = number

    def advance(self) -> int:
        return self.next
