"""Names of files in tables: a column, or a pattern of columns such as "masks/{id}.png"."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_transfer.core import checks
from keras_transfer.data.sources.problems import Problems
from keras_transfer.data.sources.table_files import Table
from keras_transfer.data.targets import missing
from keras_transfer.storage import listing

__all__ = ["check_pattern", "find", "names_of"]

PART = re.compile(r"\{([^{}]*)\}")


def check_pattern(pattern: Any, table: Table, *, argument: str) -> None:
    """Raises an error unless `pattern` is a column of the table or a pattern of its columns."""
    if isinstance(pattern, str) and pattern not in table.columns and PART.search(pattern):
        for name in PART.findall(pattern):
            table.column(name, argument=argument)
        return
    if not isinstance(pattern, str):
        fix = 'Such as "file", or a pattern like "photos/{id}.jpg".'
        raise checks.error(
            f"`{argument}` must be the name of a column", given=repr(pattern), fix=fix
        )
    table.column(pattern, argument=argument)


def names_of(pattern: str, table: Table, rows: Sequence[int]) -> list[str | None]:
    """Returns the name of the file of each row, None where a cell that it is made of is blank.

    Example:
        >>> names_of("{id}.jpg", Table("the list", {"id": ["a", ""]}, ["row 0", "row 1"]), [0, 1])
        ['a.jpg', None]
    """
    columns = [pattern] if pattern in table.columns else PART.findall(pattern)
    names: list[str | None] = []
    for row in rows:
        cells = {column: table.columns[column][row] for column in columns}
        if any(missing.is_blank(cell) for cell in cells.values()):
            names.append(None)
        elif pattern in table.columns:
            names.append(str(cells[pattern]).strip())
        else:
            names.append(_filled(pattern, cells))
    return names


def _filled(pattern: str, cells: Mapping[str, Any]) -> str:
    return PART.sub(lambda match: str(cells[match[1]]).strip(), pattern)


def find(
    pattern: str, table: Table, rows: Sequence[int], root: Path, problems: Problems
) -> list[Path | None]:
    """Returns the file of each row, None where the table names none.

    Args:
        pattern: As for `check_pattern`.
        table: The table.
        rows: Whose files are meant.
        root: The folder that names start from, which no name may leave.
        problems: Gets the rows whose file does not exist or is outside `root`.
    """
    paths: list[Path | None] = []
    for row, name in zip(rows, names_of(pattern, table, rows), strict=True):
        if name is None:
            paths.append(None)
            continue
        try:
            path = listing.file_inside(root, name)
        except ValueError as problem:
            problems.add(table.places[row], str(problem))
            paths.append(None)
            continue
        paths.append(path)
    return paths
