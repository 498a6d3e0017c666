"""What every source of data returns."""

import contextlib
import dataclasses
import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from keras_transfer.core import checks, labelled, lookup
from keras_transfer.data import overview, picking, pipeline, sheets, splits
from keras_transfer.data.targets import encoding

__all__ = ["SPLITS", "Data", "from_examples"]

SPLITS = ("train", "validation", "test")
# What data has besides its examples and what follows from them.
SAME = (
    "class_names", "image_size", "batch_size", "seed", "digest", "files", "origins", "sampled", "groups", "shard",
)  # fmt: skip

Sampled = Callable[[np.ndarray], pipeline.Epochs]


@dataclass(eq=False, repr=False)
class Data:
    """Images and targets in up to three splits, ready for `model.fit`.

    The data sets give batches of float32 images `(b, height, width, channels)`, RGB as a rule, with values 0..255 and
    their targets: int64 class ids `(b,)`, float32 numbers or rows of tags, boxes `(b, most, 6)`, uint8 masks `(b,
    height, width)`, images `(b, height, width, channels)`, or a dict of these. Where labels are missing, they also give
    a weight for each target, 0 for those that are missing. `train` has a new order in every pass; equal seeds give
    equal sequences of orders. The others keep theirs.

    Attributes:
        train: The training batches; None when there is only something to measure on.
        validation: The validation batches, or None.
        test: The test batches, or None.
        class_names: Names by class id, a dict of them when there are several targets, None when there are no classes.
        targets: Split to the targets of all its examples, in the order of the split: arrays; masks and images of files
            are columns that can be used like arrays (`len`, `shape`, `column[rows]`, `np.asarray(column)`).
        image_size: Height and width.
        batch_size: Images in a batch.
        seed: Of splits and orders.
        digest: Changes when content, labels or their order change.
        files: Split to the paths of its files in order, or None when there are no files.
        notes: What was decided for the user.
        examples: Split to its examples: pixels or files, targets, weights.
        epochs: The orders of the training data.
        weights: Split to the weights of all its targets, in their form: 0 where the target is the place-holder of a
            missing label, else 1. None where no label is missing.
        origins: Split to the number of the set that each example comes from, for data of `kt.data.mix`, or None.
        sampled: Makes `epochs` from the `origins` of the training examples, for data of `kt.data.mix`, or None.
        groups: Split to a number for each example, equal for those that must stay in one split: copies of a file, or
            images of one group. None where each is by itself.
        folder: The folder that the images were read from, as the user named it, or None.
        shard: Number of this process and how many there are, where each reads its part of `train`, or None.

    Example:
        >>> import keras_transfer as kt
        >>> images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
        >>> kt.data.from_arrays(images, ["a", "b", "a", "b"], validation=0.5)
        Data(train=2, validation=2, classes=2, image_size=8x8, batch_size=32)
    """

    train: tf.data.Dataset | None
    validation: tf.data.Dataset | None
    test: tf.data.Dataset | None
    class_names: (
        Any  # list[str] with one target, dict[str, list[str]] with several, None without classes
    )
    targets: dict[str, pipeline.Columns]
    image_size: tuple[int, int]
    batch_size: int
    seed: int
    digest: str
    files: Mapping[str, Sequence[str]] | None
    notes: list[str]
    examples: dict[str, pipeline.Examples] = field(default_factory=dict)
    epochs: pipeline.Epochs | None = None
    weights: dict[str, pipeline.Columns] | None = None
    origins: dict[str, np.ndarray] | None = None
    sampled: Sampled | None = None
    groups: dict[str, np.ndarray] | None = None
    folder: str | None = None
    shard: tuple[int, int] | None = None
    _made: dict = field(default_factory=dict, init=False)

    @property
    def is_own(self) -> bool:
        """Whether `train` and `validation` are still the batches that were made of the examples."""
        return self.is_made("train") and self.is_made("validation")

    def is_made(self, split: str) -> bool:
        """Whether a split is as it was made: nobody has put another data set, or None, in its place."""
        return self._made.get(split, self) is getattr(self, split)

    @property
    def channels(self) -> int:
        """Of the images: 3 for RGB; `kt.backbone(..., channels=data.channels)` takes them."""
        datasets = (self.train, self.validation, self.test)
        first = next(dataset for dataset in datasets if dataset is not None)
        return first.element_spec[0].shape[-1]

    @property
    def is_cached(self) -> bool:
        """Whether decoded images are in memory."""
        return all(examples.is_decoded for examples in self.examples.values())

    def set_epoch(self, epoch: int) -> None:
        """Makes the next pass over `train` the one with this number, counted from 0: how a resumed run goes on."""
        self._training_orders().next = checks.integer(epoch, name="epoch", minimum=0)

    def order(self, epoch: int) -> np.ndarray:
        """The order of the training examples in pass number `epoch`, as indices into `targets["train"]`.

        Every index once; but of data from `kt.data.mix`, as often as its sampling says, and of data with a `shard`
        those of this process.
        """
        return self._training_orders().order(checks.integer(epoch, name="epoch", minimum=0))

    def rest(self, epoch: int, batch: int) -> tf.data.Dataset:
        """The training batches of pass number `epoch` from batch number `batch` on; no pass is counted.

        For a training loop of your own that saves its state in the middle of an epoch, and goes on there.

        Args:
            epoch: From 0.
            batch: From 0.

        Example:
            >>> import keras_transfer as kt
            >>> images = np.zeros((9, 8, 8), "uint8")
            >>> data = kt.data.from_arrays(images, np.arange(9.0) / 2, validation=None, batch_size=4)
            >>> [answers.numpy().tolist() for _, answers in data.rest(0, 2)] == [[data.order(0)[8] / 2]]
            True
        """
        order = self.order(epoch)[
            checks.integer(batch, name="batch", minimum=0) * self.batch_size :
        ]
        rest = self.examples["train"].pick(order)
        return pipeline.batches(rest, size=self.image_size, batch_size=self.batch_size)

    def _training_orders(self) -> pipeline.Epochs:
        if self.epochs is None:
            raise checks.error("`data` must have training images", given="none")
        return self.epochs

    def ordered(self, split: str) -> tf.data.Dataset:
        """The batches of a split in the order of `targets[split]`, training included; no pass is counted."""
        checks.choice(split, tuple(self.examples), name="split")
        return pipeline.batches(
            self.examples[split], size=self.image_size, batch_size=self.batch_size
        )

    def places(self, split: str, then: Callable | None = None) -> tf.data.Dataset:
        """The batches of a split without their pixels: `(places in targets[split], targets[, weights])`.

        The training examples come in the same orders as in `train`, and each pass counts as one over `train`. `then` is
        called on each batch as by `map`, without the milliseconds that one more `map` takes in every pass.
        """
        checks.choice(split, tuple(self.examples), name="split")
        epochs = self.epochs if split == "train" else None
        return pipeline.places(
            self.examples[split], batch_size=self.batch_size, epochs=epochs, then=then
        )

    def joined(self) -> "Data":
        """Returns the same data with the validation examples among the training examples, and no validation."""
        return self._of(
            _join(self.examples, pipeline.together),
            origins=self.origins and _join(self.origins, np.concatenate),
            files=self.files and _join(self.files, lambda parts: list(itertools.chain(*parts))),
            groups=self.groups and _join(self.groups, np.concatenate),
        )

    def folds(self, count: int = 5, *, seed: int | None = None) -> list["Data"]:
        """Returns data for k-fold cross-validation: each training and validation example is held out exactly once.

        Each fold is data of its own, with another part of the examples as `validation` and all others as `train`; the
        test split stays. Labels are shared out evenly, and what must stay together does (`groups`).

        Args:
            count: How many folds.
            seed: Equal seeds give equal folds; by default that of the data.

        Raises:
            InputError: If there are fewer examples, or groups, than folds.

        Example:
            >>> import keras_transfer as kt
            >>> data = kt.data.from_arrays(np.zeros((6, 8, 8), "uint8"), ["a", "b"] * 3, validation=None)
            >>> [len(fold.targets["validation"]) for fold in data.folds(3)]
            [2, 2, 2]
        """
        count = checks.integer(count, name="count", minimum=2)
        seed = self.seed if seed is None else checks.integer(seed, name="seed", minimum=0)
        if "train" not in self.examples:
            raise checks.error("`data` must have training images", given="none")
        whole = self.joined()
        examples = whole.examples["train"]
        labels = splits.labels_of(examples.targets, self.class_names, examples.weights)
        groups = None if whole.groups is None else whole.groups["train"]
        held = splits.fold(labels, count, seed=seed, groups=groups, keys=groups)
        folds = []
        for number, rows in enumerate(held):
            places = {"train": np.setdiff1d(np.arange(len(examples)), rows), "validation": rows}
            fold = whole._divided(places, digest=f"{self.digest} fold {number} of {count} {seed}")
            fold.folder = self.folder
            folds.append(fold)
        return folds

    def without(self, split: str) -> "Data":
        """Returns the same data without one of its splits, such as test images that must not choose anything.

        Example:
            >>> import keras_transfer as kt
            >>> images = np.arange(256, dtype="uint8").reshape(4, 8, 8)
            >>> data = kt.data.from_arrays(images, ["a", "b"] * 2, validation=0.5)
            >>> data.without("validation")
            Data(train=2, classes=2, image_size=8x8, batch_size=32)
        """
        checks.choice(split, SPLITS, name="split")
        return self._of({name: part for name, part in self.examples.items() if name != split})

    def sample(
        self, count: int, *, seed: int | None = None, among: Sequence[str] | None = None
    ) -> "Data":
        """Returns data with fewer labelled images: would more photos help?

        Labels keep their shares, every class its first image where there is room, and of one seed the images of a
        smaller number are among those of a larger one. Validation images are labelled, too: they become fewer in the
        same proportion, but all of them stay where there are no test images to measure on.

        Args:
            count: How many images, of the splits that become fewer together.
            seed: Of the draw; by default that of the data.
            among: The splits that become fewer; by default "train" and, where there are test images, "validation".

        Raises:
            InputError: If there are not so many, or no such split.

        Example:
            >>> import keras_transfer as kt
            >>> data = kt.data.from_arrays(np.zeros((10, 8, 8), "uint8"), ["a", "b"] * 5, validation=None)
            >>> np.bincount(data.sample(4).targets["train"]).tolist()
            [2, 2]
        """
        seed = self.seed if seed is None else checks.integer(seed, name="seed", minimum=0)
        if "train" not in self.examples:
            raise checks.error("`data` must have training images", given="none")
        drawn = SPLITS[: 2 if "test" in self.examples else 1]
        if among is not None:
            drawn = tuple(among)
            for split in drawn:
                lookup.find(split, self.examples, argument="among")
        sizes = {split: len(self.examples[split]) for split in drawn if split in self.examples}
        total = sum(sizes.values())
        count = checks.integer(count, name="count", minimum=len(sizes))
        if count > total:
            raise checks.error(f"`count` must be at most {total}, the labelled images", given=count)

        places = {}
        for split, size in sizes.items():
            examples = self.examples[split]
            labels = splits.labels_of(examples.targets, self.class_names, examples.weights)
            order = splits.spread(labels, seed=seed)
            places[split] = np.sort(order[: max(1, round(count * size / total))])
        return self._picked(places, digest=f"{self.digest} {count} of {total} {seed}")

    def _picked(self, places: Mapping[str, np.ndarray], *, digest: str) -> "Data":
        """Returns the same data with fewer examples in some splits."""

        def pick(by_split: Mapping[str, Any] | None) -> dict | None:
            return None if by_split is None else _pick(by_split, places)

        return self._of(
            _pick(self.examples, places),
            digest=digest,
            files=pick(self.files),
            origins=pick(self.origins),
            groups=pick(self.groups),
        )

    def _divided(self, places: Mapping[str, np.ndarray], *, digest: str) -> "Data":
        """Returns the same data with its training examples divided into splits."""

        def divide(by_split: Mapping[str, Any] | None) -> dict | None:
            return None if by_split is None else _divide(by_split, places)

        return self._of(
            _divide(self.examples, places),
            digest=digest,
            files=divide(self.files),
            origins=divide(self.origins),
            groups=divide(self.groups),
        )

    def only(self, name: str) -> "Data":
        """Returns the data of one task: the examples that have a label for it, and that label only, without its name.

        They are in the splits that they were in; each is in every pass once, also of data from `kt.data.mix`.

        Args:
            name: Of the target.

        Raises:
            InputError: If there is no such target, or no example of a split has a label.

        Example:
            >>> import keras_transfer as kt
            >>> labels = {"kind": ["cat", "dog", None, "dog"], "age": [1.5, 2.5, 3.5, 4.5]}
            >>> data = kt.data.from_arrays(np.zeros((4, 8, 8), "uint8"), labels, validation=None)
            keras_transfer: 1 of 4 kind labels are missing: they count neither in losses nor in metrics
            >>> data.only("kind")
            Data(train=3, classes=2, image_size=8x8, batch_size=32)
        """
        if not all(isinstance(columns, Mapping) for columns in self.targets.values()):
            raise checks.error("`only` needs several targets by name", given="one without a name")
        lookup.find(name, next(iter(self.targets.values())), argument="name")
        examples, files, groups = {}, {}, {}
        for split, part in self.examples.items():
            weights = labelled.of_task(part.weights, name)
            rows = np.arange(len(part))
            if weights is not None:
                rows = np.flatnonzero(labelled.rows(weights))
            if not len(rows):
                expected = f"`data` must have a label of some {split} image for {name!r}"
                raise checks.error(expected, given="none")
            part = part.pick(rows)
            examples[split] = dataclasses.replace(part, targets=part.targets[name], weights=None)
            if self.files:
                files[split] = picking.pick(self.files[split], rows)
            if self.groups:
                groups[split] = self.groups[split][rows]
        return self._of(
            examples,
            class_names=self.class_names and self.class_names.get(name),
            digest=f"{self.digest} {name}",
            files=files or None,
            groups=groups or None,
            origins=None,
            sampled=None,
        )

    def with_orders(self, seed: int) -> "Data":
        """Returns the same data with the training orders of another seed; splits stay.

        Example:
            >>> import keras_transfer as kt
            >>> data = kt.data.from_arrays(np.zeros((9, 8, 8), "uint8"), np.arange(9.0) / 2, validation=None)
            >>> data.order(0).tolist() == data.with_orders(1).order(0).tolist()
            False
        """
        made = self._of(self.examples, seed=checks.integer(seed, name="seed", minimum=0))
        if made.epochs is not None:  # a mixture's have a seed of their own
            made.epochs.seed = seed
        return made

    def _of(self, examples: Mapping[str, pipeline.Examples], **changes: Any) -> "Data":
        """Returns data of other examples, like this but for the changes; it has no notes."""
        arguments = {name: getattr(self, name) for name in SAME}
        return from_examples(examples, **{**arguments, **changes}, notes=[])

    def __reduce__(self) -> tuple:
        """Goes to another process without its data sets, which are made there again."""
        if not self.is_own:
            fix = "Leave `data.train` and `data.validation` as kt.data made them."
            raise checks.error(
                "`data` must be as kt.data made it to go to another process",
                given="batches of your own",
                fix=fix,
            )
        arguments = {name: getattr(self, name) for name in SAME}
        return _remake, (self.examples, arguments, self.notes, self.folder)

    def summary(self) -> str:
        """Returns a table of what each split holds."""
        return overview.summary(self)

    def show(
        self,
        split: str = "train",
        *,
        count: int = 16,
        augment: object = None,
        seed: int = 0,
    ) -> sheets.Sheet:
        """Returns a sheet of images with their labels, which notebooks show; `sheet.save("sheet.png")` writes it.

        Args:
            split: Whose images: "train", "validation" or "test".
            count: How many, drawn at random.
            augment: Random changes, as for `kt.fine_tune`: each image is shown with five changed copies of it, and
                boxes, masks and target images as they moved.
            seed: Of the draw and of the changes.

        Example:
            >>> import keras_transfer as kt
            >>> data = kt.data.from_arrays(np.zeros((4, 8, 8), "uint8"), ["a", "b", "a", "b"], validation=None)
            >>> sorted(data.show(count=4).captions)
            ['a', 'a', 'b', 'b']
        """
        checks.choice(split, tuple(self.examples), name="split")
        checks.integer(count, name="count")
        examples = self.examples[split]
        rows = np.random.default_rng(seed).permutation(len(examples))[:count]
        shown = examples.pick(rows)
        chosen = pipeline.batches(shown, size=self.image_size, batch_size=len(rows))
        element = next(iter(chosen))
        images = element[0].numpy()

        answers = (shown.targets, self.class_names, shown.weights)
        captions = [sheets.caption(*answers, row) for row in range(len(rows))]
        if augment is not None:
            both, marks = sheets.changed(element, self.class_names, augment, times=5, seed=seed)
            return sheets.draw(both, captions, marks=marks)
        marks = [sheets.marks(*answers, row) for row in range(len(rows))]
        columns = min(4 if any(marks) else 8, len(rows))
        starts = range(0, len(rows), columns)
        pictures = [images[start : start + columns] for start in starts]
        return sheets.draw(pictures, captions, marks=marks)

    def _repr_html_(self) -> str:
        return overview.as_html(self)

    def __repr__(self) -> str:
        return overview.one_line(self)


