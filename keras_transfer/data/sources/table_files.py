"""Tables with a row an image: CSV files, Parquet files, pandas frames and lists of dicts."""

import csv
import io
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # a cell of a frame may hold anything

from keras_transfer.core import checks, lookup, optional
from keras_transfer.storage import texts

__all__ = ["Table", "read_table"]

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
PARQUET = (".parquet", ".pq")


@dataclass
class Table:
    """The rows of a table.

    Attributes:
        name: What errors call it.
        columns: Name of each column to its cells, one a row.
        places: Where each row stands, such as "line 7".
        problems: Place of a row that is none to the reason; such rows are not among the others.
        folder: Where the file lies; None for a table that is in memory.
        notes: What was decided for the user.
        decimal_comma: Whether numbers may be written with one: never where commas separate cells.
    """

    name: str
    columns: dict[str, list[Any]]
    places: list[str]
    problems: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    notes: list[str] = field(default_factory=list)
    decimal_comma: bool = False

    def __len__(self) -> int:
        return len(self.places)

    def column(self, name: Any, *, argument: str) -> list[Any]:
        """Returns the cells of a column, or raises an error that shows the close names."""
        if not isinstance(name, str) or name not in self.columns:
            fix = lookup.hint(str(name), list(self.columns))
            raise checks.error(
                f"`{argument}` must be a column of {self.name}", given=repr(name), fix=fix
            )
        return self.columns[name]


def read_table(source: Any) -> Table:
    """Reads a table into memory.

    Args:
        source: A CSV file, whose encoding and separator are found out and noted where they are not UTF-8 and commas;
            a Parquet file; a pandas frame; or a list of dicts, one a row.

    Raises:
        InputError: If there is no such file, or it is no table.

    Example:
        >>> read_table([{"file": "a.png", "age": 3}]).columns
        {'file': ['a.png'], 'age': [3]}
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source).expanduser()
        table = _read_parquet(path) if path.suffix.lower() in PARQUET else _read_csv(path)
    elif hasattr(source, "columns") and hasattr(source, "iloc"):
        table = _of_frame(source, name="the frame")
    elif isinstance(source, Sequence) and all(isinstance(row, Mapping) for row in source):
        table = _of_dicts(source)
    else:
        expected = "`table` must be a CSV or Parquet file, a pandas frame or a list of dicts"
        raise checks.error(expected, given=type(source).__name__)
    if not len(table) and not table.problems:
        raise checks.error("`table` must have a row", given=f"none in {table.name}")
    return table


def _read_csv(path: Path) -> Table:
    text, encoding = texts.read_text(path, argument="table")
    separator = _find_separator(text)
    notes = []
    if encoding != "UTF-8":
        notes.append(checks.note(f"'{path}' is read as {encoding}, as it is no UTF-8"))
    if separator != ",":
        notes.append(checks.note(f"'{path}' has {SEPARATORS[separator]} between its columns"))

    rows = _rows(text, separator, path)
    _, header = next(rows, (0, []))
    names = [name.strip() for name in header]
    _check_header(names, path)
    table = Table(f"'{path}'", {name: [] for name in names}, [], folder=path.parent, notes=notes)
    table.decimal_comma = separator != ","
    columns = list(table.columns.values())
    for line, cells in rows:
        if len(cells) != len(columns):
            count = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
            table.problems[f"line {line}"] = f"{count} for {len(columns)} columns"
            continue
        table.places.append(f"line {line}")
        for column, cell in zip(columns, cells, strict=True):
            column.append(cell)
    return table


def _rows(text: str, separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields the number of a row's first line and its cells; empty lines are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    start = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield start, cells
            start = reader.line_num + 1
    except csv.Error as problem:  # such as a cell of more than 131,072 letters
        given = f"line {start} of '{path}' ({problem})"
        fix = "A quotation mark may have no second one."
        raise checks.error("`table` must be a CSV file", given=given, fix=fix) from None


def _find_separator(text: str) -> str:
    """Returns the separator that gives the first line the most cells; a comma where all give one."""
    head = list(itertools.islice(filter(str.strip, text[: 2**16].splitlines()), 1))
    counts = {}
    for separator in SEPARATORS:
        try:
            counts[separator] = len(next(csv.reader(head, delimiter=separator), []))
        except csv.Error:
            counts[separator] = 0
    return max(counts, key=counts.__getitem__)


def _check_header(names: list[str], path: Path) -> None:
    """Raises an error unless each column has a name of its own."""
    expected = "the first line of `table` must name each column once"
    if not any(names):
        raise checks.error(expected, given=f"nothing in '{path}'")
    for name in names:
        if names.count(name) > 1:
            given = f"{name!r} {names.count(name)} times in '{path}'"
            raise checks.error(expected, given=given)


def _read_parquet(path: Path) -> Table:
    pandas = optional.require("pandas", extra="tables", purpose="Reading Parquet files")
    if not path.is_file():
        raise checks.error("`table` must be a file that exists", given=f"'{path}'")
    try:
        frame = pandas.read_parquet(path)
    except ImportError as missing:
        raise optional.MissingExtraError(
            'Reading Parquet files needs the package `pyarrow`. Install it with: pip install "keras-transfer[tables]".'
        ) from missing
    except (OSError, ValueError) as problem:
        given = f"'{path}' ({checks.first_line(problem)})"
        raise checks.error("`table` must be a Parquet file", given=given) from None
    table = _of_frame(frame, name=f"'{path}'")
    table.folder = path.parent
    return table


def _of_frame(frame: Any, *, name: str) -> Table:
    names = [str(column) for column in frame.columns]
    for column in names:
        if names.count(column) > 1:
            given = f"{column!r} {names.count(column)} times"
            raise checks.error("`table` must have each column once", given=given)
    columns = {column: frame.iloc[:, at].tolist() for at, column in enumerate(names)}
    return Table(name, columns, [f"row {label}" for label in frame.index])


def _of_dicts(rows: Sequence[Mapping]) -> Table:
    """Makes a table of rows; what a row does not have is blank."""
    columns = {}
    for name in dict.fromkeys(_names_in(rows)):
        columns[name] = [row.get(name) for row in rows]
    return Table("the list of dicts", columns, [f"row {at}" for at in range(len(rows))])


def _names_in(rows: Sequence[Mapping]) -> Iterable[str]:
    for row in rows:
        for name in row:
            if not isinstance(name, str):
                raise checks.error("columns of `table` must be named by text", given=repr(name))
            yield name
