"""Pictures that are dark, bright, or nearly of one colour.

The limits leave out every picture of caltech24, alpaca2, pets3, cifar10_small and bccd (3,300 photos): there, the
luminance that 99 % of the pixels stay below is 86 or more, that of the darkest 1 % at most 152, and its standard
deviation at least 11.
"""

from collections.abc import Iterator

import numpy as np

from keras_transfer.studies.doctor import base

__all__ = ["bright", "dark", "even"]

DARK = 64  # 99 % of the pixels are darker
BRIGHT = 200  # 99 % of the pixels are brighter
EVEN = 4.0  # the standard deviation of the luminance


def dark(case: base.Case) -> Iterator[base.Finding]:
    """Yields the pictures that have no light part."""
    pictures = case.pictures
    is_dark = (pictures.brightest < DARK) & ~_are_even(case)
    yield from _report(case, is_dark, pictures.brightest, "dark", "Brighten or remove them.")


def bright(case: base.Case) -> Iterator[base.Finding]:
    """Yields the pictures that have no dark part."""
    pictures = case.pictures
    is_bright = (pictures.darkest > BRIGHT) & ~_are_even(case)
    fix = "Darken or remove them."
    yield from _report(case, is_bright, -pictures.darkest.astype(int), "nearly white", fix)


def even(case: base.Case) -> Iterator[base.Finding]:
    """Yields the pictures that show next to nothing."""
    deviation = case.pictures.deviation
    yield from _report(case, _are_even(case), deviation, "nearly of one colour", "Remove them.")


def _are_even(case: base.Case) -> np.ndarray:
    return case.pictures.deviation < EVEN


def _report(
    case: base.Case, chosen: np.ndarray, ranks: np.ndarray, word: str, fix: str
) -> Iterator[base.Finding]:
    rows = np.flatnonzero(chosen & (case.pictures.heights > 0))
    if len(rows):
        rows = rows[np.argsort(ranks[rows], kind="stable")]
        what = f"{base.count(len(rows), 'image is', 'images are')} {word}"
        yield case.finding("warning", what, rows, fix=fix)