def from_examples(
    examples: Mapping[str, pipeline.Examples],
    *,
    class_names: list[str] | dict[str, list[str]] | None,
    image_size: tuple[int, int],
    batch_size: int,
    seed: int,
    digest: str,
    files: Mapping[str, Sequence[str]] | None = None,
    notes: list[str],
    origins: Mapping[str, np.ndarray] | None = None,
    sampled: Sampled | None = None,
    groups: Mapping[str, np.ndarray] | None = None,
    shard: tuple[int, int] | None = None,
) -> Data:
    """Makes the data sets of examples that were checked and split; empty splits are left out.

    Notes which classes a held-out split lacks. Either all splits have weights or none has.

    Args:
        examples: Split to its examples.
        class_names: As for `Data`.
        image_size: As for `Data`.
        batch_size: As for `Data`.
        seed: As for `Data`.
        digest: As for `Data`.
        files: As for `Data`.
        notes: As for `Data`.
        origins: As for `Data`.
        sampled: Makes the orders of the training data from their origins; None for permutations of all of them.
        groups: As for `Data`.
        shard: As for `Data`.
    """
    examples = {
        split: examples[split] for split in SPLITS if split in examples and len(examples[split])
    }
    epochs = None
    if "train" in examples:
        epochs = pipeline.Epochs(len(examples["train"]), seed=seed)
        if sampled is not None and origins is not None:
            epochs = sampled(origins["train"])
        if shard is not None:
            epochs = pipeline.Share(epochs, *shard, batch_size=batch_size)

    levelled = encoding.level({split: part.targets for split, part in examples.items()})
    for split, targets in levelled.items():
        examples[split] = dataclasses.replace(examples[split], targets=targets)
    datasets: dict[str, tf.data.Dataset | None] = dict.fromkeys(SPLITS)
    for split, part in examples.items():
        orders = epochs if split == "train" else None
        datasets[split] = pipeline.batches(
            part, epochs=orders, size=image_size, batch_size=batch_size
        )
    weights = {split: part.weights for split, part in examples.items() if part.weights is not None}
    data = Data(
        **datasets,
        class_names=class_names,
        targets={split: part.targets for split, part in examples.items()},
        image_size=image_size,
        batch_size=batch_size,
        seed=seed,
        digest=digest,
        files=None if files is None else {split: files[split] for split in examples},
        notes=notes,
        examples=examples,
        epochs=epochs,
        weights=weights or None,
        origins=None if origins is None else {split: origins[split] for split in examples},
        sampled=sampled,
        groups=None if groups is None else {split: groups[split] for split in examples},
        shard=shard,
    )
    data._made = datasets
    if isinstance(class_names, list):
        for split in [split for split in examples if split != "train"]:
            missing = encoding.absent(
                data.targets[split], class_names, weights=examples[split].weights
            )
            if missing:
                notes.append(checks.note(f"no {split} images of {lookup.some(missing)}"))
    return data


