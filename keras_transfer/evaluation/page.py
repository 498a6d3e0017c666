"""A report as one self-contained page: nothing in it is loaded from elsewhere.

Every text goes through `_escape`; the only scripts are `styling.SORT` and the numbers as JSON.
"""

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any  # cells hold any plain value

from keras_transfer.evaluation import answers, curves, plots, styling

__all__ = ["render"]

HEADLINES = {  # score: (title, help)
    "accuracy": ("Accuracy", ""),
    "precision": ("Precision", "mean over classes"),
    "recall": ("Recall", "mean over classes"),
    "f1": ("F1", "mean over classes"),
    "top_5": ("Top-5 accuracy", "among the five best"),
    "ece": ("Calibration error", "confidence vs. accuracy"),
    "mae": ("Mean absolute error", ""),
    "rmse": ("RMS error", ""),
    "r2": ("R²", "variance explained"),
    "bias": ("Bias", "mean of predicted − true"),
}
BLOCK_CURVES = {  # what was watched: (title, what it says)
    "distance": ("Distance from the pretrained weights by block", "How far weights moved, as a share of their size."),
    "gradient": ("Gradient norm by block", "Of the loss on one batch, over the weights that train."),
}
TITLES = {
    "val_loss": "validation loss",
    "lr": "learning rate",
    "megabytes": "size (MB)",
    "digest": "data digest",
}
SHOWN_ELSEWHERE = {
    "arguments",
    "best_epoch",
    "history",
    "insight",
    "notes",
    "refit",
    "source",
    "stages",
    "versions",
}  # of the run record


def render(tasks: Sequence[tuple[str, answers.Result, Mapping]], values: Mapping) -> str:
    """Returns the page.

    Args:
        tasks: Name, result and scores as plain values, of each task; the name of a single task may be "".
        values: All numbers, embedded as JSON; `values["about"]` tells about model, data and training.

    Example:
        >>> result = answers.Result("regression", {"mae": 0.5}, [])
        >>> page = render([("", result, result.scores)], {"mae": 0.5, "about": {}})
        >>> 'data-metric="mae" data-value="0.5"' in page
        True
    """
    about = values["about"]
    model = about.get("model", {})
    title = " · ".join(dict.fromkeys(filter(None, (model.get("name"), model.get("backbone"))))) or "Report"
    parts = {name or "Results": _task(index, *task) for index, task in enumerate(tasks) for name in task[:1]}
    parts["Training"] = _training(about)
    parts["Run"] = _run(about)
    parts = {name: text for name, text in parts.items() if text}
    links = "".join(f'<a href="#part-{i}">{_escape(name)}</a>' for i, name in enumerate(parts))
    body = "".join(
        f'<section id="part-{i}"><h2>{_escape(n)}</h2>{t}</section>' for i, (n, t) in enumerate(parts.items())
    )
    embedded = json.dumps(values, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_escape(styling.POLICY)}">
