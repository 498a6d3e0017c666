"""Where rows of features go while they are made: into memory, or into files of a folder."""

import contextlib
import errno
import json
import os
import pathlib
import re
import shutil
from collections.abc import Iterator, Mapping
from typing import Any  # targets are an array, or a dict of them

import numpy as np

from keras_transfer.core import checks
from keras_transfer.features import store
from keras_transfer.storage import files

__all__ = ["Folder", "Memory", "Specs"]

Specs = Mapping[str, tuple[tuple[int, ...], np.dtype]]
"""Layer path to the shape and type of a row."""
OURS = re.compile(r"\d+-[A-Za-z0-9_.-]*\.npy|targets(-\d+)?\.npy|\.\d+\.features\.(json|partial)")


class Memory:
    """Collects rows in arrays that grow in place.

    Example:
        >>> with Memory() as memory:
        ...     memory.open({"pool": ((4,), np.dtype("float32"))}, rows=None)
        ...     memory.add({"pool": np.ones((3, 4), "float32")})
        ...     memory.close().arrays["pool"].shape
        (3, 4)
    """

    where = "memory"

    def __enter__(self) -> "Memory":
        return self

    def __exit__(self, *problem: object) -> None:
        self.arrays: dict = {}

    def open(self, specs: Specs, *, rows: int | None) -> None:
        """Makes room for `rows` rows of each shape."""
        try:
            self.arrays = {
                path: np.empty((rows or 0, *shape), dtype) for path, (shape, dtype) in specs.items()
            }
        except MemoryError as refused:
            fix = "Write them to a folder with `to`, or use `pooling`."
            raise checks.error(
                "the features must fit into memory", given=str(refused), fix=fix
            ) from refused
        self.done = 0

    def add(self, values: Mapping[str, np.ndarray]) -> None:
        """Adds rows."""
        end = self.done + len(next(iter(values.values())))
        for path, rows in values.items():
            array = self.arrays[path]
            if end > len(array):
                # Grows where it lies: no second copy of what may be most of the memory.
                array.resize((max(end, len(array) * 3 // 2), *array.shape[1:]), refcheck=False)
            array[self.done : end] = rows
        self.done = end

    def close(self, **rest: Any) -> store.Features:
        """Returns all rows, with `rest`, the further attributes of `Features`."""
        for array in self.arrays.values():
            array.resize((self.done, *array.shape[1:]), refcheck=False)
        return store.Features(self.arrays, **rest)


class Folder:
    """Appends rows to files; what is not closed leaves nothing that looks complete.

    Args:
        path: A folder that is new or empty, or holds an earlier extraction that was not finished.
        overwrite: Whether a finished extraction may lie there.

    Example:
        >>> with Folder("some_features") as folder:
        ...     folder.open({"pool": ((4,), np.dtype("float32"))}, rows=3)
        ...     folder.add({"pool": np.ones((3, 4), "float32")})
        ...     folder.close(about={"model": "mine"})
        Features(pool=(3, 4) float32)
    """

    def __init__(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        self.where = pathlib.Path(path).expanduser()
        self.is_new = not self.where.exists()
        self.streams: dict[str, Any] = {}
        self.done = 0
        earlier = _names(self.where)
        if store.MANIFEST in earlier and not overwrite:
            fix = "Load them with kt.features.load, or pass overwrite=True."
            raise checks.error(
                "`to` must be a new folder", given=f"'{self.where}', which holds features", fix=fix
            )
        if earlier and not earlier & {store.MANIFEST, store.PARTIAL}:
            raise checks.error(
                "`to` must be an empty folder", given=f"'{self.where}', which holds other files"
            )
        files.check_writable(self.where, argument="to")

    def __enter__(self) -> "Folder":
        return self

    def open(self, specs: Specs, *, rows: int | None) -> None:
        """Checks that there is room and starts the files; an earlier extraction is gone from here on."""
        self._remove()
        needed = (rows or 0) * sum(
            int(np.prod(shape)) * dtype.itemsize for shape, dtype in specs.values()
        )
        free = shutil.disk_usage(self.where).free
        if needed > free:
            fix = "Use `pooling`, dtype='float16', fewer layers or another disk."
            given = f"{needed / 1e6:,.0f} MB of features, {free / 1e6:,.0f} MB free"
            raise checks.error("`to` must have room for the features", given=given, fix=fix)
        self.specs = dict(specs)
        self.files = {
            path: f"{at}-{re.sub('[^A-Za-z0-9_.-]+', '_', path)[:80]}.npy"
            for at, path in enumerate(specs)
        }
        files.write_text(self.where / store.PARTIAL, json.dumps(list(self.files.values())))
        for path, name in self.files.items():
            self.streams[path] = open(self.where / name, "wb")  # noqa: SIM115
            self._write_header(path)

    def add(self, values: Mapping[str, np.ndarray]) -> None:
        """Appends rows."""
        with self._telling():
            for path, rows in values.items():
                # Written, not mapped: written pages do not count as this process's memory.
                self.streams[path].write(np.ascontiguousarray(rows).data)
        self.done += len(rows)

    def close(self, *, targets: Any = None, **rest: Any) -> store.Features:
        """Completes the folder and returns what `load` gives."""
        with self._telling():
            for path, stream in self.streams.items():
                stream.seek(0)
                self._write_header(path)
                stream.flush()
                os.fsync(stream.fileno())
                stream.close()
            layers = {
                path: {
                    "file": name,
                    "shape": [self.done, *self.specs[path][0]],
                    "dtype": str(self.specs[path][1]),
                }
                for path, name in self.files.items()
            }
            manifest = {
                "format": store.FORMAT,
                "layers": layers,
                "targets": self._write_targets(targets),
                **rest,
            }
            files.write_text(self.where / store.MANIFEST, json.dumps(manifest, indent=1) + "\n")
        (self.where / store.PARTIAL).unlink()
        return store.load(self.where)

    def __exit__(self, kind: type | None, *problem: object) -> None:
        for stream in self.streams.values():
            # What is still in its buffer may not fit on a full disk, and is not wanted any more.
            with contextlib.suppress(OSError):
                stream.close()
        if kind is None:
            return
        self._remove(keep_finished=not self.streams)
        if self.is_new:
            with contextlib.suppress(OSError):  # the folder holds something of others
                self.where.rmdir()

    def _write_header(self, path: str) -> None:
        """The first bytes of a `.npy` file; NumPy leaves room in them for any number of rows."""
        shape, dtype = self.specs[path]
        description = np.lib.format.dtype_to_descr(dtype)
        header = {"descr": description, "fortran_order": False, "shape": (self.done, *shape)}
        np.lib.format.write_array_header_1_0(self.streams[path], header)

    def _write_targets(self, targets: Any) -> Any:
        if targets is None:
            return None
        if isinstance(targets, Mapping):
            names = {name: f"targets-{at}.npy" for at, name in enumerate(targets)}
            for name, file in names.items():
                np.save(self.where / file, targets[name], allow_pickle=False)
            return names
        np.save(self.where / "targets.npy", targets, allow_pickle=False)
        return "targets.npy"

    def _remove(self, *, keep_finished: bool = False) -> None:
        """Removes what extractions wrote here, finished or not, and nothing else."""
        present = _names(self.where)
        if store.MANIFEST in present and keep_finished:
            return
        if not present & {store.MANIFEST, store.PARTIAL}:
            return
        (self.where / store.MANIFEST).unlink(
            missing_ok=True
        )  # first, so that nothing incomplete has one
        for file in self.where.iterdir():
            if OURS.fullmatch(file.name):
                file.unlink()
        (self.where / store.PARTIAL).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Says in one line what a full disk or the like interrupted."""
        try:
            yield
        except OSError as refused:
            reason = refused.strerror or str(refused)
            text = f"{reason}: features of {self.done} images were written and are removed again"
            raise OSError(refused.errno or errno.EIO, text, str(self.where)) from refused


def _names(folder: pathlib.Path) -> set[str]:
    """What lies there, hidden files aside."""
    return (
        {found.name for found in folder.iterdir() if found.name[0] != "."}
        if folder.is_dir()
        else set()
    )
