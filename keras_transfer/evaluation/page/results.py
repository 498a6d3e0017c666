"""The part of the page that shows what was measured of one task: numbers, the task's own section, mistakes."""

import pathlib
from collections.abc import Mapping, Sequence

from keras_transfer import tasks
from keras_transfer.evaluation import answers, examples
from keras_transfer.pages import document
from keras_transfer.pages.document import escape

__all__ = ["part"]

ROWS = 50  # classes in the table of thresholds
STANDS_ON = "what the answer stands on"


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
    help_line = f'{task.target_title}, and <span class="said">what the model said</span>'
    sample = _gallery(
        "Images drawn at random", f"{help_line} where it differs.", task, result.sample
    )
    has_heat = any(example.heat_picture for example in result.mistakes)
    below = " Below each image, the places that this answer stands on." if has_heat else ""
    mistakes = _gallery(task.mistakes_title, f"{help_line}.{below}", task, result.mistakes)
    unsure = _gallery(
        "Least certain answers", f"{help_line} where it differs.", task, result.unsure
    )
    return (
        _headlines(name, result, scores)
        + _groups(task, scores)
        + mistakes
        + section
        + _points(scores)
        + unsure
        + sample
    )


def _groups(task: tasks.Task, scores: Mapping) -> str:
    """Returns a table of the scores of each group, the worst first; "" where there are no groups."""
    rows = []
    for name, row in task.worst_groups(scores):
        value = document.number(row.get(task.score))
        within = task.interval_text(task.score, row, form="{} – {}")
        rows.append((name, value, within, row["support"]))
    if not rows:
        return ""
    title, _ = task.headline(task.score, scores)
    table = document.table("", ["group", title, "95 % interval", "images"], rows)
    return document.box("Each group, the worst first", table)


def _points(scores: Mapping) -> str:
    """Returns which answers are right often enough, and from which probability on each class is."""
    points = scores.get("operating_points")
    if not points:
        return ""
    rows = []
    for name, point in points["classes"].items():
        cells = ["–"] * 3
        if point is not None:
            cells = [document.number(point[key]) for key in ("threshold", "precision", "recall")]
        rows.append((name, *cells))
    sentence = ""
    sure = points.get("answers")
    if sure:
        sentence = (
            f"<p>Of the answers that are at least {sure['threshold']:.1%} sure, {sure['precision']:.1%} are right; "
            f"they are {sure['share']:.0%} of all.</p>"
        )
    caption = "Chosen on the images that were measured; a dash where no probability is enough."
    columns = ["class", "from which probability on", "precision", "recall"]
    table = document.table(caption, columns, rows[:ROWS])
    title = f"Answers to rely on: {points['at'].replace('=', ' of at least ')}"
    return document.box(title, sentence + table)


def _headlines(name: str, result: answers.Result, scores: Mapping) -> str:
    prefix = f"{document.slug(name)}-" if name else ""
    cards = []
    for key, value in scores.items():
        if not isinstance(value, float | None):
            continue
        title, more = result.task.headline(key, scores)
        lines: list[str | None] = [result.task.interval_text(key, scores), more]
        if key == result.task.score:
            lines += [scores.get("measured_on"), _constant_answer(key, scores)]
        raw = "" if value is None else value
        data = f'data-task="{escape(name)}" data-metric="{escape(key)}" data-value="{raw}"'
        number = f'<span class="value" id="{prefix}{document.slug(key)}" {data}>{document.number(value)}</span>'
        spans = [f'<span class="more">{escape(line)}</span>' for line in lines if line]
        name_and_number = f'<span class="name">{escape(title)}</span>{number}'
        cards.append(f'<li class="box">{name_and_number}{"".join(spans)}</li>')
    warning = result.task.baseline_warning(scores)
    if warning:
        warning = f'<p class="warning">{escape(warning)}</p>'
    return f'{warning}<ul class="scores">{"".join(cards)}</ul>'


def _constant_answer(key: str, scores: Mapping) -> str:
    """Returns what one answer for all images scores, if that is known."""
    baseline = scores.get("baseline")
    if not baseline:
        return ""
    return f"always {baseline['answer']}: {document.number(baseline['scores'][key])}"


def _gallery(
    title: str,
    help_line: str,
    task: tasks.Task,
    shown: Sequence[examples.Example],
) -> str:
    """Returns pictures with target, answer and file name, as HTML; "" if there are none."""
    items = "".join(_item(task, example) for example in shown)
    if not items:
        return ""
    kind = "gallery drawn" if any(example.said_picture for example in shown) else "gallery"
    return document.box(title, f'<p class="quiet">{help_line}</p><ul class="{kind}">{items}</ul>')


def _item(task: tasks.Task, example: examples.Example) -> str:
    where = example.file or f"image {example.index}"
    is_right = example.target == example.predicted
    if example.said_picture:  # two boxes in place of two others read alike
        is_right = example.score == 0
        picture = _drawn(example, where)
    else:
        taken = "" if is_right else f", taken for {example.predicted}"
        picture = _image(example.picture, f"{where}: {example.target}{taken}", title=where)
        picture += _image(example.heat_picture, _places(example, where), title=STANDS_ON)

    lines = [document.breakable(example.target)]
    if not is_right:
        lines.append(f'<span class="said">{document.breakable(example.predicted)}</span>')
        error = escape(task.describe_error(example.score))
        lines.append(f'<span class="quiet">{error}</span>')
    if example.file:
        name = pathlib.PurePath(example.file).name
        lines.append(f'<span class="file">{escape(name)}</span>')
    return f"<li>{picture}{'<br>'.join(lines)}</li>"


def _drawn(example: examples.Example, where: str) -> str:
    """Returns the pictures of an answer that has places, each with what it is."""
    pictures = (
        (example.given_picture, f"{where}: the image", "given"),
        (example.picture, f"{where}: {example.target}", "true"),
        (example.said_picture, f"{where}, the model: {example.predicted}", "the model"),
        (example.heat_picture, _places(example, where), STANDS_ON),
    )
    figures = []
    for source, alt, caption in pictures:
        if source:
            image = _image(source, alt, title=caption)
            figures.append(f"<figure>{image}<figcaption>{caption}</figcaption></figure>")
    return f'<div class="pictures">{"".join(figures)}</div>'


def _places(example: examples.Example, where: str) -> str:
    return f"{where}: places that the answer {example.predicted} stands on"


def _image(source: str | None, alt: str, *, title: str) -> str:
    if not source:
        return ""
    small = ' class="small"' if source.startswith("data:image/png") else ""
    return f'<img{small} src="{source}" alt="{escape(alt)}" title="{escape(title)}">'
