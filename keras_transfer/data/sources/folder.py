"""Images from a folder that has one subfolder for each class."""

import hashlib
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_transfer.core import checks, lookup
from keras_transfer.data import base, pipeline, splits
from keras_transfer.data.sources import decoding
from keras_transfer.data.targets import encoding
from keras_transfer.machine import memory
from keras_transfer.storage import images, listing

__all__ = ["from_folder", "labelled_folder"]

VALIDATION = 0.2  # the share by default


def from_folder(
    path: str | os.PathLike,
    *,
    test: float | str | os.PathLike | None = None,
    image_size: int | tuple[int, int] = 224,
    channels: int = 3,
    batch_size: int = 32,
    validation: float | str | os.PathLike | None = VALIDATION,
    seed: int = 0,
    corrupt: str = "error",
    cache: str = "auto",
) -> base.Data:
    """Reads a folder of images, one subfolder for each class; or such folders of its own for each split.

    Images are JPEG, PNG, WebP, BMP or GIF at any depth below the folder of their class; hidden files are ignored.
    Each is decoded once and kept in memory as uint8 when all of them take up no more than a quarter of what is free;
    otherwise they are checked once and decoded in every pass. Files of the same content stay in one split.

    A folder that holds "train" ("training") and may hold "val" ("valid", "validation") and "test" ("testing"), with the
    class folders in each, is read as these say; a line tells what was taken.

    Args:
        path: The folder; the names of its subfolders, sorted, are the classes.
        test: Share of the images to hold out for testing, or a folder of the same layout; by default the folder "test"
            beside "train", if there is one.
        image_size: Height and width, or one number for both.
        channels: 3 for RGB, transparency put over white; 1 for its luminance; 4 for RGB and alpha. The same number goes
            to `kt.backbone(..., channels=)`.
        batch_size: Images in a batch.
        validation: Share of the images to hold out for validation, or a folder; by default the folder "val" beside
            "train", else 0.2.
        seed: Equal seeds give equal splits and orders.
        corrupt: "error" refuses folders with files that cannot be read, "skip" leaves these files out; both name them.
        cache: "memory" keeps decoded images whatever they take up, "off" never does, "auto" decides.

    Returns:
        The batches, class names and all that was decided.

    Raises:
        InputError: If the folder holds no two classes with images, files cannot be read, or splits share files.

    Example:
        >>> import pathlib, tempfile
        >>> import tensorflow as tf
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        ...     (root / name).parent.mkdir(exist_ok=True)
        ...     pixels = np.full((9, 9, 3), len(list(root.rglob("*"))), np.uint8)
        ...     _ = (root / name).write_bytes(tf.io.encode_png(pixels).numpy())
        >>> from_folder(root, image_size=8, validation=0.5)
        keras_transfer: 4 images are resized to 8x8 pixels and kept in memory (0.0 MB)
        Data(train=2, validation=2, classes=2, image_size=8x8, batch_size=32)
    """
    size = checks.image_size(image_size)
    batch_size = checks.integer(batch_size, name="batch_size")
    seed = checks.integer(seed, name="seed", minimum=0)
    _check_options(channels, corrupt, cache)
    root, held, notes = _use_split_folders(
        listing.folder_of(path, "path"), {"test": test, "validation": validation}
    )
    folders: dict[str, str | os.PathLike] = {}
    shares: dict[str, float] = {}
    for name, value in held.items():
        if isinstance(value, (str, os.PathLike)):
            folders[name] = value
        elif value is not None:
            shares[name] = value
    shares = splits.check_shares(shares)

    class_names, found = listing.list_classes(root)
    sources = {"train": found}
    for name, folder in folders.items():
        sources[name] = listing.list_files(listing.folder_of(folder, name), class_names, name=name)

    sources, examples, digests, more = _read(sources, size, channels, corrupt, cache)
    notes += more
    lost = encoding.absent(sources["train"].ids, class_names)
    if lost:
        raise checks.error(
            "every class must have a readable image",
            given=f"none of {lookup.some(lost)}",
            fix="Repair or remove it.",
        )
    _check_disjoint(sources, digests)

    parts = _split_main_folder(sources["train"], digests["train"], shares, seed, notes)
    split_examples = {split: examples["train"].pick(rows) for split, rows in parts.items()}
    split_files = {}
    for split, rows in parts.items():
        split_files[split] = [str(sources["train"].paths[row]) for row in rows]
    for split in list(sources)[1:]:  # read from folders of their own
        split_examples[split] = examples[split]
        split_files[split] = list(map(str, sources[split].paths))
    data = base.from_examples(
        split_examples,
        class_names=class_names,
        image_size=size,
        batch_size=batch_size,
        seed=seed,
        digest=_digest(sources, digests),
        files=split_files,
        notes=notes,
    )
    data.folder = str(path)
    return data


