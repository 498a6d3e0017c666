"""Answers as a table in a file, written batch by batch: CSV, Parquet, or a JSON object a line."""

import contextlib
import csv
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any  # cells are texts or numbers, writers belong to other libraries

from keras_transfer.core import checks, optional
from keras_transfer.storage import files

__all__ = ["ENDINGS", "check_path", "open_table"]

Write = Callable[[Sequence[Mapping]], None]
PLACES = ("boxes", "labels", "scores")


@contextlib.contextmanager
def open_table(path: str | os.PathLike, task_names: Sequence[str]) -> Iterator[Write]:
    """Gives a function that appends answers to a file, which appears when all are written, or not at all.

    Args:
        path: Ends in .csv, .parquet or .jsonl.
        task_names: With several tasks, columns have the task's name before them: "breed/label".

    Raises:
        InputError: If the ending is another, or the file cannot be written.

    Example:
        >>> with open_table("/tmp/doc_example.csv", ["kind"]) as write:
        ...     write([{"file": "a.jpg", "label": "cat", "probabilities": {"cat": 0.75, "dog": 0.25}}])
        >>> print(pathlib.Path("/tmp/doc_example.csv").read_text().splitlines()[0])
        file,label,probability,probabilities
    """
    target = check_path(path)
    writer = ENDINGS[target.suffix.lower()]
    with files.replacing(target) as temporary, writer(temporary) as append:
        count = 0

        def write(rows: Sequence[Mapping]) -> None:
            nonlocal count
            append([_flat(row, count + at, task_names) for at, row in enumerate(rows)])
            count += len(rows)

        yield write


def check_path(path: str | os.PathLike) -> pathlib.Path:
    """Returns a path whose ending is known and whose folder can be written to."""
    target = pathlib.Path(path).expanduser()
    if target.suffix.lower() not in ENDINGS:
        raise checks.error(f"`path` must end in {' or '.join(ENDINGS)}", given=f"'{path}'")
    if target.suffix.lower() == ".parquet":
        optional.require("pyarrow", extra="tables", purpose="Writing Parquet files")
    files.check_writable(target.parent, argument="path")
    return target


def _flat(row: Mapping, number: int, task_names: Sequence[str]) -> dict[str, Any]:
    """Returns the cells of an image; values that are no text or number become JSON."""
    cells: dict[str, Any] = {"file": row.get("file", f"image {number}")}
    for name in task_names:
        answer = row[name] if len(task_names) > 1 else row
        prefix = f"{name}/" if len(task_names) > 1 else ""
        for column, value in _cells(answer).items():
            cells[prefix + column] = value
    return cells


def _cells(answer: Mapping) -> dict[str, Any]:
    if "value" in answer:
        value = answer["value"]
        values = value if isinstance(value, list | tuple) else [value]
        names = ["value"] if len(values) == 1 else [f"value_{at}" for at in range(len(values))]
        return dict(zip(names, map(float, values), strict=True))
    cells: dict[str, Any] = {"label": answer["label"]}
    shares = answer.get("probabilities")
    if shares is not None:
        cells["probability"] = float(max(shares.values(), default=0.0))
        cells["probabilities"] = json.dumps(shares, ensure_ascii=False)
    for name in PLACES:
        if name in answer:
            cells[name] = json.dumps(answer[name], ensure_ascii=False)
    return cells


@contextlib.contextmanager
def _csv(path: pathlib.Path) -> Iterator[Write]:
    # File names that are no UTF-8 hold lone surrogates, which only an escape can show.
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as opened:
        writer = None

        def append(rows: Sequence[Mapping]) -> None:
            nonlocal writer
            if writer is None and rows:
                writer = csv.DictWriter(opened, list(rows[0]))
                writer.writeheader()
            if writer is not None:
                writer.writerows(rows)

        yield append


@contextlib.contextmanager
def _lines(path: pathlib.Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as opened:

        def append(rows: Sequence[Mapping]) -> None:
            opened.writelines(json.dumps(row) + "\n" for row in rows)

        yield append


@contextlib.contextmanager
def _parquet(path: pathlib.Path) -> Iterator[Write]:
    import pyarrow
    from pyarrow import parquet  # optional, and checked in `check_path`

    with contextlib.ExitStack() as stack:
        writer: Any = None

        def append(rows: Sequence[Mapping]) -> None:
            nonlocal writer
            table = pyarrow.Table.from_pylist([_escape(row) for row in rows])
            if writer is None:
                writer = stack.enter_context(parquet.ParquetWriter(path, table.schema))
            writer.write_table(table)

        yield append


def _escape(row: Mapping) -> dict[str, Any]:
    """Returns a row whose texts have escapes where file names are no UTF-8, as in `_csv`."""
    cells = dict(row)
    for name, value in row.items():
        if isinstance(value, str):
            cells[name] = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return cells


ENDINGS = {".csv": _csv, ".parquet": _parquet, ".jsonl": _lines}
