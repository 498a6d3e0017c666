"""The part of the page that shows what was measured of one task: numbers, the task's own section, mistakes."""

from collections.abc import Mapping

from keras_transfer.evaluation import answers
from keras_transfer.pages import document
from keras_transfer.pages.document import escape

__all__ = ["part"]


def part(index: int, name: str, result: answers.Result, scores: Mapping) -> str:
    """Returns the part as HTML.

    Args:
        index: Of the task in the page.
        name: Of the task; "" for a single one.
        result: What was measured.
        scores: Its scores as plain values.
    """
    task = result.task
    section = task.section(scores, result.targets, result.outputs, name=str(index))
    return _headlines(name, result, scores) + section + _gallery(result)


def _headlines(name: str, result: answers.Result, scores: Mapping) -> str:
    prefix = f"{document.slug(name)}-" if name else ""
    cards = []
    for key, value in scores.items():
        if not isinstance(value, float | None):
            continue
        title, more = result.task.headline(key, scores)
        raw = "" if value is None else value
        data = f'data-task="{escape(name)}" data-metric="{escape(key)}" data-value="{raw}"'
        number = f'<span class="value" id="{prefix}{document.slug(key)}" {data}>{document.number(value)}</span>'
        more = f'<span class="more">{escape(more)}</span>' if more else ""
        cards.append(
            f'<li class="box"><span class="name">{escape(title)}</span>{number}{more}</li>'
        )
    return f'<ul class="scores">{"".join(cards)}</ul>'


def _gallery(result: answers.Result) -> str:
    items = []
    for mistake in result.mistakes:
        picture = ""
        if mistake.picture:
            where = mistake.file or f"image {mistake.index}"
            alt = escape(f"{where}: {mistake.target}, taken for {mistake.predicted}")
            small = ' class="small"' if mistake.picture.startswith("data:image/png") else ""
            picture = f'<img{small} src="{mistake.picture}" alt="{alt}" title="{escape(where)}">'
        said = f'<span class="said">{escape(mistake.predicted)}</span>'
        error = f'<span class="quiet">{escape(result.task.describe_error(mistake.score))}</span>'
        items.append(f"<li>{picture}{escape(mistake.target)}<br>{said}<br>{error}</li>")
    if not items:
        return ""
    help_line = f'{result.task.target_title}, and <span class="said">what the model said</span>.'
    gallery = f'<p class="quiet">{help_line}</p><ul class="gallery">{"".join(items)}</ul>'
    return document.box(result.task.mistakes_title, gallery)