<title>{_escape(title)}</title>
<link rel="icon" href="data:,">
<style>{styling.STYLE}</style>
</head>
<body>
<header><h1>{_escape(title)}</h1><p class="quiet">{_escape(_subtitle(about))}</p>
<nav aria-label="Parts of the report">{links}</nav></header>
<main>{body}</main>
<footer>Made by keras_transfer. The page holds its numbers as JSON, too: the element “report”.</footer>
<script type="application/json" id="report">{embedded}</script>
<script>{styling.SORT}</script>
</body>
</html>
"""


def _subtitle(about: Mapping) -> str:
    data, speed = about.get("data", {}), about.get("speed", {})
    parts = (
        [f"{data['examples']:,} images" + (f" of the {data['split']} split" if data.get("split") else "")]
        if "examples" in data
        else []
    )
    if speed.get("images_per_second"):
        parts.append(f"{_number(speed['images_per_second'])} images per second")
    return " · ".join([*parts, about.get("created", "").replace("T", " ")[:16]]).strip(" ·")


def _task(index: int, name: str, result: answers.Result, scores: Mapping) -> str:
    parts = [_headlines(name, scores)]
    if result.kind == "classification":
        parts += [_classes(scores), _confusion(index, scores)]
    if result.kind == "regression" and result.targets is not None:
        parts.append(_errors(index, result))
    if scores.get("outputs"):
        rows = [(str(i), *[_number(row[key]) for key in row]) for i, row in enumerate(scores["outputs"])]
        parts.append(_box("Each output", _table("", ["output", *scores["outputs"][0]], rows)))
    return "".join([*parts, _gallery(result)])


def _headlines(name: str, scores: Mapping) -> str:
    prefix = f"{_slug(name)}-" if name else ""
    cards = []
    for key, value in scores.items():
        if isinstance(value, float) or (key in HEADLINES and value is None):
            title, more = HEADLINES.get(key, (key.replace("_", " "), ""))
            if key == "accuracy" and scores.get("accuracy_interval"):
                more = "95 %: {:.3f} – {:.3f}".format(*scores["accuracy_interval"])
            if key in ("mae", "rmse") and scores.get("unit"):
                more = scores["unit"]
            raw = "" if value is None else value
            data = f'data-task="{_escape(name)}" data-metric="{_escape(key)}" data-value="{raw}"'
            value = f'<span class="value" id="{prefix}{_slug(key)}" {data}>{_number(value)}</span>'
            more = f'<span class="more">{_escape(more)}</span>' if more else ""
            cards.append(f'<li class="box"><span class="name">{_escape(title)}</span>{value}{more}</li>')
    return f'<ul class="scores">{"".join(cards)}</ul>'


def _classes(scores: Mapping) -> str:
    rows = []
    for name, row in scores["classes"].items():
        cells = "".join(_bar(row[key]) for key in ("precision", "recall", "f1"))
        rows.append(f'<tr><th scope="row">{_escape(name)}</th>{cells}<td>{row["support"]}</td></tr>')
    columns = ("class", "precision", "recall", "F1", "images")
    head = "".join(f'<th scope="col"><button type="button">{column}</button></th>' for column in columns)
    head = f"<caption>{len(rows)} classes; click a heading to sort.</caption><thead><tr>{head}</tr></thead>"
    table = f'<table class="bars">{head}<tbody>{"".join(rows)}</tbody></table>'
    return _box("Each class", f'<div class="scroll" tabindex="0" role="region" aria-label="Each class">{table}</div>')


def _bar(value: float | None) -> str:
    if value is None:
        return '<td data-value="-1">–</td>'
    return f'<td class="bar" style="--share:{value:.4f}" data-value="{value}">{value:.3f}</td>'


def _confusion(index: int, scores: Mapping) -> str:
    names, counts = list(scores["classes"]), scores["confusion"]
    picture = plots.svg(
        plots.confusion(counts, names),
        name=f"confusion-{index}",
        label="Confusion matrix, rows true, columns predicted",
    )
    pairs = plots.confused(counts, names, limit=8)
    listed = "".join(
        f'<li>{_escape(true)} taken for <span class="said">{_escape(other)}</span>: {count}</li>'
        for true, other, count in pairs
    )
    listed = f'<p class="quiet">Most confused:</p><ul class="notes">{listed}</ul>' if listed else ""
    caption = "Blue is right, red is wrong; the stronger, the larger its share of the row."
    wide = ' class="wide" tabindex="0" role="group" aria-label="Confusion matrix"'
    figure = f"<figure{wide}>{picture}<figcaption>{caption}</figcaption></figure>"
    return _box("Confusion", f'<div class="beside">{figure}<div>{listed}</div></div>')


def _errors(index: int, result: answers.Result) -> str:
    parts = []
    for output in range(min(result.outputs.shape[1], 6)):
        pair = result.targets[:, output], result.outputs[:, output]
        suffix = f" of output {output}" if result.outputs.shape[1] > 1 else ""
        for title, draw in (("Predicted against true", plots.scatter), ("Errors", plots.residuals)):
            picture = plots.svg(draw(*pair), name=f"{draw.__name__}-{index}-{output}", label=title + suffix)
            parts.append(_box(title + suffix, f"<figure>{picture}</figure>"))
    return f'<div class="pair">{"".join(parts)}</div>'


def _gallery(result: answers.Result) -> str:
    items = []
    for mistake in result.mistakes:
        sure = f"{mistake.score:.0%} sure" if result.kind == "classification" else f"off by {_value(mistake.score)}"
        where = mistake.file or f"image {mistake.index}"
        alt = f"{where}: {mistake.target}, taken for {mistake.predicted}"
        small = ' class="small"' if (mistake.picture or "").startswith("data:image/png") else ""
        picture = (
            f'<img{small} src="{mistake.picture}" alt="{_escape(alt)}" title="{_escape(where)}">'
            if mistake.picture
            else ""
        )
        items.append(
            f'<li>{picture}{_escape(mistake.target)}<br><span class="said">{_escape(mistake.predicted)}</span><br>'
            f'<span class="quiet">{_escape(sure)}</span></li>'
        )
    if not items:
        return ""
    if result.kind == "classification":
        title, intro = "Most confident mistakes", 'The true class, and <span class="said">what the model said</span>.'
    else:
        title, intro = "Largest errors", 'The true value, and <span class="said">what the model said</span>.'
    return _box(title, f'<p class="quiet">{intro}</p><ul class="gallery">{"".join(items)}</ul>')


def _training(about: Mapping) -> str:
    history, record = about.get("history") or {}, about.get("training") or {}
    stages = record.get("stages") or []
    best = record.get("best_epoch")
    boxes = []
    figures = curves.learning_curves(history, epochs=about.get("epochs"), stages=stages, best_epoch=best)
    for number, (name, figure) in enumerate(figures.items()):
        title = name.replace("_", " ")
        picture = plots.svg(figure, name=f"curve-{number}", label=f"{title} over the epochs, training and validation")
        boxes.append(_box(title[:1].upper() + title[1:], f"<figure>{picture}</figure>"))
    parts = [_pair(boxes), _pair(_by_block(record.get("insight") or [], stages)), _stages(stages) if stages else ""]
    return "".join(parts)


def _by_block(insight: Sequence[Mapping], stages: Sequence[Mapping]) -> list[str]:
    boxes = []
    for kind, figure in curves.block_curves(insight, stages=stages).items():
        title, more = BLOCK_CURVES[kind]
        picture = plots.svg(figure, name=f"blocks-{kind}", label=f"{title} over the epochs")
        caption = f"<figcaption>{_escape(more)} The darker a line, the nearer its block is to the answers.</figcaption>"
        boxes.append(_box(title, f"<figure>{picture}{caption}</figure>"))
    return boxes


def _pair(boxes: Sequence[str]) -> str:
    return f'<div class="pair">{"".join(boxes)}</div>' if boxes else ""


def _stages(stages: Sequence[Mapping]) -> str:
    columns = (
        "stage",
        "epochs",
        "trains",
        "trainable",
        "frozen",
        "optimizer",
        "learning rate",
        "batch norm",
        "seconds",
    )
    rows = []
    for stage in stages:
        first, last = (epoch + 1 for epoch in stage["epochs"])
        trained, frozen = (len(stage.get(key) or ()) for key in ("trained_layers", "frozen_layers"))
        rows.append(
            (
                stage["name"],
                f"{first} – {last}" if first != last else first,
                stage.get("train", ""),
                _parameters(stage.get("trainable_parameters"), trained),
                _parameters(stage.get("frozen_parameters"), frozen),
                stage.get("optimizer", "solved" if "solved" in stage else ""),
                stage.get("learning_rate"),
                stage.get("batch_norm", ""),
                stage.get("seconds"),
            )
        )
    table = _table("Parameters and layers of each stage of the training.", columns, rows)
    return _box("What trained when", table + "".join(map(_stage_layers, stages)))


def _parameters(count: Any, layers: int) -> str:
    return f"{_number(count)} in {_layers(layers)}" if layers else _number(count)


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def _stage_layers(stage: Mapping) -> str:
    parts = []
    for key, verb in (("trained_layers", "trained"), ("frozen_layers", "frozen")):
        if stage.get(key):
            text = f"{_layers(len(stage[key]))} {verb} in {stage['name']}"
            names = ", ".join(map(_escape, stage[key]))
            parts.append(f'<details><summary>{_escape(text)}</summary><p class="quiet">{names}</p></details>')
    return "".join(parts)


def _run(about: Mapping) -> str:
    record = about.get("training") or {}
    notes = dict.fromkeys([*(record.get("notes") or ()), *(about.get("notes") or ())])
    groups = {
        "Model": about.get("model"),
        "Measured on": {**(about.get("data") or {}), **(about.get("speed") or {})},
        "Training": {key: value for key, value in record.items() if key not in SHOWN_ELSEWHERE},
        "Arguments": record.get("arguments"),
        "Versions": {**(record.get("versions") or {}), **(about.get("versions") or {})},
    }
    decided = "".join(f"<li>{_escape(note)}</li>" for note in notes)
    parts = [_box("Decided on the way", f'<ul class="notes">{decided}</ul>')] if decided else []
    boxes = "".join(_facts(title, facts) for title, facts in groups.items() if facts)
    return "".join(parts) + (f'<div class="pair">{boxes}</div>' if boxes else "")


def _facts(title: str, facts: Mapping) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_escape(_title(key))}</th><td>{_escape(_value(value))}</td></tr>'
        for key, value in facts.items()
        if value is not None
    )
    return _box(title, f'<table class="facts">{rows}</table>') if rows else ""


def _title(key: str) -> str:
    return TITLES.get(key, key.replace("_", " "))


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return _number(value)


def _table(caption: str, columns: Iterable[str], rows: Iterable[Sequence]) -> str:
    head = "".join(f'<th scope="col">{_escape(column)}</th>' for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{_escape(_value(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    caption = f"<caption>{_escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _box(title: str, content: str) -> str:
    return f'<div class="box"><h3>{_escape(title)}</h3>{content}</div>'


def _number(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return (
            f"{value:.3f}" if 0.0095 <= abs(value) < 100 else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
        )
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", text)


def _escape(text: Any) -> str:
    return html.escape(str(text), quote=True)
