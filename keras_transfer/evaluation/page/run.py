"""The part of the page that tells about the run: what was decided, the model, the data, arguments, versions."""

from collections.abc import Mapping

from keras_transfer.evaluation import card
from keras_transfer.pages import document
from keras_transfer.pages.document import escape

__all__ = ["part"]

TITLES = {
    "val_loss": "validation loss",
    "lr": "learning rate",
    "megabytes": "size (MB)",
    "digest": "data digest",
    "run_dir": "folder of the run",
}
SHOWN_ELSEWHERE = {
    "arguments",
    "baselines",
    "best_epoch",
    "history",
    "insight",
    "labels",
    "notes",
    "command",
    "energy",
    "processor_seconds",
    "refit",
    "run_again",
    "seconds",
    "source",
    "stages",
    "versions",
}  # of the run record


def part(about: Mapping) -> str:
    """Returns the part as HTML, of the facts about a report."""
    record = about.get("training") or {}
    speed = dict(about.get("speed") or {})
    if "images_per_second" in speed:
        speed["images_per_second"] = document.rate(speed["images_per_second"])
    groups = {
        "Model": about.get("model"),
        "Measured on": {**(about.get("data") or {}), **speed},
        "Training": {key: value for key, value in record.items() if key not in SHOWN_ELSEWHERE},
        "Arguments": record.get("arguments"),
        "Versions": {**(record.get("versions") or {}), **(about.get("versions") or {})},
    }
    boxes = "".join(_facts(title, facts) for title, facts in groups.items() if facts)

    again = _again(record)
    notes = dict.fromkeys([*(record.get("notes") or ()), *(about.get("notes") or ())])
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    decided = ""
    if items:
        decided = document.box("Decided on the way", f'<ul class="notes">{items}</ul>')
    return again + decided + (f'<div class="pair">{boxes}</div>' if boxes else "")


def _again(record: Mapping) -> str:
    """Returns how to train the same once more, and what it cost, as HTML; "" if that is not known."""
    command = record.get("run_again") or _call(record.get("arguments") or {})
    if not command:
        return ""
    cost = ""
    if record.get("seconds"):
        took = f"Training took {card.cost_in_words(record)}."
        cost = f'<p class="quiet" id="cost">{escape(took)}</p>'
    shown = f'<pre class="scroll" id="again" tabindex="0">{escape(command)}</pre>'
    return document.box("Run it again", shown + cost)


def _call(arguments: Mapping) -> str:
    """Returns the call of `kt.fine_tune`, without what was left to it."""
    given = [f"{name}={value!r}" for name, value in arguments.items() if value is not None]
    return f"kt.fine_tune({', '.join(['model', 'data', *given])})" if arguments else ""


def _facts(title: str, facts: Mapping) -> str:
    rows = []
    for key, value in facts.items():
        if value is not None:
            name = escape(TITLES.get(key, key.replace("_", " ")))
            cell = escape(document.text(value))
            rows.append(f'<tr><th scope="row">{name}</th><td>{cell}</td></tr>')
    return document.box(title, f'<table class="facts">{"".join(rows)}</table>') if rows else ""
