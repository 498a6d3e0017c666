"""Files of a folder that is on this machine or, like gs://bucket/folder, where TensorFlow can reach it."""

import os
import pathlib
from typing import Any

from keras_transfer.core import checks
from keras_transfer.storage import files

__all__ = ["Folder"]


class Folder:
    """A folder by its path or address.

    Args:
        where: The folder; an address has "://" in it.
        argument: How errors call it.

    Example:
        >>> folder = Folder("/tmp/doc_example_folder")
        >>> folder.make()
        >>> folder.write("a.bin", b"content")
        >>> folder.read("a.bin", start=3, length=2), folder.size("a.bin")
        (b'te', 7)
    """

    def __init__(self, where: str | os.PathLike, *, argument: str = "folder") -> None:
        if not isinstance(where, (str, os.PathLike)):
            expected = f"`{argument}` must be a folder, or an address such as gs://bucket/folder"
            raise checks.error(expected, given=repr(where))
        self.where, self.argument = os.fspath(where), argument
        self.is_remote = "://" in self.where
        if not self.is_remote:
            self.where = str(pathlib.Path(self.where).expanduser())

    def path(self, name: str) -> str:
        """The path or address of a file."""
        return f"{self.where.rstrip('/')}/{name}"

    def make(self) -> None:
        """Makes the folder if needed; raises an error if nothing can be written to it."""
        if not self.is_remote:
            files.check_writable(self.where, argument=self.argument)
            return
        try:
            _gfile().makedirs(self.where)
        except _errors() as refused:
            raise self._unreachable(refused) from refused

    def names(self) -> list[str]:
        """Returns the names of what is in it, none if there is no such folder."""
        if not self.is_remote:
            return sorted(os.listdir(self.where)) if os.path.isdir(self.where) else []
        try:
            return sorted(name.rstrip("/") for name in _gfile().listdir(self.where))
        except _not_found():
            return []
        except _errors() as refused:
            raise self._unreachable(refused) from refused

    def size(self, name: str) -> int:
        """Returns how many bytes a file has; `OSError` if it cannot be read."""
        if not self.is_remote:
            return os.stat(self.path(name)).st_size
        try:
            return int(_gfile().stat(self.path(name)).length)
        except _errors() as refused:
            raise OSError(checks.first_line(refused)) from refused

    def read(self, name: str, *, start: int = 0, length: int = -1) -> bytes:
        """Returns a part of a file, by default all of it; `OSError` if it cannot be read."""
        if not self.is_remote:
            with open(self.path(name), "rb", buffering=0) as file:
                file.seek(start)
                return file.read(length)
        try:
            with _gfile().GFile(self.path(name), "rb") as file:
                file.seek(start)
                return file.read(length)
        except _errors() as refused:
            raise OSError(checks.first_line(refused)) from refused

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, all or nothing."""
        if self.is_remote:
            self._write_remote(name, content)
            return
        with files.replacing(self.path(name)) as temporary, open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _write_remote(self, name: str, content: bytes) -> None:
        temporary = self.path(f"{name}.tmp")
        try:
            with _gfile().GFile(temporary, "wb") as file:
                file.write(content)
            _gfile().rename(temporary, self.path(name), overwrite=True)
        except _errors() as refused:
            raise OSError(checks.first_line(refused)) from refused

    def rename(self, name: str, new: str) -> None:
        """Gives a finished file its name, once its bytes are safe."""
        if self.is_remote:
            _gfile().rename(self.path(name), self.path(new), overwrite=True)
            return
        with open(self.path(name), "rb") as file:
            os.fsync(file.fileno())
        os.replace(self.path(name), self.path(new))

    def remove(self, name: str) -> None:
        """Deletes a file."""
        if self.is_remote:
            _gfile().remove(self.path(name))
        else:
            os.unlink(self.path(name))

    def _unreachable(self, refused: Exception) -> checks.InputError:
        expected = f"`{self.argument}` must be a folder that can be reached"
        return checks.error(expected, given=f"'{self.where}' ({checks.first_line(refused)})")


def _gfile() -> Any:  # a module of TensorFlow, which has no types
    import tensorflow as tf

    return tf.io.gfile


def _errors() -> type[Exception]:
    import tensorflow as tf

    return tf.errors.OpError


def _not_found() -> type[Exception]:
    import tensorflow as tf

    return tf.errors.NotFoundError
