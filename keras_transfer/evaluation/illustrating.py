"""Adds to a report how the network sees the images: a map of them, and what it takes mistakes for."""

from typing import Any  # data of every kind that `kt.evaluate` takes

import keras
import numpy as np

from keras_transfer.core import checks
from keras_transfer.data import adapt
from keras_transfer.evaluation import report as reports
from keras_transfer.evaluation.representation import maps, neighbours
from keras_transfer.pages import document

__all__ = ["illustrate"]

MISTAKES = 6  # whose nearest training images are shown
NEAREST = 5  # images for each
LEAST = 3  # images of a map


def illustrate(
    report: reports.Report,
    model: keras.Model,
    data: Any,
    *,
    before: keras.Model | None = None,
    points: int = 500,
    verbose: str | int = "auto",
) -> None:
    """Adds a map of the images to a report, and the training images that are most like its first mistakes.

    A mistake whose nearest training images have its own label may come from the head; one among images of the other
    class may have a wrong label, or look like that class.

    Args:
        report: Of `kt.evaluate(..., explain="gradcam")`, which keeps the images of mistakes; changed in place.
        model: What was measured.
        data: What it was measured on; without training images none are shown beside mistakes.
        before: The network before training, such as `kt.backbone("tiny")`, to show beside.
        points: How many images the map has at most.
        verbose: As for `kt.predict`.

    Example:
        >>> import keras_transfer as kt
        >>> data = kt.data.glyphs(3, 8, test=0.5)
        >>> model = kt.build_model(kt.backbone("tiny", weights=None), kt.tasks.Classification(data.class_names))
        >>> report = kt.evaluate(model, data, explain="gradcam", verbose=0)
        >>> illustrate(report, model, data, verbose=0)
        >>> "Map" in report.to_html()
        True
    """
    checks.integer(points, name="points", minimum=LEAST)
    if report["about"]["data"]["examples"] >= LEAST:
        networks = {} if before is None else {"before training": before}
        networks["now"] = model
        cloud = maps.representation_map(networks, data, points=points, verbose=verbose)
        help_line = '<p class="quiet">Images that the network sees alike are near each other.</p>'
        report.add("Map", document.box("The images as points", help_line + cloud.part()))

    if "train" not in adapt.split(data).parts:
        return
    shown = {}
    for name, images in report.mistake_images.items():
        first = list(images.items())[:MISTAKES]
        found = neighbours.nearest(
            model,
            np.stack([image for _, image in first]),
            data,
            count=NEAREST,
            task=name or None,
            verbose=verbose,
        )
        shown[name] = found.part()
    for name, part in shown.items():
        title = f"Training images like the first mistakes{f' of {name}' if name else ''}"
        report.add(title, part)
