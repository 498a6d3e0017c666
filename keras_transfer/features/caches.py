"""A folder of extracted features that runs share: kept by what they were computed from, and below a size."""

import contextlib
import datetime
import math
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from keras_transfer.core import checks
from keras_transfer.features import store
from keras_transfer.storage import files

__all__ = ["PLACE", "CacheFolder", "Entry"]

PLACE = "KERAS_TRANSFER_CACHE"  # environment variable
LOCKS = ".locks"
OURS = "kept-"  # how names of folders begin


@dataclass(frozen=True)
class Entry:
    """Features in a `CacheFolder`.

    Attributes:
        key: What they were computed from, as a hash.
        path: Their folder, for `kt.features.load`.
        bytes: Their size.
        used: When they were last used.
        is_finished: Whether they are complete; what a killed process left is not.
    """

    key: str
    path: pathlib.Path
    bytes: int
    used: datetime.datetime
    is_finished: bool


class CacheFolder:
    """Features by key. What is finished is used, what is half written is never trusted, what is oldest goes first.

    Args:
        path: The folder; by default what the environment variable KERAS_TRANSFER_CACHE says, else
            `~/.cache/keras_transfer`.
        max_bytes: How much it may hold; None for as much as the disk does.

    Example:
        >>> CacheFolder("some_cache").entries()
        []
    """

    def __init__(
        self, path: str | os.PathLike | None = None, *, max_bytes: int | None = None
    ) -> None:
        place = path or os.environ.get(PLACE) or "~/.cache/keras_transfer"
        self.path = pathlib.Path(place).expanduser()
        self.max_bytes = (
            None if max_bytes is None else checks.integer(max_bytes, name="max_bytes", minimum=0)
        )

    def entries(self) -> list[Entry]:
        """Returns what the folder holds, last used first."""
        entries = filter(None, map(_entry, self._folders()))
        return sorted(entries, key=lambda entry: entry.used, reverse=True)

    def get(
        self, key: str, make: Callable[[pathlib.Path], object], *, size: int
    ) -> tuple[store.Features, bool]:
        """Returns the features of a key; `make` writes them where there are none.

        Processes that want the same key wait for the first of them.

        Args:
            key: A hash of everything that they depend on.
            make: Called with a folder that does not exist; see `extract(..., to=folder)`.
            size: How many bytes it will write.

        Returns:
            The features, and whether they were there.

        Raises:
            InputError: If there is no room.
            OSError: If the disk is full in spite of the check, or fails.
        """
        files.check_writable(self.path, argument="folder")
        folder = self.path / f"{OURS}{key}"
        with self._locked(key):
            if folder.is_dir():
                with contextlib.suppress(checks.InputError):  # not finished, or damaged
                    loaded = store.load(folder)
                    with contextlib.suppress(PermissionError):  # another user's
                        os.utime(folder / store.MANIFEST)
                    return loaded, True
                shutil.rmtree(folder)
            self._make_room(size)
            make(folder)
            return store.load(folder), False

    def clear(self, *, keep: int = 0, unused_days: float = 0.0) -> int:
        """Removes what was last used longest ago, and what is half written.

        Args:
            keep: Bytes that may stay.
            unused_days: What was used since then stays.

        Returns:
            How many bytes were removed.
        """
        before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=unused_days)
        total, removed = 0, 0
        for entry in self.entries():
            total += entry.bytes
            if entry.is_finished and (total <= keep or entry.used > before):
                continue
            with self._locked(entry.key, wait=False) as is_free:
                if is_free:
                    shutil.rmtree(entry.path, ignore_errors=True)
                    removed += 0 if entry.path.exists() else entry.bytes
        return removed

    def _make_room(self, size: int) -> None:
        """Removes old features until `size` bytes more are allowed, and checks the disk."""
        if self.max_bytes is not None and size > self.max_bytes:
            given = f"{self.max_bytes / 1e6:,.0f} MB for {size / 1e6:,.0f} MB"
            raise checks.error("`max_bytes` must have room for the features", given=given)
        mine = sum(entry.bytes for entry in self.entries())
        limit = math.inf if self.max_bytes is None else self.max_bytes
        excess = max(0, mine + size - limit)  # bytes to remove
        free = shutil.disk_usage(self.path).free
        if size > free + excess:
            given = f"{free / 1e6:,.0f} MB free in '{self.path}', for {size / 1e6:,.0f} MB"
            raise checks.error("the disk must have room for the features", given=given)
        if excess:
            self.clear(keep=int(limit) - size)

    def _folders(self) -> list[pathlib.Path]:
        if not self.path.is_dir():
            return []
        return [
            path for path in self.path.glob(f"{OURS}*") if path.is_dir()
        ]  # other folders are the user's

    @contextlib.contextmanager
    def _locked(self, key: str, *, wait: bool = True) -> Iterator[bool]:
        """Locks a key for this process; gives False if another process holds it and `wait` is False."""
        try:
            import fcntl
        except ImportError:  # Windows has no such locks
            yield True
            return
        folder = self.path / LOCKS
        folder.mkdir(exist_ok=True)
        with _open_lock(folder / key) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True


def _open_lock(path: pathlib.Path) -> IO:
    """Opens the file of a lock; one that another user made is opened for reading, which is enough to lock it."""
    try:
        return path.open("a")
    except PermissionError:
        return path.open()


def _entry(path: pathlib.Path) -> Entry | None:
    """Describes a folder of the cache; None if another process has just removed it, or this user may not read it."""
    manifest = path / store.MANIFEST
    try:
        is_finished = manifest.is_file()
        used = datetime.datetime.fromtimestamp(
            (manifest if is_finished else path).stat().st_mtime, datetime.UTC
        )
        size = sum(file.stat().st_size for file in path.iterdir())
    except (FileNotFoundError, PermissionError):
        return None
    return Entry(path.name.removeprefix(OURS), path, size, used, is_finished)
