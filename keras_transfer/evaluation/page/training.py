"""The part of the page that shows how the training went: curves, what happened block by block, the stages."""

from collections.abc import Mapping, Sequence
from typing import Any  # cells hold any plain value

from keras_transfer.evaluation.page import curves
from keras_transfer.pages import document, plots
from keras_transfer.pages.document import escape

__all__ = ["part"]

BLOCK_CURVES = {  # what was watched: (title, what it says)
    "distance": (
        "Distance from the pretrained weights by block",
        "How far weights moved, as a share of their size.",
    ),
    "gradient": (
        "Gradient norm by block",
        "Of the loss on one batch, over the weights that train.",
    ),
}


def part(about: Mapping) -> str:
    """Returns the part as HTML, of the facts about a report."""
    history, record = about.get("history") or {}, about.get("training") or {}
    stages, second = list(record.get("stages") or []), record.get("refit") or {}
    stages += [
        {**stage, "name": f"{stage['name']}, all images"} for stage in second.get("stages", ())
    ]
    figures = curves.learning_curves(
        history,
        epochs=about.get("epochs"),
        stages=stages,
        best_epoch=record.get("best_epoch"),
        solved=stages[0].get("measured") if stages else None,
        is_repeated=bool(second),
    )
    boxes = []
    for number, (name, figure) in enumerate(figures.items()):
        title = name.replace("_", " ")
        label = f"{title} over the epochs, training and validation"
        picture = plots.svg(figure, name=f"curve-{number}", label=label)
        boxes.append(document.box(title[:1].upper() + title[1:], f"<figure>{picture}</figure>"))

    insight = [*(record.get("insight") or ()), *(second.get("insight") or ())]
    blocks = _blocks(insight, stages)
    return _pair(boxes) + _pair(blocks) + (_stages(stages) if stages else "")


def _blocks(insight: Sequence[Mapping], stages: Sequence[Mapping]) -> list[str]:
    boxes = []
    for watched, figure in curves.block_curves(insight, stages=stages).items():
        title, more = BLOCK_CURVES[watched]
        picture = plots.svg(figure, name=f"blocks-{watched}", label=f"{title} over the epochs")
        caption = f"<figcaption>{escape(more)} The darker a line, the nearer its block is to the answers.</figcaption>"
        boxes.append(document.box(title, f"<figure>{picture}{caption}</figure>"))
    return boxes


def _pair(boxes: Sequence[str]) -> str:
    return f'<div class="pair">{"".join(boxes)}</div>' if boxes else ""


def _stages(stages: Sequence[Mapping]) -> str:
    columns = (
        "stage", "epochs", "trains", "trainable", "frozen", "optimizer", "learning rate", "batch norm", "seconds",
    )  # fmt: skip
    rows = []
    for stage in stages:
        trained, frozen = (len(stage.get(key) or ()) for key in ("trained_layers", "frozen_layers"))
        row = (
            stage["name"],
            _span(stage),
            stage.get("train", ""),
            _parameters(stage.get("trainable_parameters"), trained),
            _parameters(stage.get("frozen_parameters"), frozen),
            stage.get("optimizer", "solved" if "solved" in stage else ""),
            stage.get("rate_in_words", stage.get("learning_rate")),
            stage.get("batch_norm", ""),
            stage.get("seconds"),
        )
        rows.append(row)
    table = document.table("Parameters and layers of each stage of the training.", columns, rows)
    return document.box("What trained when", table + "".join(map(_stage_layers, stages)))


def _span(stage: Mapping) -> str:
    """Returns the first and last epoch of a stage, from 1; nothing for a solved head, which takes none."""
    if "epochs" not in stage:
        return ""
    first, last = (epoch + 1 for epoch in stage["epochs"])
    return str(first) if first == last else f"{first} – {last}"


def _parameters(count: Any, layers: int) -> str:
    return f"{document.number(count)} in {_layers(layers)}" if layers else document.number(count)


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def _stage_layers(stage: Mapping) -> str:
    parts = []
    for key, verb in (("trained_layers", "trained"), ("frozen_layers", "frozen")):
        if stage.get(key):
            summary = escape(f"{_layers(len(stage[key]))} {verb} in {stage['name']}")
            names = ", ".join(map(escape, stage[key]))
            parts.append(
                f'<details><summary>{summary}</summary><p class="quiet">{names}</p></details>'
            )
    return "".join(parts)
