"""Several data sets as one: their images together, each with the labels that it has."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple  # targets are arrays or columns of files

import numpy as np

from keras_transfer.core import checks, labelled, lookup
from keras_transfer.data import base, pipeline
from keras_transfer.data.splits import numbers_of
from keras_transfer.data.targets import KINDS, encoding

__all__ = ["SAMPLINGS", "Mixture", "mix"]


def _largest(sizes: np.ndarray, temperature: float, batch_size: int) -> np.ndarray:
    return np.where(sizes > 0, sizes.max(), 0)


def _tempered(sizes: np.ndarray, temperature: float, batch_size: int) -> np.ndarray:
    # The largest set once, the others so that shares are proportional to size**(1 / temperature).
    return np.round(sizes.max() * (sizes / sizes.max()) ** (1.0 / temperature)).astype(int)


def _in_turn(sizes: np.ndarray, temperature: float, batch_size: int) -> np.ndarray:
    return np.where(sizes > 0, -(-sizes.max() // batch_size) * batch_size, 0)


# sampling: how many examples of each set an epoch has.
SAMPLINGS: dict[str, Callable[[np.ndarray, float, int], np.ndarray]] = {
    "proportional": lambda sizes, temperature, batch_size: sizes,
    "equal": _largest,
    "temperature": _tempered,
    "round_robin": _in_turn,
}


class Mixture(pipeline.Epochs):
    """The orders of a mixture: which examples of which set, again by the seed and the number of the pass only.

    Each set has a sequence of its own that never ends, one permutation of its examples after the other, and every pass
    goes on where the last one stopped: in the long run all examples of a set are seen equally often.

    Args:
        origins: The number of the set of each example.
        sampling: As for `mix`.
        temperature: As for `mix`.
        batch_size: Of the batches that the orders are cut into.
        seed: Equal seeds give equal orders.

    Attributes:
        counts: How many examples of each set a pass has.

    Example:
        >>> mixture = Mixture(np.array([0, 0, 0, 1]), sampling="equal", seed=0)
        >>> mixture.counts.tolist(), sorted(mixture.order(0).tolist())
        ([3, 3], [0, 1, 2, 3, 3, 3])
    """

    def __init__(
        self,
        origins: np.ndarray,
        *,
        sampling: str,
        temperature: float = 2.0,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        super().__init__(len(origins), seed=seed)
        self.sampling, self.batch_size = sampling, batch_size
        self.members = [
            np.flatnonzero(origins == number) for number in range(int(origins.max()) + 1)
        ]
        sizes = np.array([len(rows) for rows in self.members])
        self.counts = SAMPLINGS[sampling](sizes, temperature, batch_size)
        self.length = int(self.counts.sum())
        self.rule = (sampling, temperature) if sampling == "temperature" else (sampling,)

    def order(self, epoch: int) -> np.ndarray:
        """The indices of the examples of pass number `epoch`."""
        if self.sampling == "proportional":
            return super().order(epoch)
        parts = [
            self._stretch(number, epoch * count, count)
            for number, count in enumerate(self.counts)
            if count
        ]
        if self.sampling == "round_robin":
            return np.stack([part.reshape(-1, self.batch_size) for part in parts], axis=1).reshape(
                -1
            )
        return np.concatenate(parts)[
            np.random.default_rng((self.seed, epoch)).permutation(self.length)
        ]

    def _stretch(self, number: int, start: int, count: int) -> np.ndarray:
        """Returns `count` indices of a set's endless sequence, from position `start` on."""
        rows = self.members[number]
        first, last = start // len(rows), (start + count - 1) // len(rows)
        # + 1: NumPy takes (seed, number, 0) for (seed, number), which `order` uses to shuffle all sets together.
        passes = [
            np.random.default_rng((self.seed, number, at + 1)).permutation(len(rows))
            for at in range(first, last + 1)
        ]
        begin = start - first * len(rows)
        return rows[np.concatenate(passes)[begin : begin + count]].astype(np.int64)


