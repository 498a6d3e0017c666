"""The part of the page that shows what a run learned from: its first training batch, and how labels are distributed."""

import base64
from collections.abc import Mapping

from keras_transfer.pages import document
from keras_transfer.pages.document import escape

__all__ = ["part"]


def part(about: Mapping, first_batch: bytes | None) -> str:
    """Returns the part as HTML.

    Args:
        about: The facts about a report.
        first_batch: A JPEG of the first training batch, or None.
    """
    record = about.get("training") or {}
    return _first_batch(record, first_batch) + _labels(record.get("labels") or {})


def _first_batch(record: Mapping, picture: bytes | None) -> str:
    if picture is None:
        return ""
    changes = record.get("augment")
    what = "as they are: images are not changed at random"
    if changes:
        amounts = {name: "" if value is True else value for name, value in changes.items()}
        listed = ", ".join(
            f"{name} {document.text(value)}".strip() for name, value in amounts.items()
        )
        what = f"with random changes: {listed}"
    source = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    alt = "Images of the first training batch with their labels"
    figure = (
        f'<p class="quiet">What the network sees first, {escape(what)}.</p>'
        f'<figure><img class="sheet" src="{source}" alt="{alt}"></figure>'
    )
    return document.box("First training batch", figure)


def _labels(tables: Mapping[str, Mapping]) -> str:
    """Returns a table of counts for each task, with bars for the first split."""
    boxes = []
    for name, table in tables.items():
        splits, rows = table["splits"], table["rows"]
        most = max(row[1] for row in rows) or 1
        body = ""
        for label, first, *others in rows:
            bar = f'<td class="bar" style="--share:{first / most:.4f}">{first:,}</td>'
            cells = "".join(f"<td>{count:,}</td>" for count in others)
            body += f'<tr><th scope="row">{document.breakable(label)}</th>{bar}{cells}</tr>'
        columns = "".join(f'<th scope="col">{escape(column)}</th>' for column in ("", *splits))
        html = f'<table class="bars"><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table>'
        title = f"Labels of {name}" if name else "Labels"
        help_line = '<p class="quiet">How many images of each split have which label.</p>'
        boxes.append(document.box(title, f'{help_line}<div class="scroll">{html}</div>'))
    return f'<div class="pair">{"".join(boxes)}</div>' if boxes else ""
