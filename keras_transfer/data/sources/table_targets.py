"""What the columns of a table say about each image: a reader for each kind of target.

One more kind is a row of `KINDS`, and one of `READERS` where each image has one cell, or one row of cells.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # a cell may hold anything

from keras_transfer.core import checks, lookup
from keras_transfer.data.sources import boxes, file_names
from keras_transfer.data.sources.problems import Problems
from keras_transfer.data.sources.table_files import Table
from keras_transfer.data.targets import missing, tags

__all__ = ["KINDS", "Target", "read_targets"]

# Kind of target: what its description may have besides the columns.
KINDS: dict[str, tuple[str, ...]] = {
    "category": ("classes",),
    "number": (),
    "tags": ("classes", "separator"),
    "boxes": ("label", "form", "relative", "ignored", "blank", "classes"),
    "mask": ("classes", "ignored"),
    "image": (),
}
BLANKS = ("", "na", "n/a", "nan", "none", "null", "-")  # numbers that are none, in small letters
YES, NO = ("1", "true", "yes", "y"), ("", "0", "false", "no", "n", "nan", "none")

Cells = list[Any]


@dataclass(frozen=True)
class Target:
    """What one target is read from.

    Attributes:
        name: Of the target.
        kind: One of `KINDS`.
        columns: A column or several of them; of files, a column or a pattern such as "masks/{id}.png".
        options: The rest of its description.
    """

    name: str
    kind: str
    columns: str | list[str]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def argument(self) -> str:
        """How errors call it."""
        return f"targets[{self.name!r}]"

    @property
    def is_repeated(self) -> bool:
        """Whether several rows of one image tell it together."""
        return self.kind == "boxes"


def read_targets(targets: Any, table: Table) -> list[Target]:
    """Checks the descriptions of the targets of a table.

    Args:
        targets: Name of each target to its kind, for the column of that name, or to a dict: its kind to the columns,
            and options.
        table: Whose columns are meant.

    Example:
        >>> table = Table("the list", {"breed": ["cat"], "x": [1.0], "y": [2.0]}, ["row 0"])
        >>> found = read_targets({"breed": "category", "nose": {"number": ["x", "y"]}}, table)
        >>> [(target.name, target.kind, target.columns) for target in found]
        [('breed', 'category', 'breed'), ('nose', 'number', ['x', 'y'])]
    """
    form = 'Write targets={"breed": "category"}; a word for each column that is learned.'
    if not isinstance(targets, Mapping) or not targets:
        raise checks.error("`targets` must be a dict of kinds", given=repr(targets), fix=form)
    found = []
    for name, description in targets.items():
        if not isinstance(name, str) or not name:
            raise checks.error("`targets` must be named by text", given=repr(name), fix=form)
        target = _read(name, description)
        _check_columns(target, table)
        found.append(target)
    return found


def _read(name: str, description: Any) -> Target:
    argument = f"targets[{name!r}]"
    if isinstance(description, str):
        lookup.find(description, KINDS, argument=argument)
        return Target(name, description, name)
    if not isinstance(description, Mapping):
        fix = f"Kinds are {lookup.some(list(KINDS), most=9)}."
        raise checks.error(
            f"`{argument}` must be a kind or a dict", given=repr(description), fix=fix
        )
    kinds = [key for key in description if key in KINDS]
    if len(kinds) != 1:
        fix = 'Write {"number": ["x", "y"]}: the kind, and the columns that it is read from.'
        given = lookup.some(list(description)) or "an empty dict"
        raise checks.error(f"`{argument}` must name one kind", given=given, fix=fix)
    kind = kinds[0]
    options = {key: value for key, value in description.items() if key != kind}
    for option in options:
        lookup.find(option, dict.fromkeys(KINDS[kind]), argument=argument)
    columns = description[kind]
    is_list = isinstance(columns, Sequence) and not isinstance(columns, str)
    if kind == "boxes":
        _check_box_options(argument, options)
        if is_list and len(columns) != 4:
            given = f"{len(columns)} columns"
            raise checks.error(f"`{argument}` must name four columns of numbers", given=given)
    if is_list and (kind not in ("number", "boxes") or not columns):
        raise checks.error(f"`{argument}` must name one column", given=repr(columns))
    return Target(name, kind, list(columns) if is_list else columns, options)


def _check_box_options(argument: str, options: Mapping[str, Any]) -> None:
    checks.choice(options.get("form", "xyxy"), boxes.FORMS, name=f"{argument}['form']")
    checks.choice(options.get("blank", "missing"), ("missing", "none"), name=f"{argument}['blank']")
    checks.choice(options.get("relative", False), (False, True), name=f"{argument}['relative']")


def _check_columns(target: Target, table: Table) -> None:
    """Raises an error with the first column that the table does not have."""
    if target.kind in ("mask", "image"):
        file_names.check_pattern(target.columns, table, argument=target.argument)
        return
    columns = target.columns if isinstance(target.columns, list) else [target.columns]
    if target.kind == "boxes":
        extra = [target.options.get("label"), target.options.get("ignored")]
        columns = columns + [column for column in extra if column is not None]
    for column in columns:
        table.column(column, argument=target.argument)


def read_column(
    target: Target, table: Table, rows: Sequence[Sequence[int]], root: Path, problems: Problems
) -> list[Any]:
    """Returns the label of each image.

    Args:
        target: What is read.
        table: Where from.
        rows: The rows of each image.
        root: The folder that names of files start from.
        problems: Gets the rows that say nothing that could be learned.
    """
    if target.kind == "boxes":
        return _read_boxes(target, table, rows, problems)
    first = [int(group[0]) for group in rows]
    if target.kind in ("mask", "image"):
        paths = file_names.find(str(target.columns), table, first, root, problems)
        return [None if path is None else str(path) for path in paths]
    reader = READERS[target.kind]
    if isinstance(target.columns, list):
        columns = [table.columns[name] for name in target.columns]
        cells: Cells = list(zip(*columns, strict=True))
    else:
        cells = table.columns[target.columns]
    read = reader(target, table)
    labels = []
    for row in first:
        try:
            labels.append(read(cells[row]))
        except ValueError as problem:
            problems.add(table.places[row], f"{target.name}: {problem}")
            labels.append(None)
    return labels


def _category_reader(target: Target, table: Table) -> Callable[[Any], str | None]:
    classes = target.options.get("classes")
    known = None if classes is None else {str(name) for name in classes}

    def read(cell: Any) -> str | None:
        text = text_of(cell)
        if text is not None and known is not None and text not in known:
            raise ValueError(f"{text!r} is no class. {lookup.hint(text, sorted(known))}")
        return text

    return read


def text_of(cell: Any) -> str | None:
    """Returns a cell as text, None if it is blank; whole numbers of frames with blanks lose their ".0".

    Example:
        >>> text_of(" cat "), text_of(3.0), text_of(None)
        ('cat', '3', None)
    """
    if missing.is_blank(cell):
        return None
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip()


def _number_reader(target: Target, table: Table) -> Callable[[Any], Any]:
    def one(cell: Any) -> float:
        return number_of(cell, decimal_comma=table.decimal_comma)

    def several(cells: Sequence[Any]) -> list[float]:
        values = [one(cell) for cell in cells]
        blanks = sum(map(math.isnan, values))
        if 0 < blanks < len(values):
            raise ValueError(f"{blanks} of {len(values)} numbers are blank")
        return values

    return several if isinstance(target.columns, list) else one


def number_of(cell: Any, *, decimal_comma: bool = False) -> float:
    """Returns a cell as a number, NaN if it is blank; raises ValueError for any other text.

    Example:
        >>> number_of("2.5"), number_of("2,5", decimal_comma=True), number_of("n/a")
        (2.5, 2.5, nan)
    """
    if missing.is_blank(cell) or (isinstance(cell, str) and cell.strip().lower() in BLANKS):
        return math.nan
    text = str(cell).strip()
    if decimal_comma and text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{_short(text)} is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value


def _tags_reader(target: Target, table: Table) -> Callable[[Any], list[str] | None]:
    separator = target.options.get("separator", ";")
    if not isinstance(separator, str) or not separator:
        raise checks.error(f"`{target.argument}['separator']` must be text", given=repr(separator))
    classes = target.options.get("classes")
    known = None if classes is None else {str(name) for name in classes}

    def read(cell: Any) -> list[str] | None:
        if isinstance(cell, tags.GROUPS):
            names = [str(name) for name in cell]
        elif missing.is_blank(cell):
            return None
        else:
            names = [name for part in str(cell).split(separator) if (name := part.strip())]
        for name in names:
            if known is not None and name not in known:
                raise ValueError(f"{name!r} is no tag. {lookup.hint(name, sorted(known))}")
        return names

    return read


READERS = {"category": _category_reader, "number": _number_reader, "tags": _tags_reader}


def _read_boxes(
    target: Target, table: Table, rows: Sequence[Sequence[int]], problems: Problems
) -> list[dict | None]:
    gathered = boxes.Gathered(target.options.get("form", "xyxy"))
    for image, group in enumerate(rows):
        for row in group:
            place = table.places[row]
            try:
                found = list(_boxes_of_row(target, table, row))
            except ValueError as problem:
                problems.add(place, f"{target.name}: {problem}")
                continue
            if found or target.options.get("blank") == "none" or _is_told_empty(target, table, row):
                gathered.begin(image)
            for numbers, label, is_ignored in found:
                reason = gathered.add(image, numbers, label, ignored=is_ignored, place=place)
                if reason:
                    problems.add(place, f"{target.name}: {reason}")
    table.notes += gathered.note_flat()
    return [gathered.label(image) for image in range(len(rows))]


def _is_told_empty(target: Target, table: Table, row: int) -> bool:
    """Whether a cell says that there are no boxes, as the text [] does."""
    return (
        isinstance(target.columns, str)
        and text_of_boxes(table.columns[target.columns][row]) is not None
    )


def text_of_boxes(cell: Any) -> Any:
    """Returns what a cell of boxes holds, None if it is blank; a text is read as JSON."""
    if isinstance(cell, str):
        if not cell.strip():
            return None
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            raise ValueError(f"{_short(cell)} is no JSON") from None
    return None if missing.is_blank(cell) else cell


def _boxes_of_row(target: Target, table: Table, row: int) -> Iterator[tuple[Any, Any, bool]]:
    """Yields numbers, label and whether it is ignored of each box that a row tells."""
    options = target.options
    label: str | None = target.name
    if "label" in options:
        label = text_of(table.columns[options["label"]][row])
    is_ignored = "ignored" in options and _is_yes(table.columns[options["ignored"]][row])
    if isinstance(target.columns, list):
        cells = [table.columns[name][row] for name in target.columns]
        numbers = [number_of(cell, decimal_comma=table.decimal_comma) for cell in cells]
        blanks = sum(map(math.isnan, numbers))
        if blanks == 4:
            return
        if blanks:
            raise ValueError(f"{blanks} of 4 numbers are blank")
        yield numbers, _check_label(label, target), is_ignored
        return

    content = text_of_boxes(table.columns[target.columns][row])
    if content is None:
        return
    yield from _boxes_in(content, target, label, is_ignored)


def _boxes_in(
    content: Any, target: Target, label: Any, is_ignored: bool
) -> Iterator[tuple[Any, Any, bool]]:
    """Yields the boxes of a cell: of one box, of a list of them, or of a dict in the label form."""
    if isinstance(content, Mapping):
        rows = content.get("boxes")
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            raise ValueError("a dict without a list of boxes")
        count = len(rows)
        labels, flags = (
            content.get("labels", [label] * count),
            content.get("ignored", [is_ignored] * count),
        )
        if len(labels) != count or len(flags) != count:
            raise ValueError(f"{count} boxes, {len(labels)} labels")
        for numbers, name, flag in zip(rows, labels, flags, strict=True):
            yield numbers, _check_label(name, target), bool(flag)
        return
    if not isinstance(content, Sequence) or isinstance(content, str):
        raise ValueError(f"{_short(str(content))} is no list of boxes")
    is_one = bool(content) and not any(isinstance(part, Sequence) for part in content)
    for numbers in [content] if is_one else content:
        if not isinstance(numbers, Sequence) or isinstance(numbers, str):
            raise ValueError(f"{_short(str(numbers))} is no box")
        name = numbers[4] if len(numbers) == 5 else label
        yield numbers[:4] if len(numbers) == 5 else numbers, _check_label(name, target), is_ignored


def _check_label(label: Any, target: Target) -> str:
    text = text_of(label)
    if text is None:
        raise ValueError("a box without a label")
    classes = target.options.get("classes")
    if classes is not None and text not in classes:
        raise ValueError(f"{text!r} is no class. {lookup.hint(text, list(classes))}")
    return text


def _is_yes(cell: Any) -> bool:
    text = (text_of(cell) or "").lower()
    if text in YES or text in NO:
        return text in YES
    raise ValueError(f"{_short(text)} is neither yes nor no")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