def mix(
    sets: Mapping[str, base.Data],
    *,
    sampling: str = "proportional",
    temperature: float = 2.0,
    seed: int = 0,
    batch_size: int | None = None,
) -> base.Data:
    """Makes one of several data sets that have other images and other labels.

    Every example has all targets; those of other sets are missing, with weight 0. A set with one unnamed target gives
    it the set's name; targets that have names keep them, and those of equal names are one target. Splits stay what
    they were: the training images of all sets are mixed, validation and test images come one set after the other.

    Args:
        sets: Data from `kt.data` by name, with images of one size. All are in memory, or all are read from files.
        sampling: What an epoch has: "proportional", every example once; "equal", as many examples of each set as the
            largest has; "temperature", the largest set once and of the others so many that shares are proportional to
            `size ** (1 / temperature)`; all three shuffled together. "round_robin": batches of one set each, in turn,
            and full, as many of each set as the largest needs. Of a set that is too small, or whose examples fill no
            batch, the next pass begins, with a new order.
        temperature: For "temperature", at least 1, which is "proportional"; large ones come close to "equal".
        seed: Of the orders; splits are those of the sets.
        batch_size: Images in a batch; by default that of the sets.

    Returns:
        Data whose targets are dicts. `origins` says by split which set each example comes from.

    Raises:
        InputError: If the sets do not fit each other.

    Example:
        >>> draw = np.random.default_rng(0)
        >>> pixels = draw.integers(0, 256, (15, 8, 8, 3), np.uint8)
        >>> import keras_transfer as kt
        >>> pets = kt.data.from_arrays(pixels[:10], ["cat", "dog"] * 5)
        >>> faces = kt.data.from_arrays(pixels[10:], np.arange(5.0) / 2)
        >>> mix({"pets": pets, "faces": faces})
        keras_transfer: an epoch has 12 training images (proportional): 8 of the 8 of 'pets', 4 of the 4 of 'faces'
        Data(train=12, validation=3, pets=2 classes, missing=15, image_size=8x8, batch_size=32)
    """
    sets = _check_sets(sets)
    lookup.find(sampling, SAMPLINGS, argument="sampling")
    temperature = checks.number(temperature, name="temperature", minimum=1)
    seed = checks.integer(seed, name="seed", minimum=0)
    batch_size = _batch_size(sets, batch_size)
    merged = _merge_targets(sets)
    splits = _splits(sets, merged)
    origins, examples = {}, {}
    for split, parts in splits.items():
        sizes = [len(part) for part in parts.values()]
        origins[split] = np.repeat(list(parts), sizes)
        examples[split] = pipeline.together(list(parts.values()))

    class_names = {
        name: target.names for name, target in merged.items() if target.names is not None
    } or None
    fix = "Give the set that has it a training part."
    lacking = encoding.check_present(
        examples["train"].targets, class_names, weights=examples["train"].weights, fix=fix
    )
    sampled = functools.partial(
        Mixture, sampling=sampling, temperature=temperature, batch_size=batch_size, seed=seed
    )
    notes = [f"{name}: {note}" for name, data in sets.items() for note in data.notes]
    notes += lacking + _note_shares(sets, sampled(origins["train"]), splits)
    return base.from_examples(
        examples,
        class_names=class_names,
        image_size=next(iter(sets.values())).image_size,
        batch_size=batch_size,
        seed=seed,
        digest=_digest(sets),
        files=_files(sets, list(examples)),
        notes=notes,
        origins=origins,
        sampled=sampled,
        groups=_groups(sets, splits),
    )


class _Target(NamedTuple):
    """What the sets that have a target must agree on: `like` has no row, but the form of all."""

    like: Any
    names: list[str] | None

    @property
    def kind(self) -> ModuleType:
        return encoding.kind_of(self.like, self.names)

    def describe(self) -> str:
        return self.kind.describe(self.like, self.names)

    def agrees(self, other: "_Target") -> bool:
        """Whether both can be one target; the number of boxes may differ."""
        if self.kind is not other.kind or self.names != other.names:
            return False
        is_one_type = self.like.dtype == other.like.dtype
        if self.kind is KINDS["boxes"]:
            return is_one_type
        return is_one_type and self.like.shape[1:] == other.like.shape[1:]

    def empty(self, count: int) -> Any:
        """Place-holders for examples without a label."""
        return self.kind.blank(self.like, count)


def _check_sets(sets: object) -> dict[str, base.Data]:
    if (
        not isinstance(sets, Mapping)
        or len(sets) < 2
        or not all(isinstance(name, str) and name for name in sets)
    ):
        raise checks.error(
            "`sets` must be a dict of two or more data sets by name", given=repr(sets)
        )
    for name, data in sets.items():
        if not isinstance(data, base.Data) or not data.is_own:
            given = f"{name!r}, {type(data).__name__}"
            given += " whose batches were replaced" if isinstance(data, base.Data) else ""
            raise checks.error("`sets` must hold data as `kt.data` returns it", given=given)
    if not any("train" in data.examples for data in sets.values()):
        raise checks.error("`sets` must have training images", given="none")
    for what, of, fix in (
        (
            "image size",
            lambda data: "x".join(map(str, data.image_size)),
            "Set `image_size` where the data is made.",
        ),
        (
            "number of channels",
            lambda data: data.channels,
            "Set `channels` where the data is made.",
        ),
        (
            "place of images, all in memory or all in files",
            lambda data: "memory" if data.is_cached else "files",
            'Set `cache="memory"` or `cache="off"` where the data is made.',
        ),
    ):
        values = {name: of(data) for name, data in sets.items()}
        if len(set(values.values())) > 1:
            given = ", ".join(f"{value} of {name!r}" for name, value in values.items())
            raise checks.error(f"`sets` must have one {what}", given=given, fix=fix)
    return dict(sets)