def labelled_folder(
    path: str | os.PathLike,
    class_names: Sequence[str],
    *,
    image_size: int | tuple[int, int] = 224,
    channels: int = 3,
    batch_size: int = 32,
    corrupt: str = "error",
    cache: str = "auto",
) -> base.Data:
    """Reads a folder of images to measure a trained model on; it is the test split of the result, the only one.

    Args:
        path: One subfolder of images for each class; classes may be absent.
        class_names: The model's class names, in its order.
        image_size: As for `from_folder`.
        channels: As for `from_folder`.
        batch_size: As for `from_folder`.
        corrupt: As for `from_folder`.
        cache: As for `from_folder`.

    Raises:
        InputError: If a subfolder is no class of the model, or files cannot be read.

    Example:
        >>> labelled_folder("absent", ["cat", "dog"])
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `path` must be a folder that exists. Given: 'absent'. Check the path.
    """
    size = checks.image_size(image_size)
    _check_options(channels, corrupt, cache)
    folder = listing.folder_of(path, "path")
    notes = []
    folders = listing.find_splits(folder)
    if folders:
        if "test" not in folders:
            expected = "`path` must hold class folders"
            given = f"splits without 'test' in '{folder}'"
            fix = f"Give one of the splits, such as '{folders['train']}'."
            raise checks.error(expected, given=given, fix=fix)
        folder = folders["test"]
        line = f"'{path}' is split already: the images are those in {folder.name!r}"
        notes.append(checks.note(line))
    sources = {"test": listing.list_files(folder, list(class_names), name="path")}
    sources, examples, digests, more = _read(sources, size, channels, corrupt, cache)
    notes += more
    if not len(examples["test"]):
        raise checks.error(
            "`path` must hold a readable image", given=f"none in '{path}'", fix="Repair them."
        )
    data = base.from_examples(
        examples,
        class_names=list(class_names),
        image_size=size,
        batch_size=checks.integer(batch_size, name="batch_size"),
        seed=0,
        digest=_digest(sources, digests),
        files={"test": [str(file) for file in sources["test"].paths]},
        notes=notes,
    )
    data.folder = str(path)
    return data


def _use_split_folders(root: Path, held: Mapping[str, Any]) -> tuple[Path, dict, list[str]]:
    """Replaces what was left to the defaults by the folders of splits in `root`, if it holds any.

    Args:
        root: The user's folder.
        held: The arguments `test` and `validation`.

    Returns:
        The folder to train on, `held`, and a line about them.
    """
    folders = listing.find_splits(root)
    if not folders:
        return root, dict(held), []
    defaults = {"test": None, "validation": VALIDATION}
    chosen = dict(held)
    uses, unused = [f"training images from {folders['train'].name!r}"], []
    for split in ("validation", "test"):
        if split not in folders:
            continue
        if held[split] == defaults[split]:
            chosen[split] = folders[split]
            uses.append(f"{split} images from {folders[split].name!r}")
        else:
            unused.append(f"; {folders[split].name!r} is not used, as `{split}` was given")
    line = checks.note(f"'{root}' is split already: {', '.join(uses)}{''.join(unused)}")
    return folders["train"], chosen, [line]


def _check_options(channels: int, corrupt: str, cache: str) -> None:
    checks.choice(channels, images.CHANNELS, name="channels")
    checks.choice(corrupt, ("error", "skip"), name="corrupt")
    checks.choice(cache, ("auto", "memory", "off"), name="cache")


def _notes_on_others(sources: Mapping[str, listing.Listing]) -> list[str]:
    return [
        checks.note(
            f"ignored {_files(source.others)} in '{source.root}' that lie in no class folder or do not end as images do"
        )
        for source in sources.values()
        if source.others
    ]


def _choose_to_keep(
    count: int, size: tuple[int, int], channels: int, cache: str, notes: list[str]
) -> bool:
    """Decides whether decoded images are kept in memory, and notes why."""
    needed, free = count * size[0] * size[1] * channels, memory.free_memory()
    keep = cache == "memory" or (cache == "auto" and needed <= free / 4)
    what = f"{count} images are resized to {size[0]}x{size[1]} pixels"
    if keep:
        notes.append(checks.note(f"{what} and kept in memory ({needed / 1e6:.1f} MB)"))
    elif cache == "off":
        notes.append(checks.note(f"{what}, from their files in every epoch (cache='off')"))
    else:
        shares = f"{needed / 1e9:.1f} GB of {free / 1e9:.1f} GB that are free"
        notes.append(
            checks.note(
                f"{what}, from their files in every epoch: they would take up too much memory ({shares})"
            )
        )
    return keep


