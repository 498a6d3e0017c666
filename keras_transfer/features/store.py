"""Extracted features: arrays by layer, in memory or memory-mapped from the folder where they were written.

Such a folder holds one `.npy` file a layer, those of the targets, and `features.json`, which is written last: a folder
without it is no extraction. While one runs, `features.partial` lists the files that it writes.
"""

import json
import os
import pathlib
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from dataclasses import dataclass, field
from typing import Any  # targets are an array, or a dict of them

import numpy as np

from keras_transfer.core import checks
from keras_transfer.graphs import paths

__all__ = ["FORMAT", "MANIFEST", "PARTIAL", "Features", "load"]

MANIFEST = "features.json"
PARTIAL = "features.partial"
FORMAT = 1


@dataclass(frozen=True, eq=False, repr=False)
class Features:
    """What layers of a network gave for images: an array for each layer, rows in the order of the images.

    It is read like a dict: `features["block5_conv3"]`, where the end of a path, a pattern that only one layer
    matches, or the level that was asked for ("P4") will do. With one layer, `np.asarray(features)` is its array.

    Attributes:
        arrays: Layer path to `(n, ...)`; memory-mapped where they lie in a folder.
        targets: Targets in the same order, an array or a dict of arrays, or None where there were none.
        files: Image files in the same order, or None.
        class_names: Names by class id (a dict of them for several targets), or None.
        levels: Level to layer path, for levels that were asked for.
        about: What was extracted from what: plain values.

    Example:
        >>> features = Features({"trunk/pool": np.zeros((2, 4))}, targets=np.array([0, 1]))
        >>> features
        Features(trunk/pool=(2, 4) float64, targets)
        >>> features["pool"].shape, np.asarray(features).shape
        ((2, 4), (2, 4))
    """

    arrays: dict[str, np.ndarray]
    targets: Any = None
    files: list[str] | None = None
    class_names: Any = None
    levels: dict[str, str] = field(default_factory=dict)
    about: dict = field(default_factory=dict)

    def __getitem__(self, layer: str) -> np.ndarray:
        path = self.levels.get(layer, layer)
        if path not in self.arrays:
            hits = paths.match(self.arrays, path, argument="layer")
            if len(hits) > 1:
                raise checks.error(
                    "`layer` must match one layer",
                    given=f"{layer!r}, which matches {', '.join(hits)}",
                )
            path = hits[0]
        return self.arrays[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def __contains__(self, layer: Any) -> bool:
        return self.levels.get(layer, layer) in self.arrays

    def keys(self) -> KeysView[str]:
        """The layer paths, bottom to top."""
        return self.arrays.keys()

    def values(self) -> ValuesView[np.ndarray]:
        """The arrays."""
        return self.arrays.values()

    def items(self) -> ItemsView[str, np.ndarray]:
        """Layer paths and arrays."""
        return self.arrays.items()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if len(self.arrays) != 1:
            fix = "Take one: features[layer]."
            raise checks.error(
                "features must be of one layer to be an array",
                given=", ".join(self.arrays),
                fix=fix,
            )
        (array,) = self.arrays.values()
        return np.array(array, dtype) if copy else np.asarray(array, dtype)

    def __repr__(self) -> str:
        parts = [f"{path}={array.shape} {array.dtype}" for path, array in self.arrays.items()]
        parts += [name for name in ("targets", "files") if getattr(self, name) is not None]
        return f"Features({', '.join(parts)})"


def load(path: str | os.PathLike) -> Features:
    """Opens the features that `extract` wrote into a folder; arrays are memory-mapped, read on use.

    Args:
        path: The folder.

    Raises:
        InputError: If it holds no finished extraction, or a file of it is missing or damaged.

    Example:
        >>> load("absent")
        Traceback (most recent call last):
        keras_transfer.core.checks.InputError: `path` must be a folder that `extract` finished. Given: 'absent'.
    """
    folder = pathlib.Path(path).expanduser()
    if not (folder / MANIFEST).is_file():
        state = ", where an extraction was interrupted" if (folder / PARTIAL).is_file() else ""
        raise checks.error(
            "`path` must be a folder that `extract` finished", given=f"'{path}'{state}"
        )
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise checks.error(f"{MANIFEST} must be of format {FORMAT}", given=manifest["format"])
        arrays = {name: _map_array(folder, **entry) for name, entry in manifest["layers"].items()}
        targets = manifest["targets"]
        if isinstance(targets, dict):
            targets = {name: np.array(_map_array(folder, file)) for name, file in targets.items()}
        elif targets is not None:
            targets = np.array(_map_array(folder, targets))
        rest = {
            name: manifest[name]
            for name in ("files", "class_names", "levels", "about")
            if name in manifest
        }
    except (
        KeyError,
        TypeError,
        AttributeError,
        json.JSONDecodeError,
        UnicodeDecodeError,
    ) as damaged:
        raise checks.error(
            f"{MANIFEST} must be what `extract` wrote", given=f"'{path}' ({damaged})"
        ) from damaged
    return Features(arrays, targets, **rest)


def _map_array(
    folder: pathlib.Path, file: str, shape: list[int] | None = None, dtype: str | None = None
) -> np.ndarray:
    """Maps an array that the manifest lists into memory; a name that leads out of the folder is an error."""
    if pathlib.PurePath(file).name != file:
        raise checks.error(f"{MANIFEST} must name files of its own folder", given=repr(file))
    try:
        array = np.load(folder / file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as damaged:
        raise checks.error(
            "the folder's files must be whole", given=f"'{folder / file}' ({damaged})"
        ) from damaged
    if shape is not None and (list(array.shape) != shape or str(array.dtype) != dtype):
        raise checks.error(
            "the folder's files must be those of its manifest",
            given=f"'{folder / file}' of shape {array.shape}, type {array.dtype}",
        )
    return array
