"""Blurred pictures.

Sharp photos keep 0.1 to 0.5 of their detail when they are blurred once more (bccd, through a microscope, up to 0.50);
photos of 300 x 200 pixels blurred by a Gaussian of 4 pixels keep 0.5 to 0.75.
"""

from collections.abc import Iterator

import numpy as np

from keras_transfer.studies.doctor import base

__all__ = ["check"]

BLURRED = 0.55


def check(case: base.Case) -> Iterator[base.Finding]:
    """Yields the pictures that a further blur hardly changes."""
    blur = case.pictures.blur
    rows = np.flatnonzero(blur > BLURRED)
    if len(rows):
        rows = rows[np.argsort(-blur[rows], kind="stable")]
        what = f"{base.count(len(rows), 'image is', 'images are')} blurred"
        yield case.finding("warning", what, rows, fix="Replace them by sharp ones, or remove them.")
