import pytest

from keras_transfer.pages import document


def test_texts_are_escaped_and_numbers_embedded():
    values = {"name": "</script><b>", "score": 0.5}
    page = document.render(
        "<i>", {"A & B": document.box("x<y", "<p>kept</p>")}, subtitle='"', values=values
    )
    assert "<title>&lt;i&gt;</title>" in page
    assert "<h2>A &amp; B</h2>" in page
    assert "<h3>x<y</h3>" not in page
    assert "<p>kept</p>" in page
    assert "</script><b>" not in page


def test_empty_parts_are_left_out():
    page = document.render("t", {"Full": "x", "Empty": ""}, subtitle="", values={})
    assert page.count("<section") == 1
    assert "Empty" not in page


def test_a_table_has_a_cell_for_each_value():
    text = document.table("Scores", ["task", "accuracy"], [("<kind>", 0.123456), ("age", None)])
    assert "<td>&lt;kind&gt;</td><td>0.1235</td>" in text
    assert "<td>–</td>" in text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, "0.500"),
        (0.00012, "0.00012"),
        (12345.6, "12,346"),
        (12345, "12,345"),
        (True, "True"),
        ("a", "a"),
    ],
)
def test_numbers(value, expected):
    assert document.number(value) == expected


def test_saving(tmp_path):
    document.save(tmp_path / "new" / "a.TXT", {".txt": lambda: "text"})
    assert (tmp_path / "new" / "a.TXT").read_text() == "text"
    with pytest.raises(ValueError, match=r"must end in .txt"):
        document.save(tmp_path / "a.pdf", {".txt": lambda: "text"})
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="must be writable"):
        document.save(tmp_path / "file" / "a.txt", {".txt": lambda: "text"})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a_b", "a_<wbr>b"),
        ("long-haired", "long-<wbr>haired"),
        ("end_", "end_"),
        ("<a>", "&lt;a&gt;"),
    ],
)
def test_names_break_after_underscores_and_hyphens(name, expected):
    assert document.breakable(name) == expected