def _batch_size(sets: Mapping[str, base.Data], asked: int | None) -> int:
    if asked is not None:
        return checks.integer(asked, name="batch_size")
    sizes = {name: data.batch_size for name, data in sets.items()}
    if len(set(sizes.values())) > 1:
        given = ", ".join(f"{size} of {name!r}" for name, size in sizes.items())
        raise checks.error("`batch_size` must be given where that of the sets differs", given=given)
    return next(iter(sizes.values()))


def _merge_targets(sets: Mapping[str, base.Data]) -> dict[str, _Target]:
    """Returns all targets by name; sets that have one of the same name must agree on it."""
    merged: dict[str, tuple[str, _Target]] = {}
    for name, data in sets.items():
        names = labelled.by_task(data.class_names, name) if data.class_names is not None else {}
        for key, values in labelled.by_task(next(iter(data.targets.values())), name).items():
            target = _Target(values[:0], names.get(key))
            other, expected = merged.setdefault(key, (name, target))
            if not target.agrees(expected):
                raise checks.error(
                    f"the sets must agree on the target {key!r}",
                    given=f"{expected.describe()} in {other!r}, {target.describe()} in {name!r}",
                    fix="Give one of them another name where the data is made, or both the same `class_names`.",
                )
    return {key: target for key, (_, target) in merged.items()}


def _splits(
    sets: Mapping[str, base.Data], merged: Mapping[str, _Target]
) -> dict[str, dict[int, pipeline.Examples]]:
    """Returns, by split and number of the set, examples with all targets and one tensor of pixels."""
    places, parts = [], []
    for split in base.SPLITS:
        for number, (name, data) in enumerate(sets.items()):
            if split in data.examples:
                places.append((split, number))
                parts.append(_add_targets(data.examples[split], name, merged))

    if all(np.all(column) for part in parts for column in part.weights.values()):
        parts = [dataclasses.replace(part, weights=None) for part in parts]
    splits: dict[str, dict[int, pipeline.Examples]] = {}
    for (split, number), part in zip(places, pipeline.on_one_tensor(parts), strict=True):
        splits.setdefault(split, {})[number] = part
    return splits


def _add_targets(
    examples: pipeline.Examples, name: str, merged: Mapping[str, _Target]
) -> pipeline.Examples:
    """Returns the examples of a set with those targets too that only other sets have."""
    count = len(examples)
    own_targets = labelled.by_task(examples.targets, name)
    own_weights = {} if examples.weights is None else labelled.by_task(examples.weights, name)
    targets, weights = {}, {}
    for key, target in merged.items():
        targets[key] = own_targets.get(key, target.empty(count))
        weights[key] = own_weights.get(key, np.full(count, key in own_targets, np.float32))
    return pipeline.Examples(examples.pixels, examples.rows, targets, examples.channels, weights)


def _note_shares(sets: Mapping[str, base.Data], mixture: Mixture, splits: Mapping) -> list[str]:
    """Notes how many images of each set an epoch has, and which sets a split lacks."""
    shares = ", ".join(
        f"{count} of the {len(rows)} of {name!r}"
        for name, rows, count in zip(sets, mixture.members, mixture.counts, strict=False)
        if count
    )
    text = f"an epoch has {mixture.length} training images ({mixture.sampling}): {shares}"
    notes = [checks.note(text)]
    for split, parts in splits.items():
        absent = [name for number, name in enumerate(sets) if number not in parts]
        if absent:
            notes.append(checks.note(f"no {split} images of {lookup.some(absent)}"))
    return notes


def _digest(sets: Mapping[str, base.Data]) -> str:
    parts = [(name, data.digest, data.seed) for name, data in sets.items()]
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def _groups(
    sets: Mapping[str, base.Data], splits: Mapping[str, Mapping[int, pipeline.Examples]]
) -> dict[str, np.ndarray] | None:
    """Returns a number for each example, as of `Data.groups`; none of one set are those of another."""
    if not any(data.groups for data in sets.values()):
        return None
    names = list(sets)
    result: dict[str, np.ndarray] = {}
    for split, parts in splits.items():
        columns = []
        for number, part in parts.items():
            own = sets[names[number]].groups
            each = [f"{split} {row}" for row in range(len(part))] if own is None else own[split]
            columns.append(numbers_of([f"{names[number]}\0{group}" for group in each]))
        result[split] = np.concatenate(columns)
    return result


def _files(sets: Mapping[str, base.Data], splits: Sequence[str]) -> dict[str, list[str]] | None:
    """Returns the image files of each split, or None if a set has none."""
    by_set = [data.files for data in sets.values() if data.files is not None]
    if len(by_set) < len(sets):
        return None
    result: dict[str, list[str]] = {}
    for split in splits:
        result[split] = [file for files in by_set for file in files.get(split, [])]
    return result