def _remake(
    examples: Mapping[str, pipeline.Examples],
    arguments: Mapping[str, Any],
    notes: list[str],
    folder: str | None,
) -> Data:
    """Makes data of what `Data.__reduce__` returned, and prints nothing."""
    with contextlib.redirect_stdout(io.StringIO()):
        data = from_examples(examples, **arguments, notes=[])
    data.notes, data.folder = notes, folder
    return data


def _pick(by_split: Mapping[str, Any], places: Mapping[str, np.ndarray]) -> dict:
    """Returns the rows of `places` of the splits that it names, and the other splits as they are."""
    parts = dict(by_split)
    for split, rows in places.items():
        if split in parts:
            parts[split] = picking.pick(parts[split], rows)
    return parts


def _divide(by_split: Mapping[str, Any], places: Mapping[str, np.ndarray]) -> dict:
    """Returns the training part divided into the splits of `places`, beside the other parts."""
    train = by_split["train"]
    return {**by_split, **{split: picking.pick(train, rows) for split, rows in places.items()}}


def _join(by_split: Mapping[str, Any], together: Callable[[list], Any]) -> dict:
    """Returns training and validation parts as one training part, beside the test part."""
    parts = [part for split, part in by_split.items() if split != "test"]
    return {**by_split, "train": together(parts), "validation": ()}
