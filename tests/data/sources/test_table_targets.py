import math
import re

import pytest

from keras_transfer.core import checks
from keras_transfer.data.sources import table_targets
from keras_transfer.data.sources.problems import Problems
from keras_transfer.data.sources.table_files import Table, read_table

BOX = {"boxes": ["x1", "y1", "x2", "y2"], "label": "kind"}


def read(rows, description, *, groups=None, decimal_comma=False):
    table = read_table(rows) if isinstance(rows, list) else rows
    table.decimal_comma = decimal_comma
    (target,) = table_targets.read_targets({"it": description}, table)
    problems = Problems()
    groups = groups or [[row] for row in range(len(table))]
    labels = table_targets.read_column(target, table, groups, table.folder, problems)
    return labels, problems.reasons


def cells(values, name="it"):
    return [{name: value} for value in values]


def test_categories():
    labels, wrong = read(cells([" cat ", "", None, 3, 3.0, math.nan, True]), "category")
    assert labels == ["cat", None, None, "3", "3", None, "True"]
    assert wrong == {}
    labels, wrong = read(cells(["cat", "dgo"]), {"category": "it", "classes": ["cat", "dog"]})
    assert wrong == {"row 1": "it: 'dgo' is no class. Close names: 'dog'."}


def test_numbers():
    labels, wrong = read(cells(["1.5", 2, "", "NA", "n/a", "x", "inf", "1e3"]), "number")
    assert labels[:2] == [1.5, 2.0]
    assert all(math.isnan(label) for label in labels[2:5])
    assert labels[-1] == 1000.0
    assert wrong == {"row 5": "it: 'x' is no number", "row 6": "it: inf is not finite"}
    assert read(cells(["1,5"]), "number", decimal_comma=True) == ([1.5], {})
    assert read(cells(["1,5"]), "number")[1] == {"row 0": "it: '1,5' is no number"}
    rows = [{"x": 1, "y": 2}, {"x": "", "y": None}, {"x": 1, "y": ""}]
    labels, wrong = read(rows, {"number": ["x", "y"]})
    assert labels[0] == [1.0, 2.0]
    assert all(map(math.isnan, labels[1]))
    assert wrong == {"row 2": "it: 1 of 2 numbers are blank"}


def test_tags():
    labels, wrong = read(cells(["red; round", ";", "", ["big"], None]), "tags")
    assert labels == [["red", "round"], [], None, ["big"], None]
    assert wrong == {}
    description = {"tags": "it", "separator": "|", "classes": ["red", "big"]}
    labels, wrong = read(cells(["red|big", "rde"]), description)
    assert labels[0] == ["red", "big"]
    assert wrong == {"row 1": "it: 'rde' is no tag. Close names: 'red'."}


def row(x1, y1, x2, y2, kind="cat", **more):
    return {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "kind": kind, **more}


def test_several_rows_are_the_boxes_of_an_image():
    rows = [
        row(1, 2, 3, 4),
        row("5", "6", "7", "8", "dog"),
        row("", "", "", "", ""),
        row(1, 1, 1, 5),
    ]
    labels, wrong = read(rows, BOX, groups=[[0, 1], [2], [3]])
    boxes = [(1, 2, 3, 4), (5, 6, 7, 8)]
    assert labels[0] == {"boxes": boxes, "labels": ["cat", "dog"], "ignored": [False, False]}
    assert labels[1] is None  # missing
    assert labels[2]["boxes"] == []  # a box without area is left out
    assert wrong == {}
    labels, _ = read(rows, {**BOX, "blank": "none"}, groups=[[0, 1], [2], [3]])
    assert labels[1] == {"boxes": [], "labels": [], "ignored": []}


def test_boxes_that_cannot_be_are_told_by_their_row():
    rows = [
        row(3, 2, 1, 4), row(1, 2, "", 4), row(1, 2, "x", 4), row(1, 2, 3, 4, ""), row(1, 2, 3, 4, "rat"),
        row(1, 4, 3, 2),
    ]  # fmt: skip
    _, wrong = read(rows, {**BOX, "classes": ["cat", "dog"]})
    assert wrong == {
        "row 0": "it: a box that ends before it begins: 3, 2, 1, 4",
        "row 1": "it: 1 of 4 numbers are blank",
        "row 2": "it: 'x' is no number",
        "row 3": "it: a box without a label",
        "row 4": "it: 'rat' is no class. Close names: 'cat'.",
        "row 5": "it: a box that ends before it begins: 1, 4, 3, 2",
    }


