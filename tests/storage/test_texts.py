import gzip

import pytest

from keras_transfer.core import checks
from keras_transfer.storage import texts

TEXT = "Größe;Zoë\nžluť;é\n"


@pytest.mark.parametrize(
    ("encoding", "name", "text"),
    [
        ("utf-8", "UTF-8", TEXT),
        ("utf-8-sig", "UTF-8", TEXT),
        ("utf-16", "UTF-16", TEXT),
        ("cp1252", "Windows-1252", "Größe;Zoë\n"),
    ],
)
def test_encodings_are_found_out(tmp_path, encoding, name, text):
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    assert texts.read_text(tmp_path / "a.csv", argument="table") == (text, name)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"PK\x03\x04rest", "a zip archive or a spreadsheet"),
        (gzip.compress(b"a,b", mtime=0), "a gzip file"),
        (b"a,\0b", "holds bytes of 0"),
        (b"a,\x81b", "byte 2 is no cp1252"),
    ],
)
def test_what_is_no_text_is_told(tmp_path, content, told):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(checks.InputError, match=f"`table` must be a text file.*{told}"):
        texts.read_text(tmp_path / "a.csv", argument="table")


def test_files_are_checked_before_they_are_read(tmp_path):
    with pytest.raises(checks.InputError, match="must be a file that exists"):
        texts.read_text(tmp_path / "absent.csv", argument="table")
    with pytest.raises(checks.InputError, match="must be a file. Given"):
        texts.read_text(tmp_path, argument="table")
    with open(tmp_path / "long.csv", "wb") as file:
        file.truncate(texts.MOST_BYTES + 1)
    with pytest.raises(checks.InputError, match="at most 2,147 MB. Given: .*long.csv' of 2,147 MB"):
        texts.read_text(tmp_path / "long.csv", argument="table")
