"""Builders of tensorflow-datasets: which one a name means, whether it is prepared, and which parts of it are read."""

import os
import re
from collections.abc import Mapping
from typing import Any  # tensorflow-datasets has no types

from google.protobuf import json_format

from keras_transfer.core import checks, lookup, optional
from keras_transfer.storage import listing

__all__ = [
    "FAILURES",
    "VALIDATION",
    "check_apart",
    "choose_parts",
    "find",
    "prepare",
    "require",
    "stretches",
]

VALIDATION = 0.2  # the share by default
# What tensorflow-datasets raises for names, versions and files that cannot be.
FAILURES = (
    AssertionError, ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError, json_format.Error,
)  # fmt: skip


def require() -> Any:
    """Imports tensorflow-datasets, or raises an error that names it."""
    return optional.require("tensorflow_datasets", purpose="Reading a set of tensorflow-datasets")


def find(name: Any, data_dir: str | os.PathLike | None) -> Any:
    """Returns the builder that a user's `name` means."""
    if hasattr(name, "as_dataset") and hasattr(name, "info"):
        if data_dir is not None:
            fix = "A builder knows its folder."
            raise checks.error(
                "`data_dir` must not be given with a builder", given=data_dir, fix=fix
            )
        return name
    if not isinstance(name, str) or not name:
        raise checks.error("`name` must be the name of a set, or a builder", given=repr(name))
    if re.match(r"\w+:[^\d*]", name):
        fix = "Load other collections with their own library, and give kt.data.from_arrays what they hold."
        raise checks.error(
            "`name` must be a set of tensorflow-datasets itself", given=repr(name), fix=fix
        )
    tfds = require()
    folder = None if data_dir is None else os.path.expanduser(os.fspath(data_dir))
    try:
        return tfds.builder(name, data_dir=folder)
    except tfds.core.DatasetNotFoundError as problem:
        known = tfds.list_builders(with_community_datasets=False)
        fix = lookup.hint(re.split("[/:]", name)[0], known)
        raise checks.error(
            "`name` must be a set of tensorflow-datasets", given=repr(name), fix=fix
        ) from problem
    except FAILURES as problem:
        reason = re.sub(r"^Failed to construct dataset.*?}\": ", "", checks.first_line(problem))
        raise checks.error(
            "`name` must be a set that can be read", given=f"{name!r} ({reason})"
        ) from problem


def prepare(builder: Any, download: bool) -> None:
    """Downloads and prepares a set that is not there, or raises an error that says where it was looked for."""
    if builder.is_prepared():
        return
    full_name, folder = builder.info.full_name, os.fspath(builder.data_dir)
    fix = "Prepare it where there is a network (from_tfds with `download=True`), and give that folder as `data_dir`."
    if not download:
        raise checks.error(
            f"`{full_name}` must be prepared where nothing is downloaded",
            given=f"no files in '{folder}'",
            fix=fix,
        )
    util = optional.require("tensorflow_datasets.core.download.util", purpose="Downloading a set")
    manager = optional.require(
        "tensorflow_datasets.core.download.download_manager", purpose="Downloading a set"
    )
    failures = (*FAILURES, util.DownloadError, manager.NonMatchingChecksumError)
    checks.note(f"downloading and preparing {full_name} in '{folder}'")
    try:
        builder.download_and_prepare()
    except failures as problem:
        raise checks.error(
            f"`{full_name}` must be prepared, or there must be a network to download it",
            given=f"no files in '{folder}', and {type(problem).__name__}: {checks.first_line(problem)}",
            fix=fix,
        ) from problem


def choose_parts(
    builder: Any, train: str, held: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, float], list[str]]:
    """Returns the parts of a set that are read, the shares that are taken of training images, and a line about them."""
    own = {listing.SPLIT_NAMES.get(name.lower(), ""): name for name in builder.info.splits}
    specs = {"train": _check_spec(builder, train, "train")}
    shares: dict[str, float] = {}
    defaults = {"validation": VALIDATION, "test": None}
    texts = [f"training images from {train!r}"]
    for split, value in held.items():
        is_default = value == defaults[split]
        if is_default and split in own and not _overlap(builder, train, own[split]):
            specs[split] = own[split]
        elif isinstance(value, str):
            specs[split] = _check_spec(builder, value, split)
        elif value is not None:
            shares[split] = value
        if split in specs:
            texts.append(f"{split} images from {specs[split]!r}")
    return specs, shares, [checks.note(f"{builder.info.full_name}: {', '.join(texts)}")]


def _check_spec(builder: Any, spec: Any, argument: str) -> str:
    """Returns a part of a set's splits if it can be one."""
    names = list(builder.info.splits)
    if not isinstance(spec, str):
        expected = f"`{argument}` must be a split, such as 'train[:80%]'"
        raise checks.error(expected, given=repr(spec))
    if not names:  # a made-up set that does not say
        return spec
    try:
        count = sum(last - first for _, first, last in stretches(builder, spec))
    except FAILURES as problem:
        fix = f"The set has {lookup.some(names, most=12)}; a part of one is 'train[:80%]'."
        raise checks.error(
            f"`{argument}` must be a split of {builder.info.full_name}", given=repr(spec), fix=fix
        ) from problem
    if not count:
        raise checks.error(f"`{argument}` must hold images", given=f"none in {spec!r}")
    return spec


def stretches(builder: Any, spec: str) -> list[tuple[str, int, int]]:
    """Returns the splits that a part is made of, each with its first place and the one after its last."""
    tfds = require()
    own = builder.info.splits
    stretches = []
    for part in tfds.core.ReadInstruction.from_spec(spec).to_absolute(own):
        last = own[part.splitname].num_examples if part.to is None else part.to
        stretches.append((part.splitname, part.from_ or 0, last))
    return stretches


def _overlap(builder: Any, first: str, second: str) -> bool:
    """Returns whether two parts share images."""
    if not len(builder.info.splits):
        return False
    for name, start, end in stretches(builder, first):
        for other, other_start, other_end in stretches(builder, second):
            if name == other and max(start, other_start) < min(end, other_end):
                return True
    return False


def check_apart(builder: Any, specs: Mapping[str, str]) -> None:
    """Raises an error if two splits are to hold the same images."""
    names = list(specs)
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            if _overlap(builder, specs[first], specs[second]):
                given = f"{specs[first]!r} and {specs[second]!r}"
                fix = "Known images would be measured: give parts that do not overlap."
                raise checks.error(
                    f"`{first}` and `{second}` must share no images", given=given, fix=fix
                )
