"""Reads archives from anybody: they are checked before anything is written.

An archive with a single entry that would leave its folder (an absolute name, `..`, a link) is refused as a whole.
"""

import atexit
import contextlib
import functools
import json
import os
import pathlib
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator

from keras_transfer.core import checks

__all__ = ["extract", "names", "read_json", "scratch", "untar"]

ARCHIVE = "whole and safe archive"


@functools.cache
def scratch() -> pathlib.Path:
    """Returns this process's own temporary folder, which is removed when the process ends.

    Example:
        >>> scratch().is_dir() and scratch() == scratch()
        True
    """
    folder = pathlib.Path(tempfile.mkdtemp(prefix="keras_transfer_"))
    owner = os.getpid()

    @atexit.register
    def _remove() -> None:
        if os.getpid() == owner:  # a forked child must not take it from its parent
            shutil.rmtree(folder, ignore_errors=True)

    return folder


def names(path: str | os.PathLike, *, argument: str = "path", what: str = ARCHIVE) -> list[str]:
    """Returns the names of the files in a zip archive.

    Args:
        path: The archive.
        argument: The name of the user's argument, for the error.
        what: What it should be, for the error.

    Raises:
        InputError: If it is no whole zip archive, or an entry is a link or would leave the folder.

    Example:
        >>> with zipfile.ZipFile("a.zip", "w") as archive:
        ...     archive.writestr("inner/a.txt", "a")
        >>> names("a.zip")
        ['inner/a.txt']
    """
    with _opened(path, argument, what) as archive:
        return _file_names(archive)


def read_json(
    path: str | os.PathLike, name: str, *, argument: str = "path", what: str = ARCHIVE
) -> object:
    """Returns the content of the JSON file `name` in a zip archive.

    Raises:
        InputError: If the archive is broken or unsafe, or the file is absent or no JSON.

    Example:
        >>> with zipfile.ZipFile("b.zip", "w") as archive:
        ...     archive.writestr("config.json", '{"a": 1}')
        >>> read_json("b.zip", "config.json")
        {'a': 1}
    """
    with _opened(path, argument, what) as archive:
        if name not in _file_names(archive):
            raise checks.error(f"`{argument}` must hold {name}", given=repr(str(path)))
        return json.loads(archive.read(name))


def extract(
    path: str | os.PathLike,
    prefix: str,
    folder: str | os.PathLike,
    *,
    argument: str = "path",
    what: str = ARCHIVE,
) -> None:
    """Writes the files of a zip archive whose names begin with `prefix` into `folder`, without the prefix.

    Raises:
        InputError: If the archive is broken or unsafe; then nothing was written outside `folder`.

    Example:
        >>> with zipfile.ZipFile("c.zip", "w") as archive:
        ...     archive.writestr("inner/a.txt", "a")
        >>> extract("c.zip", "inner/", "out")
        >>> pathlib.Path("out/a.txt").read_text()
        'a'
    """
    with _opened(path, argument, what) as archive:
        for name in _file_names(archive):
            if name.startswith(prefix):
                target = pathlib.Path(folder) / name.removeprefix(prefix)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, open(target, "wb") as copy:
                    shutil.copyfileobj(source, copy)


def untar(
    path: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    argument: str = "path",
    what: str = ARCHIVE,
) -> None:
    """Writes the files of a tar archive, compressed or not, into `folder`.

    Raises:
        InputError: If the archive is broken, or an entry is neither file nor folder or would leave `folder`. An
            unsafe archive is refused before anything is written.

    Example:
        >>> with tarfile.open("d.tar.gz", "w:gz") as archive:
        ...     archive.addfile(tarfile.TarInfo("inner/a.txt"))
        >>> untar("d.tar.gz", "unpacked")
        >>> pathlib.Path("unpacked/inner/a.txt").exists()
        True
    """
    with _reading(path, argument, what), tarfile.open(path) as archive:
        members = archive.getmembers()
        _check((member.name, not (member.isfile() or member.isdir())) for member in members)
        archive.extractall(folder, members, filter="data")


@contextlib.contextmanager
def _opened(path: str | os.PathLike, argument: str, what: str) -> Iterator[zipfile.ZipFile]:
    """Opens a zip archive, all of whose entries are safe."""
    with _reading(path, argument, what), zipfile.ZipFile(path) as archive:
        # `orig_filename` is what the file says; in ZipInfo's own name the separators are already replaced.
        _check(
            (info.orig_filename, stat.S_ISLNK(info.external_attr >> 16))
            for info in archive.infolist()
        )
        yield archive


@contextlib.contextmanager
def _reading(path: str | os.PathLike, argument: str, what: str) -> Iterator[None]:
    """Turns all that can go wrong with an archive into one error."""
    try:
        yield
    except checks.InputError:
        raise
    except (
        OSError, EOFError, ValueError, NotImplementedError, RecursionError, zipfile.BadZipFile, tarfile.TarError,
    ) as broken:  # fmt: skip
        given = f"{str(path)!r} ({checks.first_line(broken)})"
        raise checks.error(f"`{argument}` must be a {what}", given=given) from broken


def _file_names(archive: zipfile.ZipFile) -> list[str]:
    return [info.filename for info in archive.infolist() if not info.is_dir()]


def _check(entries: Iterable[tuple[str, bool]]) -> None:
    """Raises ValueError for an entry (name, whether it is a link or worse) that must not be extracted."""
    for name, is_special in entries:
        parts = name.replace("\\", "/").split("/")
        # An empty part makes what follows it absolute once a prefix is cut off.
        if is_special or ".." in parts or "" in parts[:-1] or ":" in parts[0] or "\0" in name:
            raise ValueError(
                f"its entry {name!r} is a link or would leave the folder it is extracted to"
            )