@pytest.mark.parametrize(
    ("form", "numbers"),
    [("xyxy", (10, 20, 40, 60)), ("xywh", (10, 20, 30, 40)), ("centre", (25, 40, 30, 40))],
)
def test_forms_of_boxes(form, numbers):
    labels, _ = read([row(*numbers, hard="yes")], {**BOX, "form": form, "ignored": "hard"})
    assert labels[0] == {"boxes": [(10, 20, 40, 60)], "labels": ["cat"], "ignored": [True]}


def test_boxes_in_one_cell():
    values = [
        "[1, 2, 3, 4]", "[[1, 2, 3, 4], [5, 6, 7, 8]]", "[]", "", [[1, 2, 3, 4, "dog"]],
        '{"boxes": [[1, 2, 3, 4]], "labels": ["cat"]}', "[1, 2", "[1, 2, 3]", '"text"', '[[1, [2], 3, 4]]', "7",
        '{"boxes": [[1, 2, 3, 4]], "labels": []}', "[" * 100_000,
    ]  # fmt: skip
    labels, wrong = read(cells(values), "boxes")
    box = (1, 2, 3, 4)
    assert labels[0] == {"boxes": [box], "labels": ["it"], "ignored": [False]}
    assert labels[1]["boxes"] == [box, (5, 6, 7, 8)]
    assert labels[2]["boxes"] == []
    assert labels[3] is None
    assert [label["labels"] for label in labels[4:6]] == [["dog"], ["cat"]]
    assert list(wrong) == [f"row {at}" for at in range(6, 13)]


def test_masks_are_files_inside_the_root(tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.png").write_bytes(b"")
    columns = {"id": ["a", "", "b", "../../a"]}
    table = Table("the list", columns, [f"row {at}" for at in range(4)], folder=tmp_path)
    labels, wrong = read(table, {"mask": "masks/{id}.png"})
    assert labels == [str(tmp_path / "masks" / "a.png"), None, None, None]
    assert wrong == {
        "row 2": f"there is no file '{tmp_path}/masks/b.png'",
        "row 3": f"'masks/../../a.png' is no path inside '{tmp_path}'",
    }


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        ("breed", "`targets` must be a dict of kinds"),
        ({}, "`targets` must be a dict of kinds"),
        ({"breed": "categroy"}, "`targets['breed']` must be a known name. Given: 'categroy'."),
        ({"bred": "category"}, "`targets['bred']` must be a column of the list of dicts. Given: 'bred'."),
        ({"it": 3}, "`targets['it']` must be a kind or a dict"),
        ({"it": {"column": "breed"}}, "`targets['it']` must name one kind. Given: 'column'."),
        ({"it": {"category": "breed", "separator": ";"}}, "`targets['it']` must be a known name. Given: 'separator'."),
        ({"it": {"category": ["breed", "age"]}}, "`targets['it']` must name one column"),
        ({"it": {"number": []}}, "`targets['it']` must name one column. Given: []."),
        ({"it": {"boxes": ["age"]}}, "`targets['it']` must name four columns"),
        ({"it": {"boxes": ["age"] * 4, "form": "yxyx"}}, "`targets['it']['form']` must be one of 'xyxy'"),
        ({"it": {"boxes": ["age"] * 4, "label": "nam"}}, "`targets['it']` must be a column of the list of dicts"),
        ({"it": {"mask": "{idd}.png"}}, "`targets['it']` must be a column of the list of dicts"),
    ],
)  # fmt: skip
def test_wrong_descriptions_are_told(targets, told):
    table = read_table([{"breed": "cat", "age": 3, "id": "a"}])
    with pytest.raises(checks.InputError, match=re.escape(told)):
        table_targets.read_targets(targets, table)
