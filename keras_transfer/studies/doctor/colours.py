"""Grey pictures among coloured ones."""

from collections.abc import Iterator

from keras_transfer.studies.doctor import base

__all__ = ["check"]

GREY = 1.0  # mean difference between the largest and smallest of red, green and blue
FEW = 0.1  # more grey pictures than this share belong to the set


def check(case: base.Case) -> Iterator[base.Finding]:
    """Yields the grey pictures, where they are few, and where they belong to few classes."""
    readable = case.pictures.readable
    rows = readable[case.pictures.chroma[readable] < GREY]
    if 0 < len(rows) <= FEW * len(readable):
        are = base.count(len(rows), "image is", "images are")
        yield case.finding(
            "note",
            f"{are} grey, the others coloured",
            rows,
            fix="Nothing if they are spread over all classes; `channels=1` makes all of them grey.",
        )
