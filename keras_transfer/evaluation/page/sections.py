"""A report as one self-contained page: what was measured of each task, how the training went, and the run."""

from collections.abc import Mapping, Sequence
from typing import Any  # cells hold any plain value

from keras_transfer.evaluation import answers, plots
from keras_transfer.evaluation.page import curves, document
from keras_transfer.evaluation.page.document import escape

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
    "distance": (
        "Distance from the pretrained weights by block",
        "How far weights moved, as a share of their size.",
    ),
    "gradient": (
        "Gradient norm by block",
        "Of the loss on one batch, over the weights that train.",
    ),
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
    title = (
        " · ".join(dict.fromkeys(filter(None, (model.get("name"), model.get("backbone")))))
        or "Report"
    )
    parts = {
        name or "Results": _task(index, *task)
        for index, task in enumerate(tasks)
        for name in task[:1]
    }
    parts["Training"] = _training(about)
    parts["Run"] = _run(about)
    return document.render(title, parts, subtitle=_subtitle(about), values=values)


def _subtitle(about: Mapping) -> str:
    data, speed = about.get("data", {}), about.get("speed", {})
    parts = (
        [
            f"{data['examples']:,} images"
            + (f" of the {data['split']} split" if data.get("split") else "")
        ]
        if "examples" in data
        else []
    )
    if speed.get("images_per_second"):
        parts.append(f"{document.number(speed['images_per_second'])} images per second")
    return " · ".join([*parts, about.get("created", "").replace("T", " ")[:16]]).strip(" ·")


def _task(index: int, name: str, result: answers.Result, scores: Mapping) -> str:
    parts = [_headlines(name, scores)]
    if result.kind == "classification":
        parts += [_classes(scores), _confusion(index, scores)]
    if result.kind == "regression" and result.targets is not None:
        parts.append(_errors(index, result))
    if scores.get("outputs"):
        rows = [
            (str(i), *[document.number(row[key]) for key in row])
            for i, row in enumerate(scores["outputs"])
        ]
        parts.append(
            document.box("Each output", document.table("", ["output", *scores["outputs"][0]], rows))
        )
    return "".join([*parts, _gallery(result)])


def _headlines(name: str, scores: Mapping) -> str:
    prefix = f"{document.slug(name)}-" if name else ""
    cards = []
    for key, value in scores.items():
        if isinstance(value, float) or (key in HEADLINES and value is None):
            title, more = HEADLINES.get(key, (key.replace("_", " "), ""))
            if key == "accuracy" and scores.get("accuracy_interval"):
                more = "95 %: {:.3f} – {:.3f}".format(*scores["accuracy_interval"])
            if key in ("mae", "rmse") and scores.get("unit"):
                more = scores["unit"]
            raw = "" if value is None else value
            data = f'data-task="{escape(name)}" data-metric="{escape(key)}" data-value="{raw}"'
            value = f'<span class="value" id="{prefix}{document.slug(key)}" {data}>{document.number(value)}</span>'
            more = f'<span class="more">{escape(more)}</span>' if more else ""
            cards.append(
                f'<li class="box"><span class="name">{escape(title)}</span>{value}{more}</li>'
            )
    return f'<ul class="scores">{"".join(cards)}</ul>'


def _classes(scores: Mapping) -> str:
    rows = []
    for name, row in scores["classes"].items():
        cells = "".join(_bar(row[key]) for key in ("precision", "recall", "f1"))
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}<td>{row["support"]}</td></tr>')
    columns = ("class", "precision", "recall", "F1", "images")
    head = "".join(
        f'<th scope="col"><button type="button">{column}</button></th>' for column in columns
    )
    head = f"<caption>{len(rows)} classes; click a heading to sort.</caption><thead><tr>{head}</tr></thead>"
    table = f'<table class="bars">{head}<tbody>{"".join(rows)}</tbody></table>'
    return document.box(
        "Each class",
        f'<div class="scroll" tabindex="0" role="region" aria-label="Each class">{table}</div>',
    )


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
        f'<li>{escape(true)} taken for <span class="said">{escape(other)}</span>: {count}</li>'
        for true, other, count in pairs
    )
    listed = f'<p class="quiet">Most confused:</p><ul class="notes">{listed}</ul>' if listed else ""
    caption = "Blue is right, red is wrong; the stronger, the larger its share of the row."
    wide = ' class="wide" tabindex="0" role="group" aria-label="Confusion matrix"'
    figure = f"<figure{wide}>{picture}<figcaption>{caption}</figcaption></figure>"
    return document.box("Confusion", f'<div class="beside">{figure}<div>{listed}</div></div>')


