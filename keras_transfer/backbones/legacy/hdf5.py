"""Reading HDF5 files of Keras 1, 2 and 3 as data that nobody vouches for.

Only what lies in the file itself is read: links to other files, data kept outside and virtual data
sets are refused, and an array is read after its shape was found right, never before.
"""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import h5py
import numpy as np

from keras_transfer.core import checks

__all__ = [
    "Layer",
    "Origin",
    "Saved",
    "attribute",
    "layers",
    "layers_named",
    "opened",
    "origin",
    "part",
]

# What h5py raises when bytes inside a file are not what they should be.
_DAMAGED = (OSError, KeyError, RuntimeError, ValueError, TypeError)


class Saved(NamedTuple):
    """One array of a file."""

    name: str
    shape: tuple[int, ...]
    data: h5py.Dataset

    def read(self) -> np.ndarray:
        """Reads it; the file must still be open."""
        with _whole(self.data):
            return np.asarray(self.data[()])


class Layer(NamedTuple):
    """The arrays of one layer, or of one nested model, in the order of the file."""

    name: str
    weights: list[Saved]


class Origin(NamedTuple):
    """Who wrote a file."""

    keras: int
    """Major version; Keras 1 says nothing."""
    backend: str | None


@contextlib.contextmanager
def opened(path: str | os.PathLike, *, argument: str) -> Iterator[h5py.File]:
    """Opens an HDF5 file for reading, or raises an error that says what is wrong with it.

    Example:
        >>> with opened("absent.h5", argument="source"):
        ...     pass
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `source` must be an existing HDF5 file. Given: 'absent.h5'.
    """
    file = pathlib.Path(path).expanduser()
    if not file.is_file():
        raise checks.error(f"`{argument}` must be an existing HDF5 file", given=repr(str(path)))
    try:
        handle = h5py.File(file, "r")
    except OSError as refused:
        raise _damaged(argument, str(path), refused) from refused
    with handle:
        yield handle


def attribute(group: h5py.Group, name: str) -> str | None:
    """Returns a text attribute, None where there is none."""
    with _whole(group):
        value = group.attrs.get(name)
        return None if value is None else _text(value)


def part(group: h5py.Group, name: str) -> h5py.Group | None:
    """Returns the group `name` within `group`, None where there is none.

    Raises:
        InputError: If it lies outside of the file.
    """
    with _whole(group):
        present = name in group
    return _member(group, name, h5py.Group) if present else None


def origin(group: h5py.Group) -> Origin:
    """Returns who wrote the weights in `group`; a version that is no number counts as 2, none as 1."""
    version = attribute(group, "keras_version")
    number = re.match(r"\d+", version or "")
    return Origin(
        int(number[0]) if number else 1 if version is None else 2, attribute(group, "backend")
    )


def layers(group: h5py.Group) -> list[Layer] | None:
    """Returns the layers of `group` that have weights, in the order of the file; None without a list of layers.

    Raises:
        InputError: If the list names something that is not in the file, or that lies outside of it.
    """
    names = _texts(group, "layer_names")
    if names is None:
        return None
    return layers_named(group, names)


def layers_named(group: h5py.Group, names: Sequence[str]) -> list[Layer]:
    """Returns those of the layers called `names` that have weights."""
    found = []
    for name in names:
        member = _member(group, name, h5py.Group)
        weights = [
            (one, _member(member, one, h5py.Dataset))
            for one in _texts(member, "weight_names") or []
        ]
        if weights:
            found.append(Layer(name, [Saved(one, data.shape, data) for one, data in weights]))
    return found


def _texts(group: h5py.Group, name: str) -> list[str] | None:
    """A list of texts; where it is longer than an attribute may be, Keras numbers the pieces."""
    with _whole(group):
        pieces = (
            [name] if name in group.attrs else [f"{name}{at}" for at in range(len(group.attrs))]
        )
        present = [piece for piece in pieces if piece in group.attrs]
        return (
            [_text(text) for piece in present for text in group.attrs[piece]] if present else None
        )


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"a text was expected, not {type(value).__name__}")


def _member(group: h5py.Group, name: str, kind: type) -> h5py.Group | h5py.Dataset:
    """What `name` (with slashes: a path) stands for within `group`, provided that the file itself holds it."""
    found = group
    for step in filter(None, name.split("/")):
        with _whole(group):
            link = found.get(step, getlink=True) if isinstance(found, h5py.Group) else None
            inside = isinstance(link, h5py.HardLink)
            found = found[step] if inside else None
        if not inside:
            raise checks.error(
                "an HDF5 file must hold all that it lists",
                given=f"{name!r} in {group.file.filename!r} is {_whereabouts(link)}",
            )
    if not isinstance(found, kind):
        raise checks.error(
            f"{name!r} in an HDF5 file must be a {kind.__name__.lower()}",
            given=f"a {type(found).__name__.lower()} in {group.file.filename!r}",
        )
    if kind is h5py.Dataset:
        _check_array(found, name)
    return found


def _whereabouts(link: object) -> str:
    return (
        "not there"
        if link is None
        else f"a link to {getattr(link, 'filename', None) or getattr(link, 'path', '')!r}"
    )


def _check_array(data: h5py.Dataset, name: str) -> None:
    with _whole(data):
        outside, kind = bool(data.external) or data.is_virtual, data.dtype.kind
    if outside or kind not in "fiu":
        what = "kept in another file" if outside else f"of type {data.dtype}"
        raise checks.error(
            "weights in an HDF5 file must be numbers in the file itself",
            given=f"{name!r} in {data.file.filename!r} is {what}",
        )


@contextlib.contextmanager
def _whole(of: h5py.Group | h5py.Dataset) -> Iterator[None]:
    """Turns what h5py raises on damaged bytes into an error that names the file."""
    try:
        yield
    except _DAMAGED as broken:
        raise _damaged("path", of.file.filename, broken) from broken


def _damaged(argument: str, path: str, reason: Exception) -> checks.InputError:
    text = (str(reason).strip("'\"") or type(reason).__name__).splitlines()[0]
    return checks.error(
        f"`{argument}` must be a whole HDF5 file",
        given=f"{path!r} ({text})",
        fix="Copy or download it again.",
    )