def _read(
    sources: dict[str, listing.Listing],
    size: tuple[int, int],
    channels: int,
    corrupt: str,
    cache: str,
) -> tuple[
    dict[str, listing.Listing], dict[str, pipeline.Examples], dict[str, list[str]], list[str]
]:
    """Reads every file once.

    Returns:
        By split the readable files, their examples and the hashes of their content; and notes on what was decided.
    """
    notes = _notes_on_others(sources)
    paths = [path for source in sources.values() for path in source.paths]
    keep = _choose_to_keep(len(paths), size, channels, cache, notes)
    decoded = decoding.decode_files(paths, size, channels=channels, keep=keep)
    if decoded.failures:
        roots = {path: source.root for source in sources.values() for path in source.paths}
        # The shortest path that is clear: of several folders with their names, or in full where two names are equal.
        is_single = len(sources) == 1
        is_ambiguous = len({source.root.name for source in sources.values()}) < len(sources)
        reasons = {}
        for at, why in decoded.failures.items():
            shown = path = paths[at]
            if not is_ambiguous:
                root = roots[path] if is_single else roots[path].parent
                shown = path.relative_to(root)
            reasons[shown.as_posix()] = why
        if corrupt == "error":
            fix = 'Repair or remove them, or leave them out with `corrupt="skip"`.'
            raise decoding.unreadable(reasons, len(paths), fix=fix)
        notes.append(
            checks.note(
                f"skipped {_files(len(reasons), 'unreadable ')}: {decoding.listing(reasons, 20)}"
            )
        )
    tensor = pipeline.on_cpu(
        decoded.pixels if keep else np.array([os.fsencode(path) for path in paths], object)
    )
    kept, examples, digests, start = {}, {}, {}, 0
    for name, source in sources.items():
        rows = np.array(
            [at for at in range(len(source.paths)) if start + at not in decoded.failures], np.int64
        )
        kept[name] = source.pick(rows)
        examples[name] = pipeline.Examples(tensor, rows + start, kept[name].ids, channels)
        digests[name] = [decoded.digests[start + row] for row in rows]
        start += len(source.paths)
    return kept, examples, digests, notes


def _check_disjoint(
    sources: Mapping[str, listing.Listing], digests: Mapping[str, list[str]]
) -> None:
    """Raises an error if two folders hold files of the same content."""
    for first, second in itertools.combinations(sources, 2):
        where = dict(zip(digests[first], sources[first].paths, strict=True))
        pairs = [
            f"{where[digest]} = {path}"
            for digest, path in zip(digests[second], sources[second].paths, strict=True)
            if digest in where
        ]
        if pairs:
            more = f" and {len(pairs) - 3} more" if len(pairs) > 3 else ""
            raise checks.error(
                f"{first} and {second} share {_files(len(pairs))}; they must share none",
                given=", ".join(pairs[:3]) + more,
                fix="Remove them from one of the folders: known images would be measured.",
            )


def _split_main_folder(
    source: listing.Listing,
    digests: list[str],
    shares: Mapping[str, float],
    seed: int,
    notes: list[str],
) -> dict[str, np.ndarray]:
    """Returns, by split, the rows of the main folder's files; files of equal content come into one split."""
    _, groups, counts = np.unique(digests, return_inverse=True, return_counts=True)
    copies = int((counts - 1).sum())
    if copies:
        text = "1 file is a copy" if copies == 1 else f"{copies} files are copies"
        notes.append(
            checks.note(f"{text} of others in '{source.root}'; copies stay together, in one split")
        )
        mixed = [
            group
            for group in np.flatnonzero(counts > 1)
            if len(set(source.ids[groups == group])) > 1
        ]
        if mixed:
            names = np.array(source.names())[groups == mixed[0]]
            one = "1 image has copies" if len(mixed) == 1 else f"{len(mixed)} images have copies"
            text = f"{one} in several classes, such as {', '.join(names)}: all are trained on"
            notes.append(checks.note(text))
    parts = splits.assign(source.ids, shares, seed=seed, groups=groups)
    notes += splits.note_empty(parts, shares)
    return parts


def _digest(sources: Mapping[str, listing.Listing], digests: Mapping[str, list[str]]) -> str:
    result = hashlib.blake2b(digest_size=16)
    for name, source in sources.items():
        for path, digest, label in zip(source.names(), digests[name], source.ids, strict=True):
            result.update(f"{name}\0{path}\0{digest}\0{label}\n".encode(errors="surrogateescape"))
    return result.hexdigest()


def _files(count: int, kind: str = "") -> str:
    return f"1 {kind}file" if count == 1 else f"{count} {kind}files"