def _errors(index: int, result: answers.Result) -> str:
    parts = []
    for output in range(min(result.outputs.shape[1], 6)):
        pair = result.targets[:, output], result.outputs[:, output]
        suffix = f" of output {output}" if result.outputs.shape[1] > 1 else ""
        for title, draw in (("Predicted against true", plots.scatter), ("Errors", plots.residuals)):
            picture = plots.svg(
                draw(*pair), name=f"{draw.__name__}-{index}-{output}", label=title + suffix
            )
            parts.append(document.box(title + suffix, f"<figure>{picture}</figure>"))
    return f'<div class="pair">{"".join(parts)}</div>'


def _gallery(result: answers.Result) -> str:
    items = []
    for mistake in result.mistakes:
        sure = (
            f"{mistake.score:.0%} sure"
            if result.kind == "classification"
            else f"off by {document.text(mistake.score)}"
        )
        where = mistake.file or f"image {mistake.index}"
        alt = f"{where}: {mistake.target}, taken for {mistake.predicted}"
        small = ' class="small"' if (mistake.picture or "").startswith("data:image/png") else ""
        picture = (
            f'<img{small} src="{mistake.picture}" alt="{escape(alt)}" title="{escape(where)}">'
            if mistake.picture
            else ""
        )
        items.append(
            f'<li>{picture}{escape(mistake.target)}<br><span class="said">{escape(mistake.predicted)}</span><br>'
            f'<span class="quiet">{escape(sure)}</span></li>'
        )
    if not items:
        return ""
    if result.kind == "classification":
        title, intro = (
            "Most confident mistakes",
            'The true class, and <span class="said">what the model said</span>.',
        )
    else:
        title, intro = (
            "Largest errors",
            'The true value, and <span class="said">what the model said</span>.',
        )
    return document.box(
        title, f'<p class="quiet">{intro}</p><ul class="gallery">{"".join(items)}</ul>'
    )


def _training(about: Mapping) -> str:
    history, record = about.get("history") or {}, about.get("training") or {}
    stages = record.get("stages") or []
    best = record.get("best_epoch")
    boxes = []
    figures = curves.learning_curves(
        history, epochs=about.get("epochs"), stages=stages, best_epoch=best
    )
    for number, (name, figure) in enumerate(figures.items()):
        title = name.replace("_", " ")
        picture = plots.svg(
            figure,
            name=f"curve-{number}",
            label=f"{title} over the epochs, training and validation",
        )
        boxes.append(document.box(title[:1].upper() + title[1:], f"<figure>{picture}</figure>"))
    parts = [
        _pair(boxes),
        _pair(_by_block(record.get("insight") or [], stages)),
        _stages(stages) if stages else "",
    ]
    return "".join(parts)


def _by_block(insight: Sequence[Mapping], stages: Sequence[Mapping]) -> list[str]:
    boxes = []
    for kind, figure in curves.block_curves(insight, stages=stages).items():
        title, more = BLOCK_CURVES[kind]
        picture = plots.svg(figure, name=f"blocks-{kind}", label=f"{title} over the epochs")
        caption = f"<figcaption>{escape(more)} The darker a line, the nearer its block is to the answers.</figcaption>"
        boxes.append(document.box(title, f"<figure>{picture}{caption}</figure>"))
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
    table = document.table("Parameters and layers of each stage of the training.", columns, rows)
    return document.box("What trained when", table + "".join(map(_stage_layers, stages)))


def _parameters(count: Any, layers: int) -> str:
    return f"{document.number(count)} in {_layers(layers)}" if layers else document.number(count)


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def _stage_layers(stage: Mapping) -> str:
    parts = []
    for key, verb in (("trained_layers", "trained"), ("frozen_layers", "frozen")):
        if stage.get(key):
            text = f"{_layers(len(stage[key]))} {verb} in {stage['name']}"
            names = ", ".join(map(escape, stage[key]))
            parts.append(
                f'<details><summary>{escape(text)}</summary><p class="quiet">{names}</p></details>'
            )
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
    decided = "".join(f"<li>{escape(note)}</li>" for note in notes)
    parts = (
        [document.box("Decided on the way", f'<ul class="notes">{decided}</ul>')] if decided else []
    )
    boxes = "".join(_facts(title, facts) for title, facts in groups.items() if facts)
    return "".join(parts) + (f'<div class="pair">{boxes}</div>' if boxes else "")


def _facts(title: str, facts: Mapping) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(_title(key))}</th><td>{escape(document.text(value))}</td></tr>'
        for key, value in facts.items()
        if value is not None
    )
    return document.box(title, f'<table class="facts">{rows}</table>') if rows else ""


def _title(key: str) -> str:
    return TITLES.get(key, key.replace("_", " "))
