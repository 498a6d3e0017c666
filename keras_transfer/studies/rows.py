"""The record of a study: what each finished training gave, and what the study was about."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import types
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_transfer import models
from keras_transfer.core import checks
from keras_transfer.storage import files

__all__ = ["Rows", "describe", "describe_data", "describe_weights"]

STUDIES = ("comparison", "ranking")  # each has a file of its name


class Rows:
    """The rows of finished trainings; with a folder, each is written to a file there at once.

    Args:
        folder: Where the file is or will be; None keeps the rows in memory.
        about: What the study is about, as values that JSON can hold. A file of another study is refused.
        study: What kind it is, one of `STUDIES`. A folder that holds another kind is refused.

    Example:
        >>> rows = Rows(None, {"seeds": 1})
        >>> rows.add({"arm": "joint", "seed": 0})
        >>> rows.has("joint", 0), rows.has("joint", 1)
        (True, False)
    """

    def __init__(
        self, folder: str | os.PathLike | None, about: Mapping, *, study: str = STUDIES[0]
    ) -> None:
        self.about = json.loads(json.dumps(about))
        self.study = study
        self.file: pathlib.Path | None = None
        self.rows: list[dict] = []
        if folder is None:
            return
        folder = pathlib.Path(files.check_writable(folder, argument="run_dir"))
        for other in STUDIES:
            if other != study and (folder / f"{other}.json").is_file():
                given = f"'{folder}', which holds a {other}"
                raise checks.error(
                    f"`run_dir` must hold a {study} or none",
                    given=given,
                    fix="Choose another folder.",
                )
        self.file = folder / f"{study}.json"
        if self.file.is_file():
            self.rows = self._read(self.file)

    def _read(self, file: pathlib.Path) -> list[dict]:
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            before = record["about"]
            changed = [name for name, value in self.about.items() if before.get(name) != value]
            rows = list(record["rows"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as failed:
            raise checks.error(
                f"`run_dir` must hold a {self.study} or none", given=f"'{file}' ({failed})"
            ) from None
        if changed:
            raise checks.error(
                f"`run_dir` must hold a {self.study} with the same {', '.join(changed)}",
                given=f"'{file.parent}', of another",
                fix="Choose another folder.",
            )
        return rows

    def has(self, arm: str, seed: int, **more: Any) -> bool:
        """Says whether a training has finished; `more` are further values of its row."""
        return self.find(arm, seed, **more) is not None

    def find(self, arm: str, seed: int, **more: Any) -> dict | None:
        """Returns the row of a training that has finished, None for others; `more` are further values of it."""
        wanted = {"arm": arm, "seed": seed, **more}
        for row in self.rows:
            if all(name in row and row[name] == value for name, value in wanted.items()):
                return row
        return None

    def check_makers(self, made_by: Mapping[str, Any], *, called: str) -> None:
        """Raises an error if a row is of something else that had the same name.

        Args:
            made_by: What is trained under each name, as of `describe`; rows have it as `made_by`.
            called: What errors call it.
        """
        for row in self.rows:
            if row["arm"] in made_by and row.get("made_by") != made_by[row["arm"]]:
                raise checks.error(
                    f"`run_dir` must hold a {self.study} of the same {called}s",
                    given=f"another {called} of the name {row['arm']!r}",
                    fix=f"Give the {called} another name, or choose another folder.",
                )

    def add(self, row: dict) -> None:
        """Adds the row of a training that has finished."""
        self.rows.append(row)
        if self.file is not None:
            record = {"about": self.about, "rows": self.rows}
            files.write_text(self.file, json.dumps(record, indent=1))


def describe(value: Any) -> Any:
    """Returns an argument as a value that JSON can hold; arguments that differ have descriptions that differ.

    A description is the same in every process. That of a function or callable object has what it was made with, as far
    as that is plain: not the weights of a model that it holds, since calling it may train the model.

    Example:
        >>> describe({"sharing": models.Experts(count=2)})["sharing"]["count"]
        2
    """
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return {str(name): describe(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [describe(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))  # in the same order in every process
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return f"array {value.dtype} {value.shape} {_digest(np.ascontiguousarray(value).tobytes())}"
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, models.Sharing):
        return {"scheme": type(value).__name__, **describe(vars(value))}
    if dataclasses.is_dataclass(value):
        return {
            field.name: describe(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, keras.Model):
        return f"{value.name} {describe_weights(value)}"
    if isinstance(value, types.FunctionType):
        return f"{value.__qualname__} {_describe_function(value)}"
    if isinstance(value, types.MethodType):
        return [describe(value.__func__), describe(value.__self__)]
    if isinstance(value, functools.partial):
        return [describe(value.func), describe(value.args), describe(value.keywords)]
    config: Mapping = {}
    if callable(getattr(value, "get_config", None)):
        config = value.get_config()
    elif callable(value) and hasattr(value, "__dict__"):
        config = {name: each for name, each in vars(value).items() if _is_plain(each)}
    arguments = ", ".join(f"{name}={each!r}" for name, each in config.items())
    return f"{type(value).__name__}({arguments})"


def _describe_function(function: types.FunctionType) -> str:
    """Returns a digest of what a function does, its defaults, and the plain values that it takes from around it."""
    values = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # a name that has no value yet
            values.append(cell.cell_contents)
    plain = []
    for value in values:
        if isinstance(value, types.FunctionType):
            plain.append(_describe_code(value.__code__))  # it may be the function itself
        elif _is_plain(value):
            plain.append(json.dumps(describe(value)))
    return _digest("".join([_describe_code(function.__code__), *plain]).encode())


def _is_plain(value: Any) -> bool:
    """Whether a value is a number or text, or holds nothing else."""
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    kinds = str | int | float | np.generic | np.ndarray | os.PathLike
    return value is None or isinstance(value, kinds)


def _describe_code(code: types.CodeType) -> str:
    """Returns a digest of what a function does, without where it stands."""
    parts = [code.co_code.hex(), repr(code.co_names)]
    for value in code.co_consts:
        is_code = isinstance(value, types.CodeType)
        parts.append(_describe_code(value) if is_code else repr(describe(value)))
    return _digest("".join(parts).encode())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def describe_data(data: Any) -> dict:
    """Returns what tells data from `kt.data` apart from other data: its digest, splits, orders and sizes."""
    rows = {split: _digest(examples.rows.tobytes()) for split, examples in data.examples.items()}
    return {
        "digest": data.digest,
        "seed": data.seed,
        "batch_size": data.batch_size,
        "image_size": list(data.image_size),
        "rows": rows,
        "rule": list(data.epochs.rule) if data.epochs is not None else None,
    }


def describe_weights(model: keras.Model) -> str:
    """Returns a digest of the model's weights."""
    digest = hashlib.blake2b(digest_size=8)
    for value in model.get_weights():
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
