"""The pictures of a report as files that one can send: curves, labels, mistakes, and what each task draws."""

import base64
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_transfer.evaluation import answers, curves, examples
from keras_transfer.pages import document, plots
from keras_transfer.storage import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["save"]

DOTS = 130  # an inch
COLUMNS = 2  # of figures
GALLERY = 6  # mistakes in a row
TILE, LINE, LETTERS = 192, 17, 13  # pixels of a picture, of a line of text and of its letters
LONGEST = 26  # letters of a line


def save(
    tasks: Sequence[tuple[str, answers.Result, Mapping]], about: Mapping, folder: pathlib.Path
) -> list[str]:
    """Writes the pictures that there are, and returns their names.

    Args:
        tasks: Name, result and scores of each; the name of a single one is "".
        about: The facts of the report.
        folder: Where to; it must exist.
    """
    pictures = _of_training(about)
    for name, result, scores in tasks:
        end = f"_{document.slug(name)}" if name else ""
        drawn = result.task.figures(scores, result.targets, result.outputs)
        for key, figure in drawn.items():
            pictures[f"{key}{end}"] = _to_picture(figure)
        if result.mistakes:
            pictures[f"mistakes{end}"] = _gallery(result.mistakes)

    for name, picture in pictures.items():
        with files.replacing(folder / f"{name}.png") as temporary:
            picture.save(temporary)
    return [f"{name}.png" for name in pictures]


def _of_training(about: Mapping) -> dict[str, Image.Image]:
    """Returns the curves over the epochs and the number of images with each label, where they are known."""
    record, history = about.get("training") or {}, about.get("history") or {}
    pictures = {}
    if history:
        figures = curves.learning_curves(
            history,
            epochs=about.get("epochs"),
            stages=record.get("stages") or (),
            best_epoch=record.get("best_epoch"),
        )
        for name, figure in figures.items():
            title = name.replace("_", " ")
            figure.suptitle(title[:1].upper() + title[1:], fontsize=10)
        pictures["curves"] = _side_by_side([_to_picture(each) for each in figures.values()])

    tables = record.get("labels") or {}
    charts = [plots.label_counts(table, title=name) for name, table in tables.items()]
    if charts:
        pictures["labels"] = _side_by_side([_to_picture(chart) for chart in charts])
    return pictures


def _to_picture(figure: "Figure") -> Image.Image:
    """Returns a figure on white."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS, facecolor="white", bbox_inches="tight")
    return Image.open(buffer).convert("RGB")


def _side_by_side(pictures: Sequence[Image.Image]) -> Image.Image:
    """Returns pictures in rows of two, on white."""
    columns = min(COLUMNS, len(pictures))
    width = max(picture.width for picture in pictures)
    places = []
    top = bottom = 0
    for number, picture in enumerate(pictures):
        column = number % columns
        if column == 0:
            top = bottom
        places.append((column * width, top))
        bottom = max(bottom, top + picture.height)

    sheet = Image.new("RGB", (columns * width, bottom), "white")
    for picture, place in zip(pictures, places, strict=True):
        sheet.paste(picture, place)
    return sheet


def _gallery(mistakes: Sequence[examples.Example]) -> Image.Image:
    """Returns the pictures of mistakes, with what is true and what was answered below each."""
    shown = [example for example in mistakes if example.picture]
    columns = min(GALLERY, max(len(shown), 1))
    gap, depth = 8, max(-(-len(shown) // columns), 1)
    height = TILE + 2 * LINE + gap
    sheet = Image.new("RGB", (columns * (TILE + gap) + gap, depth * height + gap), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=LETTERS)
    for place, example in enumerate(shown):
        row, column = divmod(place, columns)
        left, top = gap + column * (TILE + gap), gap + row * height
        picture = _decode(example.said_picture or example.picture)
        sheet.paste(picture, (left + (TILE - picture.width) // 2, top))
        for line, (text, colour) in enumerate(
            [(example.target, plots.COLOURS["ink"]), (example.predicted, plots.COLOURS["wrong"])]
        ):
            short = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
            pen.text((left, top + TILE + line * LINE), short, fill=colour, font=font)
    return sheet


def _decode(source: str | None) -> Image.Image:
    """Returns the picture of a data URI of ours, at most as large as a tile, small ones enlarged."""
    encoded = (source or "").partition(",")[2]
    picture = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
    scale = TILE / max(picture.size)
    size = tuple(max(1, int(np.floor(side * scale))) for side in picture.size)
    method = Image.Resampling.NEAREST if scale >= 3 else Image.Resampling.LANCZOS
    return picture.resize((size[0], size[1]), method)
