"""Reads HDF5 files of Keras 1, 2 and 3 from anybody.

Only data in the file itself is read: links to other files, external data and virtual data sets are refused. No array
is read before its shape has been checked.
"""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

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
    "open_file",
    "origin",
    "part",
]

# Raised by h5py for damaged bytes in a file.
_DAMAGED = (OSError, KeyError, RuntimeError, ValueError, TypeError)


class Saved(NamedTuple):
    """One array of a file."""

    name: str
    shape: tuple[int, ...]
    data: h5py.Dataset

    def read(self) -> np.ndarray:
        """Reads it; the file must still be open."""
        with _reading(self.data):
            return np.asarray(self.data[()])


class Layer(NamedTuple):
    """The arrays of a layer or nested model, in the order of the file."""

    name: str
    weights: list[Saved]


class Origin(NamedTuple):
    """The Keras that wrote a file."""

    keras: int
    """Major version."""
    backend: str | None


@contextlib.contextmanager
def open_file(path: str | os.PathLike, *, argument: str) -> Iterator[h5py.File]:
    """Opens an HDF5 file for reading.

    Raises:
        InputError: If there is no such file, or it is no HDF5 file.

    Example:
        >>> with open_file("absent.h5", argument="source"):
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
    """Returns a text attribute, None if there is none."""
    with _reading(group):
        value = group.attrs.get(name)
        return None if value is None else _text(value)


def part(group: h5py.Group, name: str) -> h5py.Group | None:
    """Returns the group `name` in `group`, None if there is none.

    Raises:
        InputError: If it lies outside the file.
    """
    with _reading(group):
        present = name in group
    return _member(group, name, h5py.Group) if present else None


def origin(group: h5py.Group) -> Origin:
    """Returns the Keras that wrote the weights in `group`: 1 without a version, 2 if the version is no number."""
    version = attribute(group, "keras_version")
    number = re.match(r"\d+", "1" if version is None else version)
    return Origin(int(number[0]) if number else 2, attribute(group, "backend"))


def layers(group: h5py.Group) -> list[Layer] | None:
    """Returns the layers of `group` that have weights, in the order of the file; None without a list of layers.

    Raises:
        InputError: If the list names a layer that is not in the file.
    """
    names = _texts(group, "layer_names")
    return None if names is None else layers_named(group, names)


def layers_named(group: h5py.Group, names: Sequence[str]) -> list[Layer]:
    """Returns the layers called `names` that have weights."""
    layers = []
    for name in names:
        member = _member(group, name, h5py.Group)
        weights = []
        for weight in _texts(member, "weight_names") or []:
            data = _member(member, weight, h5py.Dataset)
            weights.append(Saved(weight, data.shape, data))
        if weights:
            layers.append(Layer(name, weights))
    return layers


def _texts(group: h5py.Group, name: str) -> list[str] | None:
    """Returns a list of texts; Keras splits one that is too long for an attribute, and numbers the pieces."""
    with _reading(group):
        pieces = [name, *(f"{name}{number}" for number in range(len(group.attrs)))]
        present = [piece for piece in pieces if piece in group.attrs]
        if name in present:
            present = [name]
        texts = [_text(text) for piece in present for text in group.attrs[piece]]
        return texts if present else None


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"a text was expected, not {type(value).__name__}")


def _member(group: h5py.Group, name: str, kind: Any) -> h5py.Group | h5py.Dataset:
    """Returns the group or array `name` (a path, perhaps) in `group`, which the file itself must hold."""
    file = repr(group.file.filename)
    member = group
    for step in filter(None, name.split("/")):
        with _reading(group):
            link = member.get(step, getlink=True) if isinstance(member, h5py.Group) else None
            is_inside = isinstance(link, h5py.HardLink)
            member = member[step] if is_inside else None
        if not is_inside:
            target = getattr(link, "filename", None) or getattr(link, "path", "")
            what = "not there" if link is None else f"a link to {target!r}"
            raise checks.error(
                "an HDF5 file must hold all that it lists", given=f"{name!r} in {file} is {what}"
            )
    if not isinstance(member, kind):
        raise checks.error(
            f"{name!r} in an HDF5 file must be a {kind.__name__.lower()}",
            given=f"a {type(member).__name__.lower()} in {file}",
        )
    if kind is h5py.Dataset:
        with _reading(member):
            is_outside, number = bool(member.external) or member.is_virtual, member.dtype.kind
        if is_outside or number not in "fiu":
            what = "kept in another file" if is_outside else f"of type {member.dtype}"
            raise checks.error(
                "weights in an HDF5 file must be numbers in the file itself",
                given=f"{name!r} in {file} is {what}",
            )
    return member


@contextlib.contextmanager
def _reading(part: h5py.Group | h5py.Dataset) -> Iterator[None]:
    """Turns the exceptions of h5py for damaged bytes into an error that names the file."""
    try:
        yield
    except _DAMAGED as broken:
        raise _damaged("path", part.file.filename, broken) from broken


def _damaged(argument: str, path: str, reason: Exception) -> checks.InputError:
    return checks.error(
        f"`{argument}` must be a whole HDF5 file",
        given=f"{path!r} ({checks.first_line(reason)})",
        fix="Copy or download it again.",
    )
