"""The part of the page that shows how the training went: curves, what happened block by block, the stages."""

from collections.abc import Mapping, Sequence
from typing import Any  # cells hold any plain value

from keras_transfer.evaluation import curves
from keras_transfer.pages import document, plots
from keras_transfer.pages.document import escape

__all__ = ["part"]

BLOCK_CURVES = {  # what was watched: (title, what it says)
    "distance": (
        "Distance from the pretrained weights by block",
        "How far weights moved, as a share of their size, on a logarithmic scale. Blocks that stayed have no line.",
    ),
    "gradient": (
        "Gradient norm by block",
        "Of the loss on one batch, over the weights that train, on a logarithmic scale.",
    ),
}
FACTORS = "weight of each task"
ERROR = "error"  # val_error without its prefix
CAPTIONS = {  # of curves whose name does not say it
    ERROR: "In the log: val_error. The geometric mean of the errors of all tasks: a task's share of wrong answers plus "
    "0.01, or its loss where answers are not right or wrong. The epoch with the lowest is the best one.",
    FACTORS: "In the log: {columns}. What balancing multiplied the loss or the gradient of each task by in an epoch: "
    "a task above 1 counts more than it does without balancing.",
}
LEVELS = {
    "chance": "Chance: what the best single answer for all images scores.",
    "head alone": "Head alone: what validation said before any other layer was trained.",
}


def part(about: Mapping, baselines: Mapping[str, Mapping]) -> str:
    """Returns the part as HTML.

    Args:
        about: The facts about a report.
        baselines: What one answer for all images scores, by task, where the run's record does not say.
    """
    history, record = about.get("history") or {}, about.get("training") or {}
    stages, second = list(record.get("stages") or []), record.get("refit") or {}
    stages += [
        {**stage, "name": f"{stage['name']}, all images"} for stage in second.get("stages", ())
    ]
    baselines = record.get("baselines") or baselines
    levels = _levels(history, about.get("epochs") or [], stages, baselines)
    figures = curves.learning_curves(
        history,
        epochs=about.get("epochs"),
        stages=stages,
        best_epoch=record.get("best_epoch"),
        levels=levels,
        is_repeated=bool(second),
    )
    drawn = dict.fromkeys(label for name in figures for label in levels.get(name, {}))
    explained = " ".join(LEVELS[label] for label in drawn)
    help_line = f'<p class="quiet">{explained}</p>' if explained else ""
    boxes = []
    for number, (name, figure) in enumerate(figures.items()):
        title = name.replace("_", " ")
        label = f"{title} over the epochs, training and validation"
        picture = plots.svg(figure, name=f"curve-{number}", label=label)
        caption = _caption(name, history, about.get("only_in_training"))
        figure_and_caption = f"<figure>{picture}{caption}</figure>"
        boxes.append(document.box(title[:1].upper() + title[1:], figure_and_caption))

    insight = [*(record.get("insight") or ()), *(second.get("insight") or ())]
    blocks = _blocks(insight, stages)
    return help_line + _pair(boxes) + _pair(blocks) + (_stages(stages) if stages else "")


def _levels(
    history: Mapping[str, Sequence],
    epochs: Sequence[int],
    stages: Sequence[Mapping],
    baselines: Mapping[str, Mapping],
) -> dict[str, dict[str, float]]:
    """Returns, by curve, the values to compare it with: of one answer for all images, and of the head alone."""
    levels: dict[str, dict[str, float]] = {}
    for task, baseline in baselines.items():
        for metric, value in baseline["scores"].items():
            name = metric if f"val_{metric}" in history else f"{task}_{metric}"
            levels.setdefault(name, {})["chance"] = value
    for name, value in curves.head_alone(history, epochs, stages).items():
        levels.setdefault(name, {})["head alone"] = value
    return levels


def _caption(
    name: str, history: Mapping[str, Sequence], only_in_training: Sequence[str] | None
) -> str:
    """Returns what a curve means, as HTML; "" for one that needs no words."""
    columns = ", ".join(key for key in history if key.endswith(curves.FACTOR))
    sentences = [CAPTIONS.get(name, "").format(columns=columns)]
    if name == "loss" and _is_mostly_above(history.get("loss"), history.get("val_loss")):
        reasons = ["it is a mean over the epoch, while the network still gets better"]
        reasons += only_in_training or []
        listed = "; ".join(reasons)
        sentences.append(
            f"That the training loss is above the validation loss is no mistake: {listed}."
        )
    text = " ".join(filter(None, sentences))
    return f"<figcaption>{escape(text)}</figcaption>" if text else ""


def _is_mostly_above(training: Sequence | None, validation: Sequence | None) -> bool:
    """Whether one curve is above another in more than half of their last epochs."""
    pairs = list(zip(reversed(training or []), reversed(validation or []), strict=False))
    above = [first > second for first, second in pairs if None not in (first, second)]
    return sum(above) > len(above) / 2


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
