"""What listing the files found, and what the source of the data left out."""

import pathlib
import re
from collections.abc import Iterator

from keras_transfer.studies.doctor import base

__all__ = ["layout", "left_out"]

# Notes of the sources about what is wrong with the files and labels; all others are decisions.
TROUBLE = re.compile(r"\b(skipped|dropped|left out|without area|cannot be read)\b")


def layout(case: base.Case) -> Iterator[base.Finding]:
    """Yields what is wrong with the folders."""
    yield from case.listed


def left_out(case: base.Case) -> Iterator[base.Finding]:
    """Yields what the source has noted about files and labels that it did not take."""
    for note in filter(TROUBLE.search, case.notes):
        words = set(re.findall(r"[^\s,;:()']+", note))
        # An annotation is named as its picture is.
        words |= {pathlib.PurePath(word).stem for word in words}
        rows = []
        for row, name in enumerate(case.pictures.names):
            path = pathlib.PurePath(name)
            if not words.isdisjoint((name, path.name, path.stem)):
                rows.append(row)
        # Boxes without area are left out always; all else is refused unless the user says otherwise.
        severity = "warning" if "without area" in note else "error"
        fix = "Correct these files or labels."
        yield case.finding(severity, f"not taken as it was: {note}", rows, fix=fix)
