"""What listing the files found, and what the source of the data left out."""

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
    for note in case.notes:
        if TROUBLE.search(note):
            fix = 'Correct the files or labels; without `corrupt="skip"` they are refused.'
            yield base.Finding(
                "warning", f"the source left something out: {note}", fix=fix, count=1
            )
