"""Values of images that a network does not take, and networks that are given pixels without preprocessing."""

import itertools
from collections.abc import Iterator

import numpy as np

from keras_transfer.graphs import pixel_range
from keras_transfer.studies.doctor import base

__all__ = ["preprocessing", "value_range"]

LOOK = 4  # batches of each split


def value_range(case: base.Case) -> Iterator[base.Finding]:
    """Yields splits whose images are not finite, or not in 0..255."""
    for split, images in _first_batches(case):
        name = f"{split} images" if split else "images"
        low, high = float(images.min()), float(images.max())  # NaN if any value is
        if not np.isfinite([low, high]).all():
            what = f"{name} have values that are not finite"
            fix = "Repair or leave out the image, or find the division by zero before it."
            yield base.Finding("error", what, fix=fix)
            continue
        takes = "unknown" if case.model is None else pixel_range.takes(case.model)
        is_small = high <= 1.001 and high > 0 and images.dtype.kind == "f"
        if takes == "raw" or not (is_small or low < -1 or high > 256):
            continue
        fix = "Multiply them by 255, or leave the rescaling out where the data is made."
        if low < 0:
            fix = "Undo the normalisation where the data is made: models of the package rescale inside."
        yield base.Finding(
            "error" if takes == "pixels" else "warning",
            f"{name} have values from {low:.3g} to {high:.3g}; models take 0..255 and rescale inside",
            fix=fix,
            details={"from": low, "to": high},
        )


def preprocessing(case: base.Case) -> Iterator[base.Finding]:
    """Yields a finding where pixels 0..255 reach the first weights of the model unchanged."""
    if case.model is None or pixel_range.takes(case.model) != "raw":
        return
    highest = (
        255.0
        if not case.parts
        else max((float(images.max()) for _, images in _first_batches(case)), default=0.0)
    )
    if highest > pixel_range.BRIGHT:
        yield base.Finding(
            "warning",
            f"the model has no preprocessing inside and is given values up to {highest:g}",
            fix="Put `keras.layers.Rescaling(1 / 255)`, or what it was trained with, before its first layer; or use "
            "`kt.backbone(model, preprocess=...)`.",
        )


def _first_batches(case: base.Case) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the images of the first batches of each split."""
    for split, part in case.parts.items():
        batches = [np.asarray(batch.images) for batch in itertools.islice(part.read(), LOOK)]
        if batches and batches[0].size:
            yield split, np.concatenate(batches)
