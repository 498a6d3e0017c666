"""Text files from anybody: of any usual encoding, never a compressed file or more than fits in memory."""

import codecs
import os
from pathlib import Path

from keras_transfer.core import checks

__all__ = ["read_bytes", "read_text"]

MOST_BYTES = 2**31  # of one file
# First bytes of files that are no text: what they are.
OTHERS = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"%PDF": "a PDF file",
    b"SQLite format 3": "an SQLite file",
}
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_bytes(path: str | os.PathLike, *, argument: str, most: int = MOST_BYTES) -> bytes:
    """Returns what is in a file, unless it is none or too large.

    Args:
        path: The file.
        argument: The name of the user's argument, for the error.
        most: Bytes that it may have.

    Raises:
        InputError: If there is no such file, it cannot be read or is too large.
    """
    file = Path(path).expanduser()
    try:
        if not file.exists():
            raise checks.error(f"`{argument}` must be a file that exists", given=f"'{path}'")
        if not file.is_file():
            raise checks.error(f"`{argument}` must be a file", given=f"'{path}'")
        size = file.stat().st_size
        if size > most:
            expected = f"`{argument}` must have at most {most / 1e6:,.0f} MB"
            raise checks.error(expected, given=f"'{path}' of {size / 1e6:,.0f} MB")
        return file.read_bytes()
    except OSError as refused:
        given = f"'{path}' ({refused.strerror or refused})"
        raise checks.error(f"`{argument}` must be a file that can be read", given=given) from None


def read_text(path: str | os.PathLike, *, argument: str, most: int = MOST_BYTES) -> tuple[str, str]:
    """Returns the text in a file, and the name of its encoding.

    UTF-8 and, by their marks, UTF-16 are known for sure; anything else is read as Windows-1252, the usual one of old
    tables.

    Args:
        path: The file.
        argument: The name of the user's argument, for the error.
        most: Bytes that the file may have.

    Raises:
        InputError: If there is no such file, or it holds no text.

    Example:
        >>> _ = Path("names.txt").write_bytes("Zoë".encode("cp1252"))
        >>> read_text("names.txt", argument="classes")
        ('Zoë', 'Windows-1252')
    """
    content = read_bytes(path, argument=argument, most=most)
    for start, kind in OTHERS.items():
        if content.startswith(start):
            given = f"'{path}', which is {kind}"
            raise checks.error(f"`{argument}` must be a text file", given=given, fix="Unpack it.")
    if content.startswith(UTF_16):
        return _decoded(content, "utf-16", path, argument), "UTF-16"
    if b"\0" in content:
        given = f"'{path}', which holds bytes of 0"
        fix = "Save it as UTF-8."
        raise checks.error(f"`{argument}` must be a text file", given=given, fix=fix)
    try:
        return content.decode("utf-8-sig"), "UTF-8"
    except UnicodeDecodeError:
        return _decoded(content, "cp1252", path, argument), "Windows-1252"


def _decoded(content: bytes, encoding: str, path: str | os.PathLike, argument: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as problem:
        given = f"'{path}' (byte {problem.start} is no {encoding})"
        fix = "Save it as UTF-8."
        raise checks.error(f"`{argument}` must be a text file", given=given, fix=fix) from None
