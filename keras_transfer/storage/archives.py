"""Archives that somebody else may have made: looked at before anything is written.

An entry that would leave its folder (an absolute name, `..`, a link) makes the whole archive refused,
whatever else is in it.
"""

import atexit
import functools
import json
import os
import pathlib
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable

from keras_transfer.core import checks

__all__ = ["extract", "names", "read_json", "scratch", "untar"]


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


def names(
    path: str | os.PathLike, *, argument: str = "path", what: str = "whole and safe archive"
) -> list[str]:
    """Returns the names of the files in a zip archive, all of which stay within the folder they are extracted to.

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
        return _checked(archive, path, argument, what)


def read_json(
    path: str | os.PathLike,
    name: str,
    *,
    argument: str = "path",
    what: str = "whole and safe archive",
) -> object:
    """Returns what the JSON file `name` in a zip archive says.

    Raises:
        InputError: If the archive is broken or unsafe, the file is absent, or it is no JSON.

    Example:
        >>> with zipfile.ZipFile("b.zip", "w") as archive:
        ...     archive.writestr("config.json", '{"a": 1}')
        >>> read_json("b.zip", "config.json")
        {'a': 1}
    """
    with _opened(path, argument, what) as archive:
        if name not in _checked(archive, path, argument, what):
            raise checks.error(f"`{argument}` must hold {name}", given=repr(str(path)))
        try:
            return json.loads(archive.read(name))
        except (ValueError, RecursionError, OSError, zipfile.BadZipFile) as broken:
            raise _broken(path, argument, what, broken) from broken


def extract(
    path: str | os.PathLike,
    prefix: str,
    folder: str | os.PathLike,
    *,
    argument: str = "path",
    what: str = "whole and safe archive",
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
        for name in _checked(archive, path, argument, what):
            if name.startswith(prefix):
                target = pathlib.Path(folder) / name.removeprefix(prefix)
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    with archive.open(name) as source, open(target, "wb") as copy:
                        shutil.copyfileobj(source, copy)
                except (OSError, zipfile.BadZipFile) as broken:
                    raise _broken(path, argument, what, broken) from broken


def untar(
    path: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    argument: str = "path",
    what: str = "whole and safe archive",
) -> None:
    """Writes the files of a tar archive, compressed or not, into `folder`.

    Raises:
        InputError: If the archive is broken, or an entry is neither file nor folder or would leave `folder`;
            in the latter case nothing was written.

    Example:
        >>> with tarfile.open("d.tar.gz", "w:gz") as archive:
        ...     archive.addfile(tarfile.TarInfo("inner/a.txt"))
        >>> untar("d.tar.gz", "unpacked")
        >>> pathlib.Path("unpacked/inner/a.txt").exists()
        True
    """
    try:
        with tarfile.open(path) as archive:
            members = archive.getmembers()
            _check((member.name, not (member.isfile() or member.isdir())) for member in members)
            archive.extractall(folder, members, filter="data")
    except (OSError, EOFError, tarfile.TarError, ValueError) as broken:
        raise _broken(path, argument, what, broken) from broken


def _opened(path: str | os.PathLike, argument: str, what: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile, NotImplementedError) as broken:
        raise _broken(path, argument, what, broken) from broken


def _checked(
    archive: zipfile.ZipFile, path: str | os.PathLike, argument: str, what: str
) -> list[str]:
    try:
        # `orig_filename` is what the file says; ZipInfo's own name has the machine's separators already replaced.
        _check(
            (info.orig_filename, stat.S_ISLNK(info.external_attr >> 16))
            for info in archive.infolist()
        )
    except ValueError as unsafe:
        raise _broken(path, argument, what, unsafe) from unsafe
    return [info.filename for info in archive.infolist() if not info.is_dir()]


def _check(entries: Iterable[tuple[str, bool]]) -> None:
    """Raises ValueError for an entry (name, is it a link or worse) that must not be extracted."""
    for name, special in entries:
        parts = name.replace("\\", "/").split("/")
        # An empty part makes what follows it absolute once a prefix is cut off.
        if special or ".." in parts or "" in parts[:-1] or ":" in parts[0] or "\0" in name:
            raise ValueError(
                f"its entry {name!r} is a link or would leave the folder it is extracted to"
            )


def _broken(
    path: str | os.PathLike, argument: str, what: str, reason: Exception
) -> checks.InputError:
    first = (str(reason).strip() or type(reason).__name__).splitlines()[0]
    return checks.error(f"`{argument}` must be a {what}", given=f"{str(path)!r} ({first})")
