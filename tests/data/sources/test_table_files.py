import re

import pytest

from keras_transfer.core import checks
from keras_transfer.data.sources import table_files

ROWS = [["file", "name, place", "size"], ["a.png", "Zoë, here", "2"], ["b.png", "", "3,5"]]


def write(path, separator, encoding="utf-8"):
    lines = []
    for row in ROWS:
        cells = [f'"{cell}"' if separator in cell else cell for cell in row]
        lines.append(separator.join(cells))
    path.write_bytes("\r\n".join(lines).encode(encoding))
    return path


@pytest.mark.parametrize("separator", table_files.SEPARATORS)
def test_separators_are_found_out_and_told(tmp_path, separator, capsys):
    table = table_files.read_table(write(tmp_path / "a.csv", separator))
    assert list(table.columns) == ROWS[0]
    assert list(map(list, zip(*table.columns.values(), strict=True))) == ROWS[1:]
    assert table.places == ["line 2", "line 3"]
    assert table.decimal_comma == (separator != ",")
    assert ("between its columns" in capsys.readouterr().out) == (separator != ",")


def test_another_encoding_is_told(tmp_path, capsys):
    table = table_files.read_table(write(tmp_path / "a.csv", ",", "cp1252"))
    assert table.columns["name, place"] == ["Zoë, here", ""]
    assert "is read as Windows-1252, as it is no UTF-8" in capsys.readouterr().out
    assert table.notes


def test_places_are_lines_of_the_file(tmp_path):
    text = 'file,text\na.png,"two\nlines"\n\nb.png\nc.png,x,y\nd.png,"quoted ""x"""\n'
    (tmp_path / "a.csv").write_text(text)
    table = table_files.read_table(tmp_path / "a.csv")
    assert table.places == ["line 2", "line 7"]
    assert table.columns["text"] == ["two\nlines", 'quoted "x"']
    assert table.problems == {
        "line 5": "1 cell for 2 columns",
        "line 6": "3 cells for 2 columns",
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must name each column once. Given: nothing in"),
        ("\n\n", "must name each column once. Given: nothing in"),
        ("a,b\n", "`table` must have a row. Given: none in"),
        ("a,b,a\n1,2,3\n", "must name each column once. Given: 'a' 2 times"),
        ('a,b\n1,"' + "x" * 200_000, "`table` must be a CSV file. Given: line 2"),
    ],
)
def test_what_is_no_table_is_told(tmp_path, text, told):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(checks.InputError, match=re.escape(told)):
        table_files.read_table(tmp_path / "a.csv")


def test_frames_and_lists_of_dicts_are_tables():
    pandas = pytest.importorskip("pandas")
    rows = [{"file": "a.png", "age": 3}, {"file": "b.png"}]
    table = table_files.read_table(rows)
    assert table.columns == {"file": ["a.png", "b.png"], "age": [3, None]}
    assert table.places == ["row 0", "row 1"]
    frame = table_files.read_table(pandas.DataFrame(rows, index=[7, 9]))
    assert frame.columns["age"][0] == 3
    assert frame.places == ["row 7", "row 9"]
    for wrong in (3, [1], {"file": ["a"]}, pandas.DataFrame([[1, 2]], columns=["a", "a"])):
        with pytest.raises(checks.InputError, match="`table` must"):
            table_files.read_table(wrong)


def test_parquet_goes_through_pandas(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"file": ["a.png"], "age": [2.5]})
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(pandas, "read_parquet", lambda path: frame)
    table = table_files.read_table(tmp_path / "a.parquet")
    assert (table.columns, table.folder) == ({"file": ["a.png"], "age": [2.5]}, tmp_path)

    def refuse(path):
        raise ValueError("no Parquet magic bytes")

    monkeypatch.setattr(pandas, "read_parquet", refuse)
    with pytest.raises(
        checks.InputError, match="must be a Parquet file. Given: .*no Parquet magic"
    ):
        table_files.read_table(tmp_path / "a.parquet")


def test_a_missing_column_gets_close_names():
    table = table_files.read_table([{"file": "a.png", "breed": "cat"}])
    expected = "`image` must be a column of the list of dicts. Given: 'fiel'. Close names: 'file'."
    with pytest.raises(checks.InputError, match=re.escape(expected)):
        table.column("fiel", argument="image")
